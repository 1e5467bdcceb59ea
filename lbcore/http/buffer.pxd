# Byte buffers: chunks and large blocks of fixed sizes from pools of the process, still larger ones from the heap.

cdef enum:
    CHUNK_BYTES = 32768        # size of a chunk; a busy connection holds one for each direction
    LARGE_BYTES = 69632        # size of a large block, which holds four full records of TLS

cdef struct Buffer:
    char* base                 # owned until `buffer_release`; NULL = empty
    Py_ssize_t size            # bytes at base
    Py_ssize_t start           # offset of the first byte of the contents
    Py_ssize_t end             # offset behind the last byte of the contents


cdef int buffer_acquire(Buffer* buffer) noexcept nogil
cdef void buffer_give_back(Buffer* buffer) noexcept nogil
cdef int buffer_make_room(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil
cdef int buffer_park(Buffer* buffer) noexcept nogil


cdef inline Py_ssize_t buffer_len(const Buffer* buffer) noexcept nogil:
    return buffer.end - buffer.start


cdef inline Py_ssize_t buffer_room(const Buffer* buffer) noexcept nogil:
    return buffer.size - buffer.end


cdef inline void buffer_release(Buffer* buffer) noexcept nogil:
    """Release the memory with its contents. Safe for an empty buffer."""
    if buffer.base != NULL:
        buffer_give_back(buffer)


cdef inline int buffer_reserve(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil:
    """Make room for `free_bytes` behind `end`, by moving the contents to the front, else by growing. Returns 0, or -1 without memory.

    Pointers into the buffer are invalid afterwards.
    """
    if buffer.base != NULL and buffer.size - buffer.end >= free_bytes:
        return 0
    return buffer_make_room(buffer, free_bytes)
