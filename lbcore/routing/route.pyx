"""Routes. Immutable: a request finishes by the route that it was given, whatever is loaded meanwhile."""

cimport cython
from libc.stdint cimport uint32_t

from lbcore.middleware.base cimport Middleware
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.service cimport Service


@cython.final
cdef class Route:
    """The payload of the route index."""

    def __cinit__(self, str name, tuple middlewares, Service service, uint32_t slot=0xFFFFFFFF, Route outer=None):
        cdef Middleware middleware
        self.router = name
        self.name = name if outer is None else f"{outer.name} -> {name}"
        self.root = name if outer is None else outer.root
        self.outer = outer
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

    def fork(self, RouteIndex children):
        """Have children take the requests that have passed the middlewares, before the first one."""
        self.children = children

    cdef str place_of(self, Py_ssize_t step):
        """The name of the router whose middleware a step is: its own, or that of a parent."""
        cdef Route route = self
        while route.outer is not None and step < len(route.outer.middlewares):
            route = route.outer
        return route.name

    def __repr__(self) -> str:
        return f"Route({self.name!r})"
