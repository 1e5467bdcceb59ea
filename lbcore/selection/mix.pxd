# A 64-bit hash for placement: every bit of the input affects every bit of the output. Not for secrets.
#
# Names that differ in one character must get distant values. Hashes without a finaliser, such as FNV-1a, give them neighbouring
# values, and a choice by highest score then always falls on the same server.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef inline uint64_t mix64(uint64_t x) noexcept nogil:
    """The finaliser of MurmurHash3 (Appleby), a bijection with full avalanche."""
    x ^= x >> 33
    x *= <uint64_t>0xFF51AFD7ED558CCD
    x ^= x >> 33
    x *= <uint64_t>0xC4CEB9FE1A85EC53
    return x ^ (x >> 33)


cdef inline uint64_t hash_bytes(const char* data, Py_ssize_t length, uint64_t seed) noexcept nogil:
    """Hash a string, eight bytes at a time. The same on every little-endian platform and in every process."""
    cdef uint64_t found = mix64(seed ^ (<uint64_t>length * <uint64_t>0x9E3779B97F4A7C15)), word
    while length >= 8:
        memcpy(&word, data, 8)
        found = mix64(found ^ word)
        data += 8
        length -= 8
    if length:
        word = 0
        memcpy(&word, data, length)
        found = mix64(found ^ word)
    return found
