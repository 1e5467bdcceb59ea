# A ring of points: the next one from any place on.

from libc.stdint cimport uint32_t

cdef struct Point:
    uint32_t hash
    uint32_t index


cdef struct Ring:
    Point* points              # in order
    Py_ssize_t count
    uint32_t* starts           # by the upper bits of a hash: the first point that is not below
    int shift                  # that leaves these bits


cdef int ring_sort(Point* points, Py_ssize_t count) except -1
cdef int ring_index(Ring* ring) except -1
cdef void ring_free(Ring* ring) noexcept nogil


cdef inline Py_ssize_t ring_find(const Ring* ring, uint32_t place) noexcept nogil:
    """The first point at a place or after it, the very first one after the last. The ring has points.

    O(1) expected: the place's upper bits say between which points to search; O(log points) at worst.
    """
    cdef uint32_t* start = ring.starts + (place >> ring.shift)
    cdef uint32_t low = start[0], high = start[1], middle
    while low < high:
        middle = (low + high) >> 1
        if ring.points[middle].hash < place:
            low = middle + 1
        else:
            high = middle
    return 0 if <Py_ssize_t>low == ring.count else <Py_ssize_t>low
