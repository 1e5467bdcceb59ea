# SipHash-2-4 with 128 bits (Aumasson, Bernstein): a short text's keyed hash, which nobody can make or tell apart without the key.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy


cdef struct SipState:
    uint64_t a
    uint64_t b
    uint64_t c
    uint64_t d


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(SipState* s) noexcept nogil:
    s.a += s.b
    s.b = rotated(s.b, 13) ^ s.a
    s.a = rotated(s.a, 32)
    s.c += s.d
    s.d = rotated(s.d, 16) ^ s.c
    s.a += s.d
    s.d = rotated(s.d, 21) ^ s.a
    s.c += s.b
    s.b = rotated(s.b, 17) ^ s.c
    s.c = rotated(s.c, 32)


cdef inline void sip_word(SipState* s, uint64_t word) noexcept nogil:
    s.d ^= word
    sip_round(s)
    sip_round(s)
    s.a ^= word


cdef inline uint64_t sip_end(SipState* s) noexcept nogil:
    cdef int i
    for i in range(4):
        sip_round(s)
    return s.a ^ s.b ^ s.c ^ s.d


cdef inline void siphash(const uint8_t* key, const char* text, Py_ssize_t length, uint64_t* digest) noexcept nogil:
    """Hash a text under a key of 16 bytes, to two words. O(length)."""
    cdef SipState s
    cdef uint64_t first, second, word, last = <uint64_t>length << 56
    cdef Py_ssize_t left = length
    memcpy(&first, key, 8)
    memcpy(&second, key + 8, 8)
    s.a = first ^ <uint64_t>0x736F6D6570736575
    s.b = second ^ <uint64_t>0x646F72616E646F6D ^ 0xEE
    s.c = first ^ <uint64_t>0x6C7967656E657261
    s.d = second ^ <uint64_t>0x7465646279746573
    while left >= 8:
        memcpy(&word, text, 8)
        sip_word(&s, word)
        text += 8
        left -= 8
    word = 0
    if left:
        memcpy(&word, text, left)
    sip_word(&s, last | word)
    s.c ^= 0xEE
    digest[0] = sip_end(&s)
    s.b ^= 0xDD
    digest[1] = sip_end(&s)
