# The memory of the libraries that lbcore loads: blocks of the heap, of which freed ones are kept for the next request.

cdef void heap_adopt() noexcept nogil
cdef void* heap_take(size_t size) noexcept nogil
cdef void* heap_resize(void* block, size_t size) noexcept nogil
cdef void heap_give(void* block) noexcept nogil
