"""Routes. Immutable: a request finishes by the route that it was given, whatever is loaded meanwhile."""

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from lbcore.middleware.base cimport Middleware
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.service cimport Service
from lbcore.state.region cimport Region


@cython.final
cdef class Route:
    """The payload of the route index."""

    def __cinit__(self, str name, tuple middlewares, Service service, uint32_t slot=0xFFFFFFFF, Route outer=None):
        cdef Middleware middleware
        cdef Py_ssize_t i
        self.router = name
        self.name = name if outer is None else f"{outer.name} -> {name}"
        self.root = name if outer is None else outer.root
        self.outer = outer
        self.middlewares = middlewares
        self.service = service
        self.slot = slot
        self.logged = self.counted = True
        self.answering = <int*>calloc(len(middlewares) + 1, sizeof(int))
        if self.answering == NULL:
            raise MemoryError
        for i in range(<Py_ssize_t>len(middlewares)):
            middleware = middlewares[i]
            self.answering[i + 1] = <int>i + 1 if middleware.sees_answer else self.answering[i]

    def __dealloc__(self):
        free(self.answering)

    def observe(self, bint logged, bint counted, bint internal=False, bint traced=False, tuple spans=None):
        """Set whether its requests are logged, counted and traced, before the first one. Returns the route.

        spans  where traces are detailed: `(name, ((key, value), ...))` of the spans of the router, and of each of its own
               middlewares, or None for one that has no span. Those of the routers above have their own.
        """
        self.logged = logged
        self.counted = counted
        self.internal = internal
        self.traced = traced
        self.detailed = spans is not None
        self.spans = spans
        return self

    def fork(self, RouteIndex children):
        """Have children take the requests that have passed the middlewares, before the first one."""
        self.children = children

    def count_in(self, Region region, uint32_t worker):
        """Count its requests in the region, if the router has a slot, before the first one. Returns the route."""
        if self.slot < region.services:
            region.check_worker(worker)
            self.region = region
            self.stats = region.service_stats(worker, self.slot)
        return self

    cdef void note_start(self) noexcept:
        """A request is given to the router."""
        if self.stats != NULL:
            self.stats.requests += 1

    cdef void note_end(self, int status_class, int bucket) noexcept:
        """A request has ended, for the router and those above. `bucket`: of its duration."""
        cdef PyObject* route = <PyObject*>self
        while route != <PyObject*>None:
            if (<Route>route).stats != NULL:
                (<Route>route).stats.responses[status_class] += 1
                (<Route>route).stats.durations[bucket] += 1
            route = <PyObject*>(<Route>route).outer

    cdef void note_denied(self) noexcept:
        """A middleware has refused a request, of the router and of those above."""
        cdef Route route = self
        while route is not None:
            if route.stats != NULL:
                route.stats.denied += 1
            route = route.outer

    cdef str place_of(self, Py_ssize_t step):
        """The name of the router whose middleware a step is: its own, or that of a parent."""
        cdef Route route = self
        while route.outer is not None and step < len(route.outer.middlewares):
            route = route.outer
        return route.name

    def __repr__(self) -> str:
        return f"Route({self.name!r})"
