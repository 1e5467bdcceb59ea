"""A service with middlewares in front of it. No I/O."""

cimport cython

from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service


@cython.final
cdef class Guarded(Service):
    """A gate: its service chooses, and its middlewares run after a server was found. Its status is that of its service."""

    def __cinit__(self, str name, tuple middlewares, Service service, tuple spans=None):
        self.name = name
        self.middlewares = middlewares
        self.service = service
        self.spans = spans
        self.cell = service.cell
        self.region_header = service.region_header
        self.region = service.region
        self.seen = service.seen - 1

    cdef int derive(self) except -1:
        self.service.refresh()
        self.up = self.service.up
        return 0

    cdef Server choose(self, Asker asker, Decision decision):
        decision.pass_gate(self)
        return self.service.choose(asker, decision)

    @property
    def children(self) -> list:
        """`(key, Service)` of each child of the service behind."""
        return self.service.children
