# Ask for memory that will be read soon.

cdef extern from *:
    """
    #define lb_prefetch(address) __builtin_prefetch(address)  /* GCC drops calls of functions that do nothing else */
    """
    void prefetch "lb_prefetch"(const void* address) noexcept nogil
