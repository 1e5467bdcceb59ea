"""Routes. Immutable: a request finishes by the route that it was given, whatever is loaded meanwhile."""

cimport cython
from libc.stdint cimport uint32_t

from lbcore.middleware.base cimport Middleware
from lbcore.routing.service cimport Service


@cython.final
cdef class Route:
    """The payload of the route index."""

    def __cinit__(self, str name, tuple middlewares, Service service, uint32_t slot=0xFFFFFFFF):
        cdef Middleware middleware
        self.name = name
        self.middlewares = middlewares
        self.service = service
        self.slot = slot
        self.logged = self.counted = True
        for middleware in middlewares:
            self.sees_answers = self.sees_answers or middleware.sees_answer

    def observe(self, bint logged, bint counted, bint internal=False):
        """Set whether its requests are logged and counted, before the first one. Returns the route."""
        self.logged = logged
        self.counted = counted
        self.internal = internal
        return self

    def __repr__(self) -> str:
        return f"Route({self.name!r})"
