# What UDP sessions share.

from libc.stdint cimport uint32_t

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.udp_route cimport UdpRoute
from lbcore.state.layout cimport EntryPointStats
from lbcore.transport.datagrams cimport DatagramBatch
from lbcore.transport.inet cimport mmsghdr
from lbcore.transport.reactor cimport Channel, Flushable, Reactor
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.session_table cimport SessionNode, SessionTable

cdef enum:
    INCOMING = 32              # datagrams of clients that one system call takes


cdef class AnswerBatch(Flushable)
cdef class UdpSocket(Channel)


cdef class UdpWorker:                  # the part of a worker that all its UDP sockets share
    cdef Reactor reactor
    cdef object resolver
    cdef Reserve reserve
    cdef DatagramBatch incoming        # datagrams of clients, while they are passed on
    cdef mmsghdr* forwards             # owned: messages over the same bytes, without the clients' addresses
    cdef Py_ssize_t dirty              # slots of `incoming` that the kernel has changed
    cdef AnswerBatch answers
    cdef Py_ssize_t endpoints          # open UdpEndpoints


cdef class AnswerBatch(Flushable):     # datagrams of servers that wait to be sent to clients
    cdef DatagramBatch batch
    cdef Py_ssize_t used               # slots
    cdef UdpSocket endpoint            # of the clients; None = no slot is used

    cdef int take(self, UdpSocket endpoint) except -1
    cdef int flush(self) except -1


cdef class UdpSocket(Channel):
    cdef readonly EntryPoint entry_point
    cdef UdpWorker worker
    cdef UdpRoute route                # None = no router leads from here
    cdef EntryPointStats* stats        # of the entry point, which keeps them mapped
    cdef object sock                   # owned; None once closed
    cdef int out                       # its descriptor; valid as long as `sock` is set
    cdef SessionTable table            # the owner of a reference to each of its sessions
    cdef uint32_t dropped              # datagrams that the kernel has dropped on this socket so far
    cdef bint draining                 # no session begins any more, and the socket closes with the last one

    cdef bint shed(self, SessionNode* besides) except *
    cdef int note_end(self) except -1
    cdef int count_overflow(self) noexcept
    cdef int shut(self) except -1
