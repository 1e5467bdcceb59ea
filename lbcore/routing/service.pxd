# The base of services, which choose a server for a request.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.state.layout cimport Header, ServiceCell
from lbcore.state.region cimport Region


cdef class UpstreamPolicy:             # of a servers transport
    cdef public int64_t dial_timeout_ms
    cdef public int64_t response_header_timeout_ms     # 0 = none
    cdef public int64_t idle_timeout_ms                # 0 = none
    cdef public int64_t read_idle_timeout_ms           # of HTTP/2: a server that is silent is sent a PING; 0 = never
    cdef public int64_t ping_timeout_ms                # and has that long to answer it; 0 = any time
    cdef public Py_ssize_t max_idle                    # connections kept per server; 0 = none


cdef class Service:
    cdef readonly str name             # `name@provider`
    cdef bint up                       # as of `seen`; a parent that watches its children goes by it
    cdef uint64_t seen                 # the region's eligibility that everything derived from it is up to date with
    cdef readonly uint32_t slot        # of its cell
    cdef ServiceCell* cell             # NULL for one without state
    cdef Header* region_header         # NULL likewise
    cdef object region                 # keeps both mapped

    cdef Server choose(self, Asker asker, Decision decision)
    cdef Server admit(self, Asker asker, Decision decision)
    cdef int let_go(self, Server server) noexcept
    cdef int refresh(self) except -1
    cdef bint has_moved(self) noexcept
    cdef int derive(self) except -1
    cdef int settle(self, bint up) except -1
    cdef int keep_state(self, Region region, uint32_t slot) except -1
