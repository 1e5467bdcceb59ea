# A copy of a request for a mirror.

from lbcore.routing.mirroring cimport Mirror
from lbcore.transport.local_stream cimport LocalStream
from lbcore.transport.reactor cimport Reactor, Timed


cdef class Deadline(Timed):
    cdef MirrorStream stream


cdef class MirrorStream(LocalStream):
    cdef Mirror mirror
    cdef Deadline deadline
    cdef Reactor reactor
    cdef set streams                   # all copies of the worker, including this one

    cdef int send(self) except -1
    cdef int expire(self) except -1
    cdef int cut(self) except -1
    cdef int leave(self) except -1
