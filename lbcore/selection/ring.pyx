"""A ring of points, sorted by hashes of 32 bits, and an index into it. No I/O.

The points of a ring are spread evenly, so a table by their upper bits leaves one or two points to compare (Karger and others,
Consistent hashing and random trees, 1997, section 5.1: buckets of equal size instead of a search tree).
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lbcore.selection.ring cimport Point, Ring

cdef enum:
    DIGIT = 11                 # bits sorted by at a time
    DIGITS = 1 << DIGIT


cdef int ring_sort(Point* points, Py_ssize_t count) except -1:
    """Sort by hash, stably. A radix sort: O(points), with a temporary copy of the points. Raises MemoryError."""
    cdef uint32_t[DIGITS] offsets
    cdef Point* other = <Point*>malloc((count + 1) * sizeof(Point))
    cdef Point* source = points
    cdef Point* target = other
    cdef Py_ssize_t i
    cdef uint32_t digit, sum, size
    cdef int turn, shift
    if other == NULL:
        raise MemoryError
    with nogil:
        for turn in range(3):
            shift = DIGIT * turn
            memset(offsets, 0, sizeof(offsets))
            for i in range(count):
                offsets[(source[i].hash >> shift) & (DIGITS - 1)] += 1
            sum = 0
            for digit in range(DIGITS):
                size = offsets[digit]
                offsets[digit] = sum
                sum += size
            for i in range(count):
                digit = (source[i].hash >> shift) & (DIGITS - 1)
                target[offsets[digit]] = source[i]
                offsets[digit] += 1
            source, target = target, source
        if source != points:
            for i in range(count):
                points[i] = source[i]
        free(other)
    return 0


cdef int ring_index(Ring* ring) except -1:
    """Replace `starts`, which gets about one entry for each point, rounded down to a power of two. O(points). Raises MemoryError."""
    cdef int bits = 1
    cdef Py_ssize_t i, size
    cdef uint32_t bucket, at = 0
    cdef uint32_t* starts
    while bits < 30 and (<Py_ssize_t>2 << bits) <= ring.count:
        bits += 1
    size = <Py_ssize_t>1 << bits
    starts = <uint32_t*>malloc((size + 1) * sizeof(uint32_t))
    if starts == NULL:
        raise MemoryError
    free(ring.starts)
    ring.starts = starts
    ring.shift = 32 - bits
    with nogil:
        for i in range(ring.count):
            bucket = ring.points[i].hash >> ring.shift
            while at <= bucket:
                starts[at] = <uint32_t>i
                at += 1
        while at <= <uint32_t>size:
            starts[at] = <uint32_t>ring.count
            at += 1
    return 0


cdef void ring_free(Ring* ring) noexcept nogil:
    free(ring.points)
    free(ring.starts)
    ring.points = NULL
    ring.starts = NULL
    ring.count = 0
