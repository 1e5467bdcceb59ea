# The memory of the libraries that lbcore loads: blocks of the heap, of which freed ones are kept for the next request.

cdef struct LibraryMemory:     # laid out as nghttp2_mem, nghttp3_mem and ngtcp2_mem are
    void* data
    void* (*allocate)(size_t size, void* data) noexcept nogil
    void (*release)(void* block, void* data) noexcept nogil
    void* (*allocate_zeroed)(size_t count, size_t size, void* data) noexcept nogil
    void* (*resize)(void* block, size_t size, void* data) noexcept nogil


cdef void heap_adopt() noexcept nogil
cdef void* heap_take(size_t size) noexcept nogil
cdef void* heap_resize(void* block, size_t size) noexcept nogil
cdef void heap_give(void* block) noexcept nogil
cdef void fill_memory(LibraryMemory* memory) noexcept nogil
cdef const LibraryMemory* library_memory() noexcept nogil
