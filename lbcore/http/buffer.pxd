# Byte buffers: fixed-size chunks from one pool of the process, bigger ones from the heap.

cdef enum:
    CHUNK_BYTES = 32768        # what a connection in work holds per direction

cdef struct Buffer:
    char* base                 # NULL while nothing is held
    Py_ssize_t size            # bytes at base
    Py_ssize_t start           # offset of the first byte not consumed
    Py_ssize_t end             # offset past the last byte filled


cdef int buffer_acquire(Buffer* buffer) noexcept nogil
cdef void buffer_release(Buffer* buffer) noexcept nogil
cdef int buffer_reserve(Buffer* buffer, Py_ssize_t free_bytes) noexcept nogil
cdef int buffer_park(Buffer* buffer) noexcept nogil
cdef Py_ssize_t pool_chunks_held() noexcept nogil


cdef inline Py_ssize_t buffer_len(const Buffer* buffer) noexcept nogil:
    return buffer.end - buffer.start


cdef inline Py_ssize_t buffer_room(const Buffer* buffer) noexcept nogil:
    return buffer.size - buffer.end
