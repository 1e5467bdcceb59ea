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
    cdef Ring all_points       # the points of all servers; `points` is owned, `starts` is not built
    cdef Ring live             # the points of the open servers; borrows those of `all_points` if all servers are open
    cdef int ring_kind         # RingKind
    cdef uint32_t vnodes       # points for each unit of weight
    cdef bint jumps            # overflow="jump": keys of a full server go to other places of the ring, not to the next point

    cdef void release(self) noexcept nogil
    cdef uint32_t place(self, uint64_t key) noexcept nogil
    cdef Py_ssize_t points_of(self, uint64_t weight, uint64_t total, int halvings) noexcept nogil
    cdef Py_ssize_t put_points(self, Py_ssize_t index, Py_ssize_t n, Point* points) except -1
    cdef Py_ssize_t only_one_each(self, Point* points, Py_ssize_t count) noexcept nogil


cdef uint32_t nginx_points(const char* name, Py_ssize_t length, Py_ssize_t n, uint32_t index, Point* points) noexcept nogil
