# A request under way at a server.

from libc.stdint cimport uint64_t

from lbcore.selection.algorithm cimport Algorithm, Shaper
from lbcore.selection.selector cimport Selector


cdef class Lease:
    cdef readonly Selector selector    # the outermost that knows of it
    cdef Algorithm base
    cdef readonly object server
    cdef readonly uint64_t cost        # what the request counts as
    cdef list watchers                 # (Shaper, note) of the wrappers that are told its end; None = none
    cdef uint64_t epoch
    cdef uint64_t started_ns
    cdef bint ended

    cdef int watch(self, Shaper watcher, object note) except -1
    cdef bint finish(self, uint64_t latency_ns, bint ok, bint tell) except -1
    cdef int settle(self, object kind, object error) except -1


cdef int checked_kind(object kind) except -1
