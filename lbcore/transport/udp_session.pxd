# The sessions between clients and servers of UDP.

from libc.stdint cimport int64_t, uint64_t

from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.server cimport Server
from lbcore.transport.datagrams cimport DatagramBatch
from lbcore.transport.reactor cimport Channel
from lbcore.transport.session_table cimport SessionNode
from lbcore.transport.udp_socket cimport UdpSocket

cdef enum:
    NAME_WORDS = 4             # of 8 bytes: NAME_BYTES of datagrams
    CONTROL_WORDS = 8          # likewise, CONTROL_BYTES


cdef class UdpSession(Channel):
    cdef SessionNode node
    cdef UdpSocket endpoint            # None after its end
    cdef uint64_t serial               # from `connection.next_session`
    cdef int64_t opened_ms             # by the reactor's clock
    cdef uint64_t bytes_in             # from the client, as far as they were sent to a server
    cdef uint64_t bytes_out            # to the client
    cdef Server server                 # None while none is chosen
    cdef LoadBalancer balancer         # of `server`
    cdef tuple addresses               # of `server`, packed; None while its name is being resolved
    cdef Py_ssize_t tried              # number of these that were tried
    cdef int attempts                  # servers tried since the last answer
    cdef list failed                   # of these, the ones that could not be reached; None = none
    cdef list kept                     # bytes of datagrams that were not answered, for another server; None = none
    cdef Py_ssize_t kept_bytes
    cdef int64_t kept_ms               # time since which they are kept, or were sent again
    cdef bint overflowed               # since then, there was no room for another one
    cdef bint keeps                    # unanswered datagrams are kept, because there is another way to go
    cdef bint answered                 # by the present server
    cdef bint proved                   # the client was seen to receive
    cdef bint stale                    # the server is not in the configuration in force
    cdef bint connecting               # `connect` waits for what the resolver knows
    cdef bint lacking                  # the name was not resolved because this process lacks a resource
    cdef uint64_t received_bytes       # from the present socket
    cdef unsigned int name_size        # of `name`
    cdef size_t control_size           # of `control`; 0 = none
    cdef uint64_t name[NAME_WORDS]     # the client's address, in the kernel's form
    cdef uint64_t control[CONTROL_WORDS]   # the address from which answers are sent, likewise

    cdef bint choose(self) except *
    cdef bint reach(self) except *
    cdef int connect(self) except -1
    cdef int open_next(self) except -1
    cdef int forward(self, DatagramBatch batch, Py_ssize_t first, Py_ssize_t count) except -1
    cdef int keep(self, const char* data, Py_ssize_t length) except -1
    cdef int resend(self) except -1
    cdef bint move(self) except *
    cdef bint pass_over(self, bint refused) except *
    cdef int go_on(self, int error) except -1
    cdef int note_answer(self) except -1
    cdef int forget_kept(self) noexcept
    cdef int server_failed(self, int error) except -1
    cdef int release_server(self) noexcept
    cdef int close_socket(self) noexcept
    cdef uint64_t unanswered(self) noexcept
    cdef int lose(self, int loss, uint64_t count) noexcept
    cdef int end(self) except -1
