"""What UDP sessions share: the memory of a worker for datagrams, the answers that wait to be sent, the socket of clients."""

cimport cython
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from lbcore.state.layout cimport CLIENT_TO_SERVER, LOST_OVERFLOWED, LOST_UNSENT, SERVER_TO_CLIENT
from lbcore.transport.datagrams cimport DatagramBatch, read_overflow
from lbcore.transport.inet cimport MSG_DONTWAIT, MSG_NOSIGNAL, mmsghdr, sendmmsg
from lbcore.transport.reactor cimport Channel, Flushable, Reactor
from lbcore.transport.session_table cimport SessionNode, sessions_free

cdef enum:
    OUTGOING = 64              # datagrams of servers that one system call sends


@cython.final
cdef class UdpWorker:
    """Made when the first UDP socket of a worker opens."""

    def __cinit__(self, Reactor reactor, resolver, Reserve reserve):
        cdef Py_ssize_t i
        self.reactor = reactor
        self.resolver = resolver
        self.reserve = reserve
        self.incoming = DatagramBatch(INCOMING)
        self.dirty = INCOMING
        self.answers = AnswerBatch()
        self.forwards = <mmsghdr*>calloc(INCOMING, sizeof(mmsghdr))
        if self.forwards == NULL:
            raise MemoryError
        for i in range(INCOMING):
            self.forwards[i].msg_hdr.msg_iov = &self.incoming.vectors[i]
            self.forwards[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.forwards)


@cython.final
cdef class AnswerBatch(Flushable):
    """Answers of many sessions leave with one system call, after the batch of events in which they came."""

    def __cinit__(self):
        self.batch = DatagramBatch(OUTGOING)

    cdef int take(self, UdpSocket endpoint) except -1:
        """Make room for the answers to clients of an endpoint; those of another one are sent first."""
        if self.used and (self.endpoint is not endpoint or self.used == self.batch.size):
            self.flush()
        self.endpoint = endpoint
        return 0

    cdef int on_batch_end(self) except -1:
        return self.flush()

    cdef int flush(self) except -1:
        """Send all. What cannot be sent is lost, and counted."""
        cdef UdpSocket endpoint = self.endpoint
        cdef mmsghdr* messages = self.batch.messages
        cdef Py_ssize_t at = 0, i
        cdef int sent
        while at < self.used:
            sent = sendmmsg(endpoint.out, messages + at, <unsigned int>(self.used - at), MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent > 0:
                endpoint.stats.datagrams_out += sent
                for i in range(at, at + sent):
                    endpoint.stats.bytes_out += messages[i].msg_len
                at += sent
            elif errno != EINTR:
                endpoint.stats.datagrams_lost[<int>SERVER_TO_CLIENT][<int>LOST_UNSENT] += 1
                at += 1
        self.used = 0
        self.endpoint = None
        return 0


cdef class UdpSocket(Channel):
    """The socket of clients as their sessions know it. UdpEndpoint, which derives from it, makes the sessions."""

    def __dealloc__(self):
        sessions_free(&self.table)

    cdef bint shed(self, SessionNode* besides) except *:
        """End the session that is the least needed, to make room for another one. Returns False if there is none."""
        raise NotImplementedError

    cdef int note_end(self) except -1:
        """A session has ended."""
        self.stats.open_connections -= 1
        self.worker.reserve.sessions -= 1
        if self.draining and self.table.count == 0:
            self.shut()
        return 0

    cdef int shut(self) except -1:
        if self.sock is None:
            return 0
        if self.worker.answers.endpoint is self:
            self.worker.answers.flush()
        self.count_overflow()
        self.reactor.detach(self)
        self.reactor.disarm(self)
        self.sock.close()
        self.sock = None
        self.worker.endpoints -= 1
        return 0

    cdef int count_overflow(self) noexcept:
        """Count what the kernel has dropped since the last look. Returns whether it has dropped anything."""
        cdef uint32_t dropped, more
        if read_overflow(self.out, &dropped) < 0:
            return 0
        more = dropped - self.dropped
        self.dropped = dropped
        self.stats.datagrams_in += more
        self.stats.datagrams_lost[<int>CLIENT_TO_SERVER][<int>LOST_OVERFLOWED] += more
        return more != 0
