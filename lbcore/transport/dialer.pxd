# Streams to servers, over new connections or idle ones.

from lbcore.middleware.base cimport Pending
from lbcore.proxy.exchange cimport Dialer, Exchange, ServerStream
from lbcore.transport.dial cimport Dial
from lbcore.transport.reactor cimport Reactor, Timed
from lbcore.transport.server_connection cimport ServerConnection


cdef class WaitDeadline(Timed):
    cdef Pending pending       # the wait that it ends; None after it fired or was stopped
    cdef WaitDeadline next_kept        # the next one of the dialer's freelist


cdef class DialStream(ServerStream):
    cdef ExchangeDial dial     # None after its end
    cdef bint refused          # as in Dial


cdef class ExchangeDial(Dial):
    cdef SocketDialer dialer
    cdef ServerConnection connection   # that is established, and can open no stream so far; None: there is none
    cdef list waiting          # DialStreams, which refer back; both references end when the exchange gets its stream, or none

    cdef int join(self, DialStream stream) except -1
    cdef int leave(self, DialStream stream) except -1
    cdef list end(self)


cdef class SocketDialer(Dialer):
    cdef Reactor reactor
    cdef object resolver
    cdef set copies            # MirrorStream under way
    cdef object loop
    cdef set queues            # WaitQueue that are not empty
    cdef WaitDeadline kept     # the first one of the freelist, linked by `next_kept`
    cdef int kept_count
    cdef object poll_handle    # the timer of the next `poll`; None while all queues are empty

    cdef int dial(self, Exchange exchange) except -1
