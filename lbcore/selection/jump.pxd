# Jump consistent hashing.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.selection.bucketed cimport Bucketed
from lbcore.selection.wide cimport uint128


cdef class Jump(Bucketed):
    pass


cdef enum:
    JUMP_SHORT = 1 << 24       # buckets up to which products of integers are near enough
    JUMP_NEAR = 16             # 2**55 / 2**51: the largest product, and the part of it that three roundings may change


cdef inline int64_t jump_find_far(uint64_t key, int64_t count) noexcept nogil:
    """`jump_find` as it is written, for any count."""
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

    What follows a bucket b is floor((b + 1) * q), q = 2**31 / ((key >> 33) + 1), in floating point. Ways round its cost:
    - Converting there and back is most of the time a step takes, so q * 2**31 is made an integer, which does not wait for
      b. What that cuts off q is less than (b + 1) / 2**31 of a bucket: where the fraction is that near to 1, the product
      is made as it is written.
    - Each step waits for the one before: b + 1 is kept as what it is multiplied as, `after`, times 2**33.
    - Where one bucket is left, two products of integers tell whether it is reached, and the processor has nothing to
      guess; unless they are so near to each other (JUMP_NEAR) that what floating point cuts off decides.
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


cdef void jump_find_many(const uint64_t* keys, uint32_t* out, Py_ssize_t n, int64_t count) noexcept nogil   # of each key
