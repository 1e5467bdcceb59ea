"""`failover`: a main service, and a fallback for when it is down or its answers are dropped. No I/O."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport Child
from lbcore.routing.decision cimport Decision, FailoverStep, Savepoint
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.selection.atomic cimport atomic_load_u64
from lbcore.state.region cimport Region

cdef enum:
    MOST_LOOKS = 8             # most attempts of one request to choose by new state, because it changed meanwhile

cdef bytes BOTH_DOWN = b"Service Unavailable\n"


@cython.final
cdef class Failover(Service):
    """Chooses the main service while it is up and finds a server that can be reached, else the fallback while that is up.

    statuses  ranges `(first, last)` of answers of the main service that are dropped, after which the fallback gets the request.
    max_body  longest body of a request for that; longer ones are refused. -1 = any.
    """

    def __cinit__(self, str name, Child main, Child fallback, Region region, uint32_t slot, bint watches=False,
                  statuses=(), max_body=-1):
        cdef int status
        self.name = name
        self.main = main
        self.fallback = fallback
        self.watches = watches
        self.max_body = max_body
        for first, last in statuses:
            self.by_status = True
            for status in range(first, last + 1):
                self.bad[status] = 1
        self.keep_state(region, slot)

    cdef int derive(self) except -1:
        self.main.service.refresh()
        self.fallback.service.refresh()
        return self.settle(not self.watches or self.main.service.up or self.fallback.service.up)

    cdef Server choose(self, Asker asker, Decision decision):
        cdef int looks = MOST_LOOKS
        cdef Savepoint before = decision.savepoint()
        cdef Server server
        while True:
            if self.seen != atomic_load_u64(&self.region_header.eligibility):
                self.refresh()
            server = self.choose_one(asker, decision)
            if server is not None or decision.queue is not None or looks == 0 or not self.has_moved():
                return server
            # A service has gone down or up meanwhile: look again at the present state.
            looks -= 1
            decision.go_back(before)

    cdef Server choose_one(self, Asker asker, Decision decision):
        """A server of the main service, else of the fallback, by the state of the last `refresh`."""
        cdef Server server
        cdef Savepoint before
        if self.main.service.up and (decision.fallen is None or self not in decision.fallen):
            before = decision.savepoint()
            if self.by_status:
                decision.may_fail_over(self)
            server = self.ask(self.main, 0, asker, decision)
            if server is not None or decision.queue is not None:
                return server
            if not self.fallback.service.up:
                return None
            decision.go_back(before)
        elif not self.fallback.service.up:
            decision.refusal = BOTH_DOWN
            if decision.path is not None:
                decision.path.append((self, -1))
            return None
        if decision.failed is not None:
            decision.use_fallback(self)
        return self.ask(self.fallback, 1, asker, decision)

    cdef Server ask(self, Child child, Py_ssize_t index, Asker asker, Decision decision):
        child.stats.requests += 1
        if decision.path is not None:
            decision.path.append((self, index))
        return child.service.choose(asker, decision)

    @property
    def children(self) -> list:
        """`(key, Service)` of each child."""
        return [(self.main.key, self.main.service), (self.fallback.key, self.fallback.service)]

    @property
    def is_watching(self) -> bool:
        """Whether its status follows that of its children."""
        return self.watches


cdef FailoverStep step_to_leave(FailoverStep step, int status):
    """The innermost Failover, from `step` outwards, that drops an answer of this status and asks its fallback; or None."""
    if 200 <= status < 600:
        while step is not None:
            if (<Failover>step.service).bad[status]:
                return step
            step = step.outer
    return None


cdef int64_t most_repeatable(FailoverStep step) noexcept:
    """The longest body that every Failover on the way can send again; -1 = any."""
    cdef int64_t most = -1, limit
    while step is not None:
        limit = (<Failover>step.service).max_body
        if limit >= 0 and (most < 0 or limit < most):
            most = limit
        step = step.outer
    return most
