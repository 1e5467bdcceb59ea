"""A service with middlewares in front of it. No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Middleware
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service


@cython.final
cdef class Guarded(Service):
    """Runs its middlewares when it is chosen; then its service chooses, and does so again when a server cannot be reached:
    the request is no longer what a service beside it should see. Its status is that one's."""

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
        cdef Request before = Request.__new__(Request)
        before.refer_to(request)
        for item in self.middlewares:
            middleware = <Middleware>item
            if middleware.on_request(request, decision.response):
                decision.answered = True
                return None
            if middleware.sees_answer:
                if decision.guards is None:
                    decision.guards = []
                decision.guards.append(middleware)
        decision.enter(self.service, before)
        return self.service.choose(request, decision)

    @property
    def children(self) -> list:
        """`(key, Service)` of each child of the service behind."""
        return self.service.children
