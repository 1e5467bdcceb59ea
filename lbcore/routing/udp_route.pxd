# Routers of UDP: from an entry point to a service.

from lbcore.routing.service cimport Service


cdef class UdpRoute:
    cdef readonly str name             # of the router, `name@provider`
    cdef readonly Service service
