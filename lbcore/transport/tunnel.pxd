# Bytes both ways between two sockets, as they are.

from lbcore.transport.socket cimport Socket
from lbcore.transport.splice cimport Pipe


cdef struct Direction:
    Pipe* pipe                 # NULL while nothing waits in it; given back with the tunnel
    bint bulk                  # it has filled a buffer: from then on bytes are moved inside the kernel
    bint ended                 # the source has ended, and the sink was told


cdef class Tunnel:
    cdef Socket client
    cdef Socket server
    cdef Direction up          # client to server
    cdef Direction down

    cdef bint pump(self) except *
    cdef bint pump_one_way(self, Socket source, Socket sink, Direction* direction) except *
    cdef bint end(self, Socket source, Socket sink, Direction* direction) noexcept
    cdef int splice(self, Socket source, Socket sink, Direction* direction) noexcept
