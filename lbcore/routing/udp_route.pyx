"""Routers of UDP. No I/O. Immutable."""

cimport cython

from lbcore.routing.service cimport Service


@cython.final
cdef class UdpRoute:
    """The router that takes all datagrams of an entry point, and its service."""

    def __init__(self, str name, Service service):
        self.name = name
        self.service = service
