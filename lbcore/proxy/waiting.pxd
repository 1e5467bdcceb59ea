# Exchanges that wait for a server, since all of them are full.

from lbcore.proxy.exchange cimport Exchange
from lbcore.routing.queue cimport Waiter


cdef class Waiting(Waiter):
    cdef Exchange exchange


cdef int line_up(Exchange exchange) except -1
cdef int step_out(Exchange exchange) except -1
