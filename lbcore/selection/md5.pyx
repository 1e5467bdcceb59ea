"""MD5 (RFC 1321), for rings that other programs build with it: four numbers, lowest byte first. No I/O, not for secrets.

Implemented here because a pick by key computes it once, and a call of `hashlib` costs more than the rest of the pick.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import math

cdef uint32_t[64] sines
cdef int[16] turns = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21]


def fill_sines():
    cdef int i
    for i in range(64):
        sines[i] = int(abs(math.sin(i + 1)) * 4294967296)


fill_sines()


cdef void block(const uint8_t* data, uint32_t* state) noexcept nogil:
    cdef uint32_t[16] words
    cdef uint32_t a = state[0], b = state[1], c = state[2], d = state[3], f
    cdef int i, at, turn
    memcpy(words, data, 64)
    for i in range(64):
        if i < 16:
            f, at = (b & c) | (~b & d), i
        elif i < 32:
            f, at = (d & b) | (~d & c), (5 * i + 1) & 15
        elif i < 48:
            f, at = b ^ c ^ d, (3 * i + 5) & 15
        else:
            f, at = c ^ (b | ~d), (7 * i) & 15
        f += a + sines[i] + words[at]
        turn = turns[(i >> 4) * 4 + (i & 3)]
        a, d, c = d, c, b
        b += (f << turn) | (f >> (32 - turn))
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d


cdef int md5(const uint8_t* data, Py_ssize_t length, uint32_t* digest) noexcept nogil:
    cdef uint8_t[128] last
    cdef uint64_t bits = <uint64_t>length * 8
    cdef Py_ssize_t size
    digest[0], digest[1], digest[2], digest[3] = 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476
    while length >= 64:
        block(data, digest)
        data += 64
        length -= 64
    memset(last, 0, 128)
    memcpy(last, data, length)
    last[length] = 0x80
    size = 64 if length < 56 else 128
    memcpy(last + size - 8, &bits, 8)
    block(last, digest)
    if size == 128:
        block(last + 64, digest)
    return 0
