# Jump consistent hashing.

from libc.stdint cimport int64_t, uint64_t

from lbcore.selection.bucketed cimport Bucketed
from lbcore.selection.wide cimport uint128


cdef class Jump(Bucketed):
    pass


cdef enum:
    JUMP_SHORT = 1 << 24       # buckets up to which a product of integers is near enough


cdef inline int64_t jump_find(uint64_t key, int64_t count) noexcept nogil:
    """The bucket of a key among `count`, 1 to 2**31. O(ln count), some 3 ns a step.

    What follows is floor((b + 1) * q), q = 2**31 / ((key >> 33) + 1), in floating point. Converting there and back is most
    of the time a step takes, so q * 2**31 is made an integer, which does not wait for b. What that cuts off q is less than
    (b + 1) / 2**31 of a bucket: where the fraction is that near to 1, the product is made as it is written.
    """
    cdef int64_t found = -1, following = 0
    cdef uint128 product
    if count > JUMP_SHORT:
        while following < count:
            found = following
            key = key * <uint64_t>2862933555777941757 + 1
            following = <int64_t>(<double>(found + 1) * (<double>2147483648.0 / <double><int64_t>((key >> 33) + 1)))
        return found
    while following < count:
        found = following
        key = key * <uint64_t>2862933555777941757 + 1
        product = (<uint128>(<uint64_t>(found + 1) << 33)
                   * <uint64_t><int64_t>(<double>4611686018427387904.0 / <double><int64_t>((key >> 33) + 1)))
        following = <int64_t>(product >> 64)
        if <uint64_t>product >= <uint64_t>0xFC00000000000000:
            following = <int64_t>(<double>(found + 1) * (<double>2147483648.0 / <double><int64_t>((key >> 33) + 1)))
    return found
