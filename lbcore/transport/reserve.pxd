# The descriptors of this process: the share of clients, and what is closed when none is left.

from lbcore.state.layout cimport WorkerStats
from lbcore.state.region cimport Region
from lbcore.transport.reactor cimport Relief


cdef class Reserve(Relief):
    cdef list connections              # sets of all open ClientConnections of the worker
    cdef object servers                # Server by identity, of the table in force
    cdef Py_ssize_t others             # descriptors that belong neither to clients nor to servers
    cdef Py_ssize_t most               # limit of client connections
    cdef Py_ssize_t sessions           # of UDP, of which each has one descriptor
    cdef Region region                 # the owner of `row`
    cdef WorkerStats* row              # of this worker: counts the connections that were closed to make room
    cdef list idle                     # clients found idle: since when, a number, a weak reference; the longest idle last
    cdef list pools                    # of servers, found to hold connections
    cdef Py_ssize_t at_once            # of `idle`, that one call closes
    cdef double idle_again_s           # monotonic times before which there is no use in looking, ...
    cdef double pools_again_s          # ... since nothing was idle

    cdef void measure(self) noexcept
    cdef Py_ssize_t clients(self) noexcept
    cdef bint has_room(self) noexcept
    cdef Py_ssize_t close_pooled(self) except -1
    cdef Py_ssize_t close_idle(self) except -1
    cdef int look_for_idle(self) except -1
