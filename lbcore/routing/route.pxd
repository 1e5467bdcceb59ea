# What a router leads to: its middlewares in order, and its service.

from libc.stdint cimport uint32_t

from lbcore.routing.service cimport Service


cdef class Route:
    cdef readonly str name             # of the router, `name@provider`
    cdef readonly tuple middlewares    # Middleware
    cdef readonly Service service
    cdef readonly uint32_t slot        # its counters'; NO_SLOT for a router of lbcore's own
    cdef bint logged                   # in the access log
    cdef bint counted                  # in metrics
    cdef bint internal                 # lbcore answers itself: no service is named
    cdef bint sees_answers             # some middleware wants the answer
