# Histograms of durations, as counts by bucket: two buckets to an octave, the first two of 16 µs. No I/O.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.layout cimport TIME_BUCKETS

cdef extern from *:
    int leading_zeros "__builtin_clzll"(unsigned long long value) nogil

cdef enum:
    UNIT_BITS = 14             # durations are counted in units of 2**14 ns


cdef inline int bucket_of(uint64_t duration_ns) noexcept nogil:
    """The index of the bucket for a duration; the last one has all that are longer."""
    cdef uint64_t units = duration_ns >> UNIT_BITS
    cdef int octave
    if units < 2:
        return <int>units
    octave = 63 - leading_zeros(units)
    return min(2 * octave + <int>(units >> (octave - 1) & 1), <int>TIME_BUCKETS - 1)


cdef inline uint64_t least_of(int bucket) noexcept nogil:
    """The shortest duration in a bucket, in ns."""
    if bucket < 2:
        return <uint64_t>bucket << UNIT_BITS
    return <uint64_t>(2 + (bucket & 1)) << (bucket // 2 - 1) << UNIT_BITS


cdef inline double quantile_of(const uint32_t* counts, double part) noexcept nogil:
    """The duration in ms that `part` (0 to 1) of those counted do not exceed, by interpolation; below 0: none was counted."""
    cdef uint64_t total = 0
    cdef double rank, seen = 0, least, most
    cdef int i
    for i in range(TIME_BUCKETS):
        total += counts[i]
    if total == 0:
        return -1
    rank = part * total
    for i in range(TIME_BUCKETS):
        if counts[i] and seen + counts[i] >= rank:
            least, most = <double>least_of(i), <double>least_of(i + 1)
            return (least + (most - least) * max(rank - seen, 0) / counts[i]) / 1e6
        seen += counts[i]
    return <double>least_of(TIME_BUCKETS) / 1e6
