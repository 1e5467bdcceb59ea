# Leases: a request counts as in flight at its server until its lease ends.

from libc.stdint cimport uint64_t

from lbcore.selection.algorithm cimport Algorithm, Shaper
from lbcore.selection.selector cimport Selector


cdef class Lease:
    cdef readonly Selector selector    # the outermost wrapper through which the lease was made, or the algorithm
    cdef Algorithm base                # the algorithm that counts the request
    cdef readonly object server
    cdef readonly uint64_t cost        # the weight of the request
    cdef list watchers                 # (Shaper, note): wrappers whose `lease_over` is called at the end; None = none
    cdef uint64_t epoch                # Algorithm.epochs of the server when it was picked
    cdef uint64_t started_ns           # monotonic
    cdef bint ended

    cdef int watch(self, Shaper watcher, object note) except -1
    cdef bint finish(self, uint64_t latency_ns, bint ok, bint tell) except -1
    cdef int settle(self, object kind, object error) except -1


cdef int checked_kind(object kind) except -1
