# Routes: the middlewares of a router in order, and its service.

from libc.stdint cimport uint32_t

from lbcore.routing.index cimport RouteIndex
from lbcore.routing.service cimport Service
from lbcore.state.layout cimport ServiceStats


cdef class Route:
    cdef readonly str name             # `name@provider`, behind those of the routers above: `parent@file -> child@file`
    cdef readonly str router           # the name of the router alone
    cdef readonly str root             # the name of the first router on the way
    cdef readonly tuple middlewares    # Middleware; those of the routers above come first
    cdef readonly Service service
    cdef readonly uint32_t slot        # of its counters; NO_SLOT for lbcore's own routers
    cdef readonly Route outer          # of its parent; None = it is a root
    cdef readonly RouteIndex children  # of the routers below; None = there are none, so that `service` is asked
    cdef bint logged                   # in the access log
    cdef bint counted                  # in metrics
    cdef bint traced
    cdef bint detailed                 # its traces have spans of routers, middlewares and services
    cdef readonly tuple spans          # where `detailed`: name and attributes of the spans of its own, of the router and its own middlewares
    cdef tuple span_texts              # likewise, encoded; None until the first trace
    cdef bint internal                 # lbcore itself answers, so that no service is named
    cdef int* answering                # by number of middlewares: how many they are without the last ones that do not want the answer; owned
    cdef ServiceStats* stats           # this worker's counters of the router; NULL = it has none
    cdef object region                 # keeps `stats` mapped

    cdef void note_start(self) noexcept
    cdef void note_end(self, int status_class, int bucket) noexcept
    cdef void note_denied(self) noexcept
    cdef str place_of(self, Py_ssize_t step)
