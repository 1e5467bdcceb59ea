# Tunnels: bytes both ways between two sockets, unchanged.

from lbcore.transport.socket cimport Socket
from lbcore.transport.splice cimport Pipe


cdef struct Direction:
    Pipe* pipe                 # owned; holds spliced bytes; NULL while there are none
    bint bulk                  # the source has filled a buffer at once, so from then on its bytes are spliced
    bint ended                 # the source has ended, and the sending side of the sink was shut; or the sink takes nothing more
    int follows                # on what was received last: BYTES as far as is known, END or BREAK


cdef class Tunnel:
    cdef Socket client
    cdef Socket server
    cdef Direction up          # client to server
    cdef Direction down

    cdef bint pump(self) except *
    cdef bint pump_one_way(self, Socket source, Socket sink, Direction* direction) except *
    cdef bint give_up(self, Socket source, Socket sink, Direction* direction) noexcept
    cdef bint end(self, Socket source, Socket sink, Direction* direction) noexcept
    cdef int splice(self, Socket source, Socket sink, Direction* direction) noexcept
