# A ring of points, sorted by hash, and the search for the next point.

from libc.stdint cimport uint32_t

cdef struct Point:
    uint32_t hash
    uint32_t index


cdef struct Ring:              # owns both arrays, unless its user says otherwise; `ring_free` frees them
    Point* points              # sorted by hash
    Py_ssize_t count
    uint32_t* starts           # by the upper bits of a hash: the first point that is not below; built by `ring_index`
    int shift                  # a hash shifted right by this leaves these bits


cdef int ring_sort(Point* points, Py_ssize_t count) except -1
cdef int ring_index(Ring* ring) except -1
cdef void ring_free(Ring* ring) noexcept nogil


cdef inline Py_ssize_t ring_find(const Ring* ring, uint32_t place) noexcept nogil:
    """The index of the first point at a place or after it; after the last point follows the first. The ring must have points.

    O(1) expected, because the upper bits of the place limit the search to a few points; O(log points) at worst.
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
