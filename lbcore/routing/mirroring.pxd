# `mirroring`: a main service, and mirrors that get copies of some of its requests.

from libc.stdint cimport int64_t, uint32_t

from lbcore.routing.balancer cimport Child
from lbcore.routing.decision cimport Decision
from lbcore.routing.service cimport Service


cdef class MirrorPolicy:
    cdef readonly bint with_body
    cdef readonly int64_t max_body     # bytes; -1 = any. A request with a longer one is not mirrored
    cdef readonly int64_t timeout_ms
    cdef readonly Py_ssize_t max_concurrent        # copies under way at once, in this worker
    cdef readonly int64_t max_buffered             # bytes of bodies held for them, likewise
    cdef readonly list headers         # (name, the same in lower case, value) bytes, set on every copy
    cdef frozenset methods             # that are mirrored; empty = all


cdef class Mirror:
    cdef readonly Child child
    cdef readonly uint32_t percent
    cdef readonly MirrorPolicy policy
    cdef Py_ssize_t under_way          # copies in this worker
    cdef int64_t buffered              # bytes held for them

    cdef bint has_room(self, Py_ssize_t length) noexcept


cdef class Mirroring(Service):
    cdef readonly Child main
    cdef readonly list mirrors         # Mirror
    cdef readonly MirrorPolicy policy

    cdef list draw(self, Decision decision)
