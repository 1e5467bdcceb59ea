# A service with middlewares in front of it.

from lbcore.routing.service cimport Service


cdef class Guarded(Service):
    cdef readonly tuple middlewares    # Middleware
    cdef readonly Service service
