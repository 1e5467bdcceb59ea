# Services that choose among members by weight and strategy: servers, or other services.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.routing.member cimport Member
from lbcore.routing.picker cimport Picker
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service, UpstreamPolicy
from lbcore.routing.sticky cimport StickyCookie
from lbcore.routing.tcp_route cimport TcpPolicy
from lbcore.state.layout cimport ServerCell


cdef struct Quorum:                    # minHealthy
    uint32_t count                     # members that must be up; 0 = no such bound
    uint32_t percent                   # of the weight that must be up; 0 = no such bound
    uint32_t recover                   # percent of the weight, or count, at which a service that is down is up again; 0 = the same


cdef struct Ejection:                  # passive health check
    uint32_t attempts                  # failures that eject a server; 0 = none do
    uint32_t window_ms                 # time within which the failures must be
    uint32_t percent                   # of the servers that may be ejected at once


cdef class Balancer(Service):
    cdef readonly list members         # Member, in the order of the file
    cdef Py_ssize_t count
    cdef uint32_t* weights             # configured, by index in `members`; owns the allocation into which `current` and `computed` point, too
    cdef uint32_t* current             # effective weights from which the picker was built; 0 = not eligible
    cdef uint32_t scale                # factor of `current`, so that parts of a weight are whole numbers
    cdef uint32_t* computed            # scratch space for the next effective weights
    cdef ServerCell** cells            # the array is owned; the cells are in the region, which `members` keep mapped
    cdef Picker picker
    cdef StickyCookie sticky           # None = no sessions by cookie
    cdef bint has_sessions             # by cookie or by address: a client has a member of its own
    cdef bint watches                  # its status follows the status of its members
    cdef Quorum quorum
    cdef bint limited                  # servers may have limits, and are passed over when full

    cdef bint may_serve(self, Py_ssize_t index) except *
    cdef int read_weights(self) except -1
    cdef int apply_ramps(self) noexcept
    cdef bint take_out_the_down(self) except *
    cdef Py_ssize_t find_session(self, Asker asker, Decision decision) except -2
    cdef bint is_full(self, Decision decision) except *
    cdef Py_ssize_t choose_member(self, Asker asker, Decision decision) except -2
    cdef bint refuses(self, Py_ssize_t index, Decision decision) except *


cdef class LoadBalancer(Balancer):
    cdef bint pass_host
    cdef readonly UpstreamPolicy policy
    cdef readonly TcpPolicy tcp        # None at layer 7
    cdef public WaitQueue queue        # for requests that find all servers full; None = no server has a limit
    cdef bint counts                   # exchanges in flight are counted for all workers
    cdef bint times                    # the time to first byte is measured
    cdef Ejection ejection

    cdef Server choose_or_wait(self, Asker asker, Decision decision)
    cdef Py_ssize_t look_again(self, Asker asker, Decision decision) except -2
    cdef bint take_slot(self, Server server) noexcept
    cdef int give_back(self, Server server) noexcept
    cdef int note_start(self, Server server) except -1
    cdef int note_end(self, Server server) noexcept
    cdef int note_success(self, Server server) noexcept
    cdef int note_failure(self, Server server) except -1
    cdef int note_slowness(self, Server server, uint64_t elapsed_ns, uint64_t now_ns) noexcept
    cdef int note_latency(self, Server server, double elapsed_ns, double now_ns) noexcept


cdef class Child(Member):
    cdef readonly Service service


cdef class Weighted(Balancer):
    pass
