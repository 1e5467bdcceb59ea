# A copy of a request on its way to a mirror.

from lbcore.proxy.exchange cimport ClientStream
from lbcore.proxy.recording cimport Recording
from lbcore.routing.mirroring cimport Mirror
from lbcore.transport.reactor cimport Reactor, Timed


cdef class Deadline(Timed):
    cdef MirrorStream stream


cdef class MirrorStream(ClientStream):
    cdef Mirror mirror
    cdef Recording body                # of the request; None for one without
    cdef Py_ssize_t passed_on          # bytes of it that the server has been given
    cdef bint ended                    # the server was told that it is complete
    cdef Deadline deadline
    cdef Reactor reactor
    cdef set streams                   # all of the worker; this one is in it

    cdef int begin(self) except -1
    cdef int expire(self) except -1
    cdef int leave(self) except -1
