# Whether this build runs under the address sanitizer, which sees a use after free only where memory is really freed.

cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__
    #define LBCORE_POOLS 0
    #else
    #define LBCORE_POOLS 1
    #endif
    """
    enum:
        POOLS "LBCORE_POOLS"   # 1: freed memory may be kept for reuse; 0: it goes back to the heap at once
