# What a router leads to: its middlewares in order, and its service.

from lbcore.routing.service cimport Service


cdef class Route:
    cdef readonly str name             # of the router, `name@provider`
    cdef readonly tuple middlewares    # Middleware
    cdef readonly Service service
    cdef bint sees_answers             # some middleware wants the answer
