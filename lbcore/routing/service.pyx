"""The base of services, which choose a server for a request. No I/O."""

import time

cimport cython
from libc.stdint cimport uint32_t

from lbcore.http.request cimport Request
from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.selection.atomic cimport atomic_load_u32, atomic_load_u64, atomic_store_u64, atomic_swap_if_u32
from lbcore.state.region cimport Region


cdef Asker asker_of(Request request):
    """The asker of a request; None = nothing is known of the client. Valid as long as `request`."""
    cdef Asker asker = Asker.__new__(Asker)
    asker.request = request
    if request is not None:
        asker.address = request.head.client
    return asker


@cython.final
cdef class UpstreamPolicy:
    """Timeouts and limits of connections to servers."""

    def __init__(self, dial_timeout_ms=30000, response_header_timeout_ms=0, idle_timeout_ms=90000, max_idle=200,
                 read_idle_timeout_ms=0, ping_timeout_ms=15000):
        self.dial_timeout_ms = dial_timeout_ms
        self.response_header_timeout_ms = response_header_timeout_ms
        self.idle_timeout_ms = idle_timeout_ms
        self.max_idle = max_idle
        self.read_idle_timeout_ms = read_idle_timeout_ms
        self.ping_timeout_ms = ping_timeout_ms


cdef class Service:
    """The destination of a router, or of another service.

    Its status is a function of its children and servers alone. Each worker derives it when the region's counter of eligibility has
    changed: children before parents, and each service once, however many parents it has.
    """

    def __cinit__(self, *arguments, **named):
        self.up = True

    cdef int keep_state(self, Region region, uint32_t slot) except -1:
        """Use a cell of the region."""
        region.check_service(slot)
        self.region = region
        self.region_header = region.header
        self.cell = region.service(slot)
        self.slot = slot
        self.seen = atomic_load_u64(&self.region_header.eligibility) - 1
        return 0

    cdef Server choose(self, Asker asker, Decision decision):
        """The server for a request, or None if none may take it. Bounded; O(1) unless something has changed.

        Does not change the request, and runs no middleware: `decision.gates` lists those to run.
        """
        return None

    cdef Server admit(self, Asker asker, Decision decision):
        """`choose` for the first request in the queue."""
        return None

    cdef int let_go(self, Server server) noexcept:
        """Give back what `choose` has taken for a request that is not sent to the server."""
        return 0

    cdef int refresh(self) except -1:
        """Derive all that depends on the state of servers. O(1) if nothing has changed, else O(members below)."""
        cdef uint64_t now
        if self.region_header == NULL:
            return 0
        now = atomic_load_u64(&self.region_header.eligibility)
        if now != self.seen:
            self.seen = now
            self.derive()
        return 0

    cdef bint has_moved(self) noexcept:
        """Whether any server of the region has gone up or down, or changed its weight, since the last `refresh`."""
        return self.region_header != NULL and self.seen != atomic_load_u64(&self.region_header.eligibility)

    cdef int derive(self) except -1:
        """Derive `up`, and what `choose` needs, from children and servers."""
        return 0

    cdef int settle(self, bint up) except -1:
        """Set the status; the first worker that changes it stores the time."""
        self.up = up
        if atomic_load_u32(&self.cell.down) == <uint32_t>up:
            if atomic_swap_if_u32(&self.cell.down, <uint32_t>up, <uint32_t>(not up)):
                atomic_store_u64(&self.cell.changed_ns, time.monotonic_ns())
        return 0

    @property
    def is_up(self) -> bool:
        """Whether a parent that watches its children would choose it."""
        self.refresh()
        return self.up

    @property
    def changed_ns(self) -> int:
        """Monotonic time at which it last went up or down; 0 = never."""
        return 0 if self.cell == NULL else atomic_load_u64(&self.cell.changed_ns)

    @property
    def children(self) -> list:
        """`(key, Service)` of each child; empty for a service that chooses among servers."""
        return []

    def trace(self, Request request) -> tuple:
        """The server for a request, or None, and `(service, index of its member)` of each level that was asked.

        The index is that in `members` or `children`, -1 where none may be picked.
        """
        cdef Decision decision = Decision()
        decision.path = []
        server = self.choose(asker_of(request), decision)
        if decision.slot_taken:
            (<Service>decision.balancer).let_go(server)
        return server, decision.path

    def pick(self, Request request=None, *, bint under_way=False):
        """`choose` for Python: the server for a request (None = an empty one), or None if none may be picked.

        under_way  whether the slot or trial that was taken is kept, as for a request that does not end.
        """
        cdef Decision decision = Decision()
        cdef Server server
        server = self.choose(asker_of(request), decision)
        if decision.slot_taken and not under_way:
            (<Service>decision.balancer).let_go(server)
        return server
