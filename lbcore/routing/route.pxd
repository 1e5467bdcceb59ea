# Routes: the middlewares of a router in order, and its service.

from libc.stdint cimport uint32_t

from lbcore.routing.service cimport Service


cdef class Route:
    cdef readonly str name             # of the router, `name@provider`
    cdef readonly tuple middlewares    # Middleware
    cdef readonly Service service
    cdef readonly uint32_t slot        # of its counters; NO_SLOT for lbcore's own routers
    cdef bint logged                   # in the access log
    cdef bint counted                  # in metrics
    cdef bint internal                 # lbcore itself answers, so that no service is named
    cdef bint sees_answers             # some middleware wants the answer
