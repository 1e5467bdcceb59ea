# Ring hashing with several points for each server.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.bound cimport Bound
from lbcore.selection.keyed cimport Keyed
from lbcore.selection.ring cimport Point, Ring

cdef enum RingKind:
    RING_OWN
    RING_NGINX
    RING_UHASHRING


cdef class Ketama(Keyed):
    cdef Ring all_points       # of all servers
    cdef Ring live             # of those that are open; borrows the points of `all_points` when all are
    cdef int ring_kind
    cdef uint32_t vnodes       # points for each unit of weight
    cdef bint jumps            # where a full server's keys go: all over the ring, instead of to the next point

    cdef void release(self) noexcept nogil
    cdef uint32_t place(self, uint64_t key) noexcept nogil
    cdef Py_ssize_t points_of(self, uint64_t weight, uint64_t total, int halvings) noexcept nogil
    cdef Py_ssize_t put_points(self, Py_ssize_t index, Py_ssize_t n, Point* points) except -1
    cdef Py_ssize_t only_one_each(self, Point* points, Py_ssize_t count) noexcept nogil


cdef uint32_t nginx_points(const char* name, Py_ssize_t length, Py_ssize_t n, uint32_t index, Point* points) noexcept nogil
