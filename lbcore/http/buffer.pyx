"""Byte buffers and the pools of their memory. No I/O.

A connection holds a chunk only while it has bytes to process, so an idle connection holds none. A pool is last in, first out, so
that what is taken from it is likely to be in the processor's cache.
"""

from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from lbcore.http.sanitizer cimport POOLS

cdef enum:
    POOL_CHUNKS = 512          # most chunks in the pool (16 MiB); others go back to the heap
    POOL_LARGE = 64            # most large blocks in their pool (4 MiB)
    PARKED_BYTES = 2048        # largest incomplete head that is stored in little memory while its client is slow

cdef char* pool[POOL_CHUNKS]
cdef Py_ssize_t pool_count = 0
cdef char* large_pool[POOL_LARGE]
cdef Py_ssize_t large_count = 0


cdef inline bint take_kept(Buffer* buffer) noexcept nogil:
    """Give an empty buffer a chunk from the pool, the usual case. Returns False if the pool is empty."""
    global pool_count
    if pool_count == 0:
        return False
    pool_count -= 1
    buffer.base = pool[pool_count]
    buffer.size = CHUNK_BYTES
    buffer.start = 0
    buffer.end = 0
    return True


cdef int buffer_acquire(Buffer* buffer) noexcept nogil:
    """Give the buffer a chunk if it is empty, or parked, in which case its contents move. Returns 0, or -1 without memory."""
    if buffer.base == NULL and take_kept(buffer):
        return 0
    return 0 if buffer.base != NULL and buffer.size >= CHUNK_BYTES else take_chunk(buffer)


cdef int take_chunk(Buffer* buffer) noexcept nogil:
    """Give a buffer that is empty or parked a chunk. Returns as `buffer_acquire`."""
    global pool_count
    cdef char* chunk
    cdef Py_ssize_t n
    if pool_count > 0:
        pool_count -= 1
        chunk = pool[pool_count]
    else:
        chunk = <char*>malloc(CHUNK_BYTES)
        if chunk == NULL:
            return -1
    n = 0
    if buffer.base != NULL:
        n = buffer.end - buffer.start
        memcpy(chunk, buffer.base + buffer.start, n)
        free(buffer.base)
    buffer.base = chunk
    buffer.size = CHUNK_BYTES
    buffer.start = 0
    buffer.end = n
    return 0


cdef void buffer_give_back(Buffer* buffer) noexcept nogil:
    """`buffer_release` for a buffer that is not empty."""
    global pool_count, large_count
    if POOLS and buffer.size == CHUNK_BYTES and pool_count < POOL_CHUNKS:
        pool[pool_count] = buffer.base
        pool_count += 1
    elif POOLS and buffer.size == LARGE_BYTES and large_count < POOL_LARGE:
        large_pool[large_count] = buffer.base
        large_count += 1
    else:
        free(buffer.base)
    buffer.base = NULL
    buffer.size = 0
    buffer.start = 0
    buffer.end = 0


cdef int buffer_make_room(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil:
    """`buffer_reserve` for a buffer that has too little room, or no memory."""
    if buffer.base == NULL and free_bytes <= CHUNK_BYTES and take_kept(buffer):
        return 0
    return move_or_grow(buffer, free_bytes)


cdef int take_large(Buffer* buffer) noexcept nogil:
    """Move the contents of a smaller buffer to the front of a large block. Returns 0, or -1 without memory."""
    global large_count
    cdef Py_ssize_t length = buffer.end - buffer.start
    cdef char* block
    if large_count > 0:
        large_count -= 1
        block = large_pool[large_count]
    else:
        block = <char*>malloc(LARGE_BYTES)
        if block == NULL:
            return -1
    if length:
        memcpy(block, buffer.base + buffer.start, length)
    buffer_release(buffer)
    buffer.base = block
    buffer.size = LARGE_BYTES
    buffer.start = 0
    buffer.end = length
    return 0


cdef int move_or_grow(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil:
    """Make room by moving the contents to the front, else by allocating. Returns as `buffer_reserve`."""
    cdef Py_ssize_t length = buffer.end - buffer.start, size
    cdef char* grown
    if CHUNK_BYTES < length + free_bytes <= LARGE_BYTES and buffer.size < LARGE_BYTES:
        return take_large(buffer)
    if buffer.base == NULL:
        if buffer_acquire(buffer) < 0:
            return -1
    if buffer.size - buffer.end >= free_bytes:
        return 0
    if buffer.start > 0:
        if length > 0:
            memmove(buffer.base, buffer.base + buffer.start, length)
        buffer.start = 0
        buffer.end = length
        if buffer.size - length >= free_bytes:
            return 0
    size = buffer.size
    while size - length < free_bytes:
        size *= 2
    grown = <char*>realloc(buffer.base, size)
    if grown == NULL:
        return -1
    buffer.base = grown
    buffer.size = size
    return 0


cdef int buffer_park(Buffer* buffer) noexcept nogil:
    """Move a few bytes into little memory while their client is slow, and give the chunk back. Returns 0, or -1 if unchanged."""
    global pool_count
    cdef Py_ssize_t length = buffer.end - buffer.start
    cdef char* small
    if buffer.size != CHUNK_BYTES or length > PARKED_BYTES:
        return -1
    small = <char*>malloc(PARKED_BYTES)
    if small == NULL:
        return -1
    memcpy(small, buffer.base + buffer.start, length)
    buffer_release(buffer)
    buffer.base = small
    buffer.size = PARKED_BYTES
    buffer.start = 0
    buffer.end = length
    return 0


def bytes_kept() -> int:
    """Bytes in the pools, for a report."""
    return pool_count * CHUNK_BYTES + large_count * LARGE_BYTES
