# The monotonic clock, exact or as of the kernel's last tick.

from libc.stdint cimport uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    """
    #include <time.h>
    #ifdef CLOCK_MONOTONIC_COARSE
    #define LB_CLOCK_COARSE CLOCK_MONOTONIC_COARSE
    #else
    #define LB_CLOCK_COARSE CLOCK_MONOTONIC
    #endif
    """
    const int CLOCK_COARSE "LB_CLOCK_COARSE"


cdef inline uint64_t coarse_ns() noexcept nogil:
    """`monotonic_ns` up to some ms late, at a fraction of its cost."""
    cdef timespec now
    clock_gettime(CLOCK_COARSE, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


cdef inline uint64_t monotonic_ns() noexcept nogil:
    """CLOCK_MONOTONIC in ns."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec
