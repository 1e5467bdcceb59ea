# Products of 128 bits.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    typedef unsigned __int128 lb_uint128;
    """
    ctypedef unsigned long long uint128 "lb_uint128"


cdef inline uint64_t scaled(uint64_t hash, uint64_t n) noexcept nogil:
    """A hash as a number below `n`, by its upper bits: no division."""
    return <uint64_t>((<uint128>hash * n) >> 64)
