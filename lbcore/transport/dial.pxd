# The establishment of a connection to a server: resolve its name, connect to one of its addresses, do the TLS handshake.

from libc.stdint cimport int64_t, uint32_t

from lbcore.routing.server cimport Server
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport OwnedSocket, SocketOwner

cdef enum DialStep:
    DIAL_RESOLVING = 0
    DIAL_CONNECTING
    DIAL_QUESTION
    DIAL_HANDSHAKE
    DIAL_OVER                          # the socket was handed over, or is closed


cdef class Dial(SocketOwner):
    cdef Server server
    cdef Reactor reactor
    cdef object resolver
    cdef OwnedSocket socket            # owned until it is handed over
    cdef tuple addresses               # of the server, packed; None while its name is being resolved
    cdef Py_ssize_t tried              # addresses tried so far
    cdef int64_t until_ms              # the deadline of name and connect, by the reactor's clock; 0 = no deadline
    cdef int step                      # DialStep
    cdef bint refused                  # the server has ended the connection properly, before it took a request
    cdef bytes header                  # sent to the server before anything else, unencrypted; None = there is none
    cdef bytes question                # sent next; the server has to answer with `consent`, one byte; None = there is none
    cdef bytes consent
    cdef bytes protocols               # offered by ALPN, as on the wire; None = no ALPN

    cdef int established(self, OwnedSocket socket) except -1
    cdef int failed(self, int error) except -1
    cdef int offered(self, SocketOwner connection) except -1
    cdef int dial(self, Reactor reactor, object resolver, int64_t timeout_ms) except -1
    cdef int abort(self) noexcept
    cdef int connect(self, tuple addresses) except -1
    cdef int connect_next_address(self) except -1
    cdef int give_up_address(self, int error) except -1
    cdef int connected(self) except -1
    cdef int read_consent(self) except -1
    cdef int encrypt(self) except -1
    cdef int shake_hands(self) except -1
    cdef int hand_over(self) except -1
    cdef int fail(self, int error) except -1
