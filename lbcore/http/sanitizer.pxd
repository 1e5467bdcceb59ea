# Whether this build uses the address sanitizer, which detects a use after free only if memory is really freed, or hidden.

cdef extern from * nogil:
    """
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #define LBCORE_POOLS 0
    #define LBCORE_GAP_BYTES 16
    #define lbcore_hide(start, size) __asan_poison_memory_region(start, size)
    #define lbcore_show(start, size) __asan_unpoison_memory_region(start, size)
    #define lbcore_first_hidden(start, size) ((char *)__asan_region_is_poisoned((void *)(start), size))
    #else
    #define LBCORE_POOLS 1
    #define LBCORE_GAP_BYTES 0
    #define lbcore_hide(start, size) ((void)0)
    #define lbcore_show(start, size) ((void)0)
    #define lbcore_first_hidden(start, size) ((char *)0)
    #endif
    """
    enum:
        POOLS "LBCORE_POOLS"   # 1: pools may keep freed memory for reuse; 0: it goes back to the heap at once, or is hidden
        GAP_BYTES "LBCORE_GAP_BYTES"           # that are hidden behind each block of memory that several share
    # In a build with the sanitizer, to read or write what is hidden ends the process; in others these do nothing.
    void hide "lbcore_hide"(void* start, size_t size)
    void show "lbcore_show"(void* start, size_t size)
    char* first_hidden "lbcore_first_hidden"(const void* start, size_t size)   # the first hidden byte; NULL: there is none
