"""A bump allocator for the strings of one message. No I/O."""

from libc.stdlib cimport free, malloc

from lbcore.http.sanitizer cimport POOLS


cdef char* arena_alloc(Arena* arena, Py_ssize_t size) noexcept nogil:
    """`size` bytes, not aligned, valid until `arena_reset`; NULL when memory is out. O(1); no call of the heap below 4 KiB in all."""
    cdef ArenaBlock* block
    cdef char* found
    if arena.base == NULL:
        arena.base = <char*>malloc(ARENA_BYTES)
        if arena.base == NULL:
            return NULL
    if POOLS and size <= ARENA_BYTES - arena.used:
        found = arena.base + arena.used
        arena.used += size
        return found
    block = <ArenaBlock*>malloc(sizeof(ArenaBlock) + size)
    if block == NULL:
        return NULL
    block.next = arena.more
    arena.more = block
    return <char*>(block + 1)


cdef void arena_shrink(Arena* arena) noexcept nogil:
    """Free all blocks but the first."""
    cdef ArenaBlock* block
    while arena.more != NULL:
        block = arena.more
        arena.more = block.next
        free(block)


cdef void arena_free(Arena* arena) noexcept nogil:
    arena_reset(arena)
    free(arena.base)
    arena.base = NULL
