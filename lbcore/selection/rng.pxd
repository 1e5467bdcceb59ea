# Pseudo-random numbers from 64 bits of state: xorshift64* (Vigna, An experimental exploration of Marsaglia's xorshift
# generators, scrambled, 2016). Not for secrets.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.mix cimport mix64


cdef inline uint64_t random_seeded(uint64_t seed) noexcept nogil:
    """The state for a seed. It is never 0, and neighbouring seeds give unrelated states."""
    return mix64(seed + <uint64_t>0x9E3779B97F4A7C15) | 1


cdef inline uint64_t random_next(uint64_t* state) noexcept nogil:
    cdef uint64_t x = state[0]
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    state[0] = x
    return x * <uint64_t>0x2545F4914F6CDD1D


cdef inline uint32_t random_below(uint64_t* state, uint32_t limit) noexcept nogil:
    """A number below `limit`, by multiplication; off from uniform by less than limit / 2**32."""
    return <uint32_t>(((random_next(state) >> 32) * limit) >> 32)
