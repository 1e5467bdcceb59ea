# The key schedule of TLS 1.3 for OpenSSL, and contexts that use it.

cdef void* new_context(const void* method) noexcept
