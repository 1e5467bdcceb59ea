# Streams to servers, of new connections or of idle ones.

from lbcore.middleware.base cimport Pending
from lbcore.proxy.exchange cimport Dialer, Exchange, ServerStream
from lbcore.transport.dial cimport Dial
from lbcore.transport.reactor cimport Reactor, Timed


cdef class WaitDeadline(Timed):
    cdef Pending pending       # whose time it is; None once it fired or was cancelled


cdef class DialStream(ServerStream):
    cdef Dial dial             # None once it is over


cdef class ExchangeDial(Dial):
    cdef DialStream stream     # they refer to each other until the exchange has another stream, or none

    cdef void leave(self) noexcept


cdef class SocketDialer(Dialer):
    cdef Reactor reactor
    cdef object resolver
    cdef set copies            # MirrorStream under way
    cdef object loop
    cdef set queues            # WaitQueue that are not empty
    cdef object poll_handle    # the next look at them, None while all are empty

    cdef int dial(self, Exchange exchange) except -1
