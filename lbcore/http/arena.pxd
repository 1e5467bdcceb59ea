# A bump allocator for the strings one exchange makes: freed all at once, when the exchange ends.

cdef enum:
    ARENA_BYTES = 4096         # the first block, kept from exchange to exchange

cdef struct ArenaBlock:
    ArenaBlock* next

cdef struct Arena:
    char* base                 # first block, owned, until the arena is cleared or dies; NULL before the first use
    Py_ssize_t used
    ArenaBlock* more           # blocks taken beyond the first


cdef char* arena_alloc(Arena* arena, Py_ssize_t size) noexcept nogil
cdef void arena_shrink(Arena* arena) noexcept nogil
cdef void arena_free(Arena* arena) noexcept nogil


cdef inline void arena_reset(Arena* arena) noexcept nogil:
    """Free all that was given out."""
    if arena.more != NULL:
        arena_shrink(arena)
    arena.used = 0
