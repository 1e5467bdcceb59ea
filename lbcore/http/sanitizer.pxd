# Whether this build uses the address sanitizer, which detects a use after free only if memory is really freed.

cdef extern from *:
    """
    #ifdef __SANITIZE_ADDRESS__
    #define LBCORE_POOLS 0
    #else
    #define LBCORE_POOLS 1
    #endif
    """
    enum:
        POOLS "LBCORE_POOLS"   # 1: pools may keep freed memory for reuse; 0: it goes back to the heap at once
