# Jump consistent hashing.

from libc.stdint cimport int64_t, uint64_t

from lbcore.selection.bucketed cimport Bucketed


cdef class Jump(Bucketed):
    pass


cdef inline int64_t jump_find(uint64_t key, int64_t count) noexcept nogil:
    """The bucket of a key among `count`, 1 to 2**31. O(ln count)."""
    cdef int64_t found = -1, following = 0
    while following < count:
        found = following
        key = key * <uint64_t>2862933555777941757 + 1
        following = <int64_t>(<double>(found + 1) * (<double>2147483648.0 / <double><int64_t>((key >> 33) + 1)))
    return found
