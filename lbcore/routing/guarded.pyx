"""A service with middlewares in front of it. No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Middleware
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service


@cython.final
cdef class Guarded(Service):
    """Runs its middlewares whenever it is chosen, then its service chooses. When that finds nobody, others get the request as
    it was before. Its status is that one's."""

    def __cinit__(self, str name, tuple middlewares, Service service):
        self.name = name
        self.middlewares = middlewares
        self.service = service
        self.cell = service.cell
        self.region_header = service.region_header
        self.region = service.region
        self.seen = service.seen - 1

    cdef int derive(self) except -1:
        self.service.refresh()
        self.up = self.service.up
        return 0

    cdef Server choose(self, Request request, Decision decision):
        cdef Middleware middleware
        decision.remember(request)
        for item in self.middlewares:
            middleware = <Middleware>item
            if middleware.on_request(request, decision.response):
                decision.answered = True
                return None
            if middleware.sees_answer:
                if decision.guards is None:
                    decision.guards = []
                decision.guards.append(middleware)
        return self.service.choose(request, decision)

    @property
    def children(self) -> list:
        """`(key, Service)` of each child of the service behind."""
        return self.service.children
