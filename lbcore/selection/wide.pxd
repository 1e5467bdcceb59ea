# Integers of 128 bits, for exact products of two integers of 64 bits.

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    typedef unsigned __int128 lb_uint128;
    """
    ctypedef unsigned long long uint128 "lb_uint128"


cdef inline uint64_t scaled(uint64_t hash, uint64_t n) noexcept nogil:
    """A hash as a number below `n`, by its upper bits: no division."""
    return <uint64_t>((<uint128>hash * n) >> 64)


cdef inline bint ratio_below(uint64_t a, uint32_t a_weight, uint64_t b, uint32_t b_weight) noexcept nogil:
    """Whether a / a_weight < b / b_weight, exactly."""
    return <uint128>a * b_weight < <uint128>b * a_weight
