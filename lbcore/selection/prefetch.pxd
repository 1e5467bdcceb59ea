# Prefetch memory that will be read soon.

cdef extern from *:
    """
    #define lb_prefetch(address) __builtin_prefetch(address)  /* a macro, because GCC drops calls of functions that only prefetch */
    """
    void prefetch "lb_prefetch"(const void* address) noexcept nogil
