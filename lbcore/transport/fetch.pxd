# Memory that is fetched before it is used, while other work is done: with many connections, that of an idle one has left the cache.

cdef extern from *:
    """
    /* The first lines of an object. Any address will do: nothing is read that the program sees. */
    #define lbcore_fetch_ahead(object) do { \\
        const char *line = (const char *)(object); \\
        __builtin_prefetch(line, 1); __builtin_prefetch(line + 64, 1); __builtin_prefetch(line + 128, 1); \\
        __builtin_prefetch(line + 192, 1); __builtin_prefetch(line + 256, 1); \\
    } while (0)
    """
    void fetch_ahead "lbcore_fetch_ahead"(void* object) noexcept nogil
