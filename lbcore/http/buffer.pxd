# Byte buffers: fixed-size chunks from one pool of the process, bigger ones from the heap.

cdef enum:
    CHUNK_BYTES = 32768        # what a connection in work holds per direction

cdef struct Buffer:
    char* base                 # owned, until `buffer_release`; NULL while nothing is held
    Py_ssize_t size            # bytes at base
    Py_ssize_t start           # offset of the first byte not consumed
    Py_ssize_t end             # offset past the last byte filled


cdef int buffer_acquire(Buffer* buffer) noexcept nogil
cdef void buffer_give_back(Buffer* buffer) noexcept nogil
cdef int buffer_make_room(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil
cdef int buffer_park(Buffer* buffer) noexcept nogil
cdef Py_ssize_t pool_chunks_held() noexcept nogil


cdef inline Py_ssize_t buffer_len(const Buffer* buffer) noexcept nogil:
    return buffer.end - buffer.start


cdef inline Py_ssize_t buffer_room(const Buffer* buffer) noexcept nogil:
    return buffer.size - buffer.end


cdef inline void buffer_release(Buffer* buffer) noexcept nogil:
    """Give the memory back. What the buffer held is gone. Safe on an empty buffer."""
    if buffer.base != NULL:
        buffer_give_back(buffer)


cdef inline int buffer_reserve(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil:
    """Make room for `free_bytes` after `end`: by moving the content to the front, else by growing. 0, or -1 without memory.

    Pointers into the buffer are void afterwards.
    """
    if buffer.base != NULL and buffer.size - buffer.end >= free_bytes:
        return 0
    return buffer_make_room(buffer, free_bytes)
