"""Weighted rendezvous hashing, the core: integers alone, so that every platform finds the same. No I/O.

h = mix64(key ^ id), u = ((h >> 11) + 0.5) / 2**53, score = -w / ln(u); the highest score wins. That is the lowest -ln(u) / w.
Because -ln(u) >= 1 - u, one product rules out most servers without a logarithm; O(ln n) logarithms are expected.
Source: Thaler and Ravishankar, Using name-based mappings to increase hit rates, 1998; the weights as in Schindelhauer and
Schomaker, Weighted distributed hash tables, 2005.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.bound cimport Bound, admitted
from lbcore.selection.mix cimport mix64
from lbcore.selection.wide cimport uint128

cdef enum:
    FRACTION = 57              # fraction bits of a distance; 54 * ln(2) needs 6 integer bits
    CELLS = 256                # cells of the table, each 1/256 of [1, 2)
    MORE = 80                  # fraction bits with which the table is computed

cdef extern from *:
    int clz64 "__builtin_clzll"(unsigned long long x) noexcept nogil

cdef uint64_t one = <uint64_t>1 << 63
cdef uint64_t ln2
cdef uint64_t[CELLS] ln_cell           # ln(1 + i/256), with FRACTION fraction bits
cdef uint64_t[CELLS] inverse           # 2**63 / (1 + i/256)


def natural_log(numerator, denominator):
    """ln(numerator / denominator) with MORE fraction bits, for a ratio from 1 to 2."""
    square = term = ((numerator - denominator) << MORE) // (numerator + denominator)
    square = square * square >> MORE
    total, odd = 0, 1
    while term:
        total += term // odd
        term = term * square >> MORE
        odd += 2
    return 2 * total


def rounded(value):
    """Round a number with MORE fraction bits to FRACTION of them."""
    return (value + (1 << (MORE - FRACTION - 1))) >> (MORE - FRACTION)


def fill_tables():
    global ln2
    cdef int i
    ln2 = rounded(natural_log(2, 1))
    for i in range(CELLS):
        ln_cell[i] = rounded(natural_log(CELLS + i, CELLS))
        inverse[i] = ((<object>CELLS) << 63) // (CELLS + i)


fill_tables()


cdef inline uint64_t product(uint64_t a, uint64_t b, int bits) noexcept nogil:
    return <uint64_t>((<uint128>a * b) >> bits)


cdef uint64_t hrw_distance(uint64_t hash) noexcept nogil:
    """-ln(u) of a hash, times 2**57, at least 1; off by 4 / 2**57 at most.

    u = m * 2**-k, m = (1 + i/256) * (1 + t), and ln(1 + t) by six terms of its series, t < 1/256.
    """
    cdef uint64_t x = (hash >> 11) * 2 + 1, t, sum
    cdef int zeros = clz64(x), i
    cdef int64_t found
    x <<= zeros
    i = (x >> 55) & (CELLS - 1)
    t = product((x & ((<uint64_t>1 << 55) - 1)) << 8, inverse[i], 63)     # t * 2**71
    sum = one // 5 - product(t, one // 6, 71)
    sum = one // 4 - product(t, sum, 71)
    sum = one // 3 - product(t, sum, 71)
    sum = one // 2 - product(t, sum, 71)
    sum = one - product(t, sum, 71)
    found = <int64_t>((zeros - 9) * ln2 - ln_cell[i] - (product(t, sum, 63) >> 14))
    return <uint64_t>max(found, <int64_t>1)


cdef Py_ssize_t hrw_find(
        const uint64_t* ids, const uint32_t* open, Py_ssize_t count, bint equal, uint64_t key, const uint8_t* barred,
        const Bound* bound) noexcept nogil:
    """The server of the highest score for a key among those that are open, not barred and not full; -1 when there is none.

    ids    by index, all different: hashes of names.
    open   by index: weights, 0 = closed. `equal`: all weights that are not 0 are the same.
    O(servers).
    """
    cdef Py_ssize_t i, best = -1
    cdef uint64_t hash, best_hash = 0, distance, best_distance = 0
    cdef uint128 mine, its
    cdef double reach = 0      # a server whose 1 - u is above this times its weight cannot win
    if equal:
        for i in range(count):
            hash = mix64(key ^ ids[i])
            if (hash > best_hash or best < 0) and open[i] and admitted(i, barred, bound):
                best, best_hash = i, hash
        return best
    for i in range(count):
        hash = mix64(key ^ ids[i])
        if best >= 0 and <double><int64_t>(~hash >> 11) > reach * <double>open[i]:
            continue
        if open[i] == 0 or not admitted(i, barred, bound):
            continue
        distance = hrw_distance(hash)
        mine = <uint128>distance * open[best] if best >= 0 else 0
        its = <uint128>best_distance * open[i]
        if best < 0 or mine < its or (mine == its and hash > best_hash):
            best, best_hash, best_distance = i, hash, distance
            # From units of 2**-57 to 2**-53, and slightly more, to make up for rounding.
            reach = (<double>distance + 16) / 16 / <double>open[i] * (1 + 1e-9)
    return best
