# A bump allocator for the strings of one message, which are freed together when the message is cleared.

cdef enum:
    ARENA_BYTES = 4096         # size of the first block, which is kept for the next message

cdef struct ArenaBlock:
    ArenaBlock* next

cdef struct Arena:
    char* base                 # first block, owned: `arena_free` frees it; NULL before the first use
    Py_ssize_t used
    ArenaBlock* more           # further blocks, owned: `arena_reset` frees them


cdef char* arena_alloc(Arena* arena, Py_ssize_t size) noexcept nogil
cdef void arena_shrink(Arena* arena) noexcept nogil
cdef void arena_free(Arena* arena) noexcept nogil


cdef inline void arena_reset(Arena* arena) noexcept nogil:
    """Free all strings; spans into the arena become invalid."""
    if arena.more != NULL:
        arena_shrink(arena)
    arena.used = 0
