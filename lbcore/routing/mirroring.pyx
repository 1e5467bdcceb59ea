"""`mirroring`: a main service, and mirrors that get copies of some of its requests. No I/O."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from lbcore.routing.asker cimport Asker
from lbcore.http.span cimport span_bytes
from lbcore.routing.balancer cimport Child
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.state.region cimport Region


@cython.final
cdef class MirrorPolicy:
    """The options of all copies of a mirroring service."""

    def __init__(self, with_body=True, max_body=-1, timeout_ms=30000, max_concurrent=256, max_buffered=64 << 20,
                 headers=(), methods=()):
        self.with_body = with_body
        self.max_body = max_body
        self.timeout_ms = timeout_ms
        self.max_concurrent = max_concurrent
        self.max_buffered = max_buffered
        self.headers = [(name.encode(), name.lower().encode(), value.encode()) for name, value in headers]
        self.methods = frozenset(method.upper().encode() for method in methods)


@cython.final
cdef class Mirror:
    """A service that gets copies of `percent` % of the requests."""

    def __init__(self, Child child, percent: int, MirrorPolicy policy):
        self.child = child
        self.percent = percent
        self.policy = policy

    cdef bint has_room(self, Py_ssize_t length) noexcept:
        """Whether there is room for one more copy, with a body of this length."""
        return self.under_way < self.policy.max_concurrent and length <= self.policy.max_buffered - self.buffered


cdef inline bint is_due(uint64_t number, uint32_t percent) noexcept nogil:
    """Whether request `number`, counted from 1, is mirrored.

    Of n requests ceil(n * percent / 100) are, as in Traefik: at 10 % the 1st, 11th, 21st. It follows from the number alone, so that
    it holds for all workers together.
    """
    return (number * percent + 99) // 100 > ((number - 1) * percent + 99) // 100


@cython.final
cdef class Mirroring(Service):
    """The main service chooses; the number of the request decides which mirrors get a copy."""

    def __cinit__(self, str name, Child main, list mirrors, MirrorPolicy policy, Region region, uint32_t slot):
        self.name = name
        self.main = main
        self.mirrors = mirrors
        self.policy = policy
        self.keep_state(region, slot)

    cdef int derive(self) except -1:
        self.main.service.refresh()
        return self.settle(self.main.service.up)

    cdef Server choose(self, Asker asker, Decision decision):
        if self.seen != atomic_load_u64(&self.region_header.eligibility):
            self.refresh()
        if self.mirrors and asker.request is not None and (
                not self.policy.methods or span_bytes(asker.request.head.method) in self.policy.methods):
            for mirror in self.draw(decision):
                decision.mirror(mirror)
        self.main.stats.requests += 1
        if decision.path is not None:
            decision.path.append((self, 0))
        return self.main.service.choose(asker, decision)

    cdef list draw(self, Decision decision):
        """The mirrors that are due, by the number of the request. Further tries of the same request keep its number."""
        cdef uint64_t number
        cdef list due
        if decision.drawn is None:
            decision.drawn = []
        for service, due in decision.drawn:
            if service is self:
                return due
        number = atomic_add_u64(&self.cell.mirrored, 1) + 1
        due = [mirror for mirror in self.mirrors if is_due(number, (<Mirror>mirror).percent)]
        decision.drawn.append((self, due))
        return due

    @property
    def children(self) -> list:
        """`(key, Service)` of each child, the main one first."""
        return [(self.main.key, self.main.service), *((m.child.key, m.child.service) for m in self.mirrors)]


def due(number: int, percent: int) -> bool:
    """`is_due` for Python."""
    return is_due(number, percent)
