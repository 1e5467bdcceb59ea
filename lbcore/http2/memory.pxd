# The memory of libnghttp2's sessions.

cdef struct Memory:            # nghttp2_mem
    void* data
    void* (*allocate)(size_t size, void* data) noexcept
    void (*release)(void* block, void* data) noexcept
    void* (*allocate_zeroed)(size_t count, size_t size, void* data) noexcept
    void* (*resize)(void* block, size_t size, void* data) noexcept


cdef Memory* session_memory() noexcept
