# Jump consistent hashing.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.selection.bucketed cimport Bucketed
from lbcore.selection.wide cimport uint128


cdef class Jump(Bucketed):
    pass


cdef enum:
    JUMP_SHORT = 1 << 24       # up to this number of buckets, products of integers are precise enough
    JUMP_NEAR = 16             # 2**55 / 2**51: the largest product over the part of it that three roundings may change


cdef inline int64_t jump_find_far(uint64_t key, int64_t count) noexcept nogil:
    """`jump_find` exactly as published, for any count."""
    cdef int64_t found = 0, following
    while found + 1 < count:
        key = key * <uint64_t>2862933555777941757 + 1
        following = <int64_t>(<double>(found + 1) * (<double>2147483648.0 / <double><int64_t>((key >> 33) + 1)))
        if following >= count:
            break
        found = following
    return found


cdef inline int64_t jump_find(uint64_t key, int64_t count) noexcept nogil:
    """The bucket of a key among `count`, 1 to 2**31. O(ln count).

    The bucket after b is floor((b + 1) * q), q = 2**31 / ((key >> 33) + 1), in floating point. To reduce its cost:
    - Conversions to and from floating point take most of the time of a step, so q * 2**31 is converted to an integer, which
      does not depend on b. That truncates q by less than (b + 1) / 2**31 of a bucket; if the fraction is that close to 1, the
      product is computed as published.
    - Each step depends on the one before, so b + 1 is kept in the form in which it is multiplied: `after`, times 2**33.
    - When one bucket is left, a comparison of two integer products says whether it is reached, without a branch to predict;
      unless they are so close (JUMP_NEAR) that the rounding of floating point decides.
    """
    cdef uint64_t one = <uint64_t>1 << 33, after = one, end = <uint64_t>count << 33, divisor, reach, limit
    cdef int64_t following
    cdef uint128 product
    if count > JUMP_SHORT:
        return jump_find_far(key, count)
    while after < end:
        key = key * <uint64_t>2862933555777941757 + 1
        divisor = (key >> 33) + 1
        if after + one == end:
            reach = after >> 2
            limit = <uint64_t>count * divisor
            if reach - limit + JUMP_NEAR > 2 * JUMP_NEAR:
                return <int64_t>(after >> 33) - 1 + (reach < limit)
        product = <uint128>after * <uint64_t><int64_t>(<double>4611686018427387904.0 / <double><int64_t>divisor)
        following = <int64_t>(product >> 64)
        if <uint64_t>product >= <uint64_t>0xFC00000000000000:
            following = <int64_t>(<double>(after >> 33) * (<double>2147483648.0 / <double><int64_t>divisor))
        if following >= count:
            break
        after = (<uint64_t>following << 33) + one
    return <int64_t>(after >> 33) - 1


cdef void jump_find_many(const uint64_t* keys, uint32_t* out, Py_ssize_t n, int64_t count) noexcept nogil
