"""How a service chooses the server of a request. No I/O."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.http.request cimport Request
from lbcore.routing.server cimport Server, is_eligible
from lbcore.selection.cycle cimport cycle_build, cycle_free
from lbcore.state.atomic cimport atomic_add_u64, atomic_load_u32, atomic_load_u64
from lbcore.state.region cimport Region

MAX_WEIGHT = 1 << 30


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
    neighbour. Weights are positive integers; one of 0 takes no request.
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
        self.weights = <uint32_t*>calloc(3 * self.count + 1, sizeof(uint32_t))
        self.lag = <double*>calloc(self.count + 1, sizeof(double))
        if self.weights == NULL or self.lag == NULL:
            raise MemoryError
        self.current = self.weights + self.count
        self.scratch = self.current + self.count
        for i in range(self.count):
            self.weights[i] = min(max(weights[i], 0), MAX_WEIGHT)
        self.eligibility = atomic_load_u64(&self.region_header.eligibility) - 1

    def __dealloc__(self):
        cycle_free(&self.cycle)
        free(self.weights)
        free(self.lag)

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
        if not same and cycle_build(&self.cycle, self.scratch, self.current, self.count):
            cycle_free(&self.cycle)
            for i in range(self.count):
                self.lag[i] = 0
        return 0

    cdef Py_ssize_t choose_online(self) noexcept:
        """One step of smooth weighted round robin, for an order too long to keep. O(servers), this worker's own position.

        Whoever lags most behind the share that is due goes next (the method of nginx).
        """
        cdef Py_ssize_t i, best = -1
        cdef double total = 0
        for i in range(self.count):
            if self.current[i] == 0:
                continue
            self.lag[i] += self.current[i]
            total += self.current[i]
            if best < 0 or self.lag[i] > self.lag[best]:
                best = i
        if best >= 0:
            self.lag[best] -= total
        return best

    cdef Server choose(self, Request request, Decision* decision):
        cdef Py_ssize_t index
        if self.eligibility != atomic_load_u64(&self.region_header.eligibility):
            self.rebuild()
        if self.cycle.period:
            index = self.cycle.order[atomic_add_u64(&self.cell.sequence, 1) % <uint64_t>self.cycle.period]
        else:
            index = self.choose_online()
            if index < 0:
                return None
        decision.balancer = <void*>self
        return <Server>self.servers[index]

    def pick(self):
        """The next server, or None when none may be picked: `choose` for Python."""
        cdef Decision decision
        return self.choose(None, &decision)
