"""How a service chooses the server of a request. No I/O."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.http.request cimport Request
from lbcore.routing.server cimport Server, is_eligible
from lbcore.selection.cycle cimport CYCLE_LIMIT, cycle_build, cycle_free
from lbcore.state.atomic cimport atomic_add_u64, atomic_load_u32, atomic_load_u64
from lbcore.state.region cimport Region

MAX_WEIGHT = 1 << 30
MAX_SERVERS = CYCLE_LIMIT // 2


cdef class Service:
    """Anything a router, or another service, can send a request to."""

    cdef Server choose(self, Request request, Decision* decision):
        """The server for a request, or None when nobody may take it. Bounded; O(1) unless something changed."""
        return None


@cython.final
cdef class UpstreamPolicy:
    """Timeouts and limits of connections to servers."""

    def __init__(self, dial_timeout_ms=30000, response_header_timeout_ms=0, idle_timeout_ms=90000, max_idle=200):
        self.dial_timeout_ms = dial_timeout_ms
        self.response_header_timeout_ms = response_header_timeout_ms
        self.idle_timeout_ms = idle_timeout_ms
        self.max_idle = max_idle


@cython.final
cdef class LoadBalancer(Service):
    """Weighted round robin over servers, in Tijdeman's order (see `selection.cycle`).

    The position is shared by all workers: whichever worker takes the next request takes the next step of the order. A
    server that goes up or down, or changes its weight, makes a new order; nobody is skipped, which would favour the
    neighbour. One of weight 0 takes no request. Weights that add up to more than CYCLE_LIMIT are scaled down to it.
    """

    def __cinit__(self, str name, list servers, list weights, Region region, uint32_t slot, bint pass_host=True,
                  UpstreamPolicy policy=None):
        cdef Py_ssize_t i
        self.name = name
        self.servers = servers
        self.count = len(servers)
        self.pass_host = pass_host
        self.policy = policy if policy is not None else UpstreamPolicy()
        region.check_service(slot)
        self.region = region
        self.region_header = region.header
        self.cell = region.service(slot)
        if self.count > MAX_SERVERS:
            raise ValueError(f"{self.count} servers in one service: {MAX_SERVERS} at most")
        self.weights = <uint32_t*>calloc(4 * self.count + 1, sizeof(uint32_t))
        if self.weights == NULL:
            raise MemoryError
        self.current = self.weights + self.count
        self.scratch = self.current + self.count
        for i in range(self.count):
            self.weights[i] = min(max(weights[i], 0), MAX_WEIGHT)
        self.eligibility = atomic_load_u64(&self.region_header.eligibility) - 1

    def __dealloc__(self):
        cycle_free(&self.cycle)
        free(self.weights)

    cdef int rebuild(self) except -1:
        """Make a new order if the servers that may be picked, or their weights, have changed. O(servers) if not."""
        cdef Py_ssize_t i
        cdef Server server
        cdef uint32_t weight
        cdef bint same = True
        self.eligibility = atomic_load_u64(&self.region_header.eligibility)
        for i in range(self.count):
            server = <Server>self.servers[i]
            weight = self.weights[i]
            if atomic_load_u32(&server.cell.weight_set):
                weight = atomic_load_u32(&server.cell.weight)
            if not is_eligible(server, weight):
                weight = 0
            if weight != self.current[i]:
                same = False
                self.current[i] = weight
            self.scratch[i] = i
        if not same:
            for i in range(self.count):
                self.scratch[self.count + i] = self.current[i]
            scale_down(self.scratch + self.count, self.count)
            cycle_build(&self.cycle, self.scratch, self.scratch + self.count, self.count)
        return 0

    cdef Server choose(self, Request request, Decision* decision):
        cdef Py_ssize_t index
        if self.eligibility != atomic_load_u64(&self.region_header.eligibility):
            self.rebuild()
        if self.cycle.period == 0:
            return None
        index = self.cycle.order[atomic_add_u64(&self.cell.sequence, 1) % <uint64_t>self.cycle.period]
        decision.balancer = <void*>self
        return <Server>self.servers[index]

    def pick(self):
        """The next server, or None when none may be picked: `choose` for Python."""
        cdef Decision decision
        return self.choose(None, &decision)


@cython.final
cdef class Weighted(Service):
    """Weighted round robin over services, in the same order as over servers, its position shared by all workers."""

    def __cinit__(self, str name, list services, list weights, Region region, uint32_t slot):
        cdef Py_ssize_t i, count = len(services)
        cdef uint32_t* values = <uint32_t*>calloc(2 * count + 1, sizeof(uint32_t))
        if values == NULL:
            raise MemoryError
        self.name = name
        self.services = services
        region.check_service(slot)
        self.region = region
        self.cell = region.service(slot)
        try:
            for i in range(count):
                values[i] = i
                values[count + i] = min(max(weights[i], 0), MAX_WEIGHT)
            scale_down(values + count, count)
            cycle_build(&self.cycle, values, values + count, count)
        finally:
            free(values)

    def __dealloc__(self):
        cycle_free(&self.cycle)

    cdef Server choose(self, Request request, Decision* decision):
        cdef Py_ssize_t index
        if self.cycle.period == 0:
            return None
        index = self.cycle.order[atomic_add_u64(&self.cell.sequence, 1) % <uint64_t>self.cycle.period]
        return (<Service>self.services[index]).choose(request, decision)

    def pick(self):
        """The next server, or None when none may be picked: `choose` for Python."""
        cdef Decision decision
        return self.choose(None, &decision)


cdef void scale_down(uint32_t* weights, Py_ssize_t count) noexcept:
    """Make the sum fit a cycle, to the nearest: beyond CYCLE_LIMIT picks the shares are off by less than one in it."""
    cdef uint64_t total = 0, weight
    cdef Py_ssize_t i
    for i in range(count):
        total += weights[i]
    if total <= CYCLE_LIMIT:
        return
    for i in range(count):
        weight = weights[i]
        if weight:
            weights[i] = max(1, <uint32_t>(weight * (CYCLE_LIMIT - count) // total))
