"""Output that gathers in a reactor, as tests see it."""

from lbcore.transport.flow cimport FlowSession
from lbcore.transport.http2_server cimport Http2ServerSession
from lbcore.transport.quic cimport QuicSession
from lbcore.transport.reactor cimport Flushable, Reactor


cdef class Output(Flushable):
    """Pieces that are sent together: `sent` has how many, for each time."""

    cdef Reactor reactor
    cdef readonly list sent
    cdef int pieces

    def __init__(self, Reactor reactor, int gathers):
        self.reactor = reactor
        self.gathers = gathers
        self.sent = []

    cdef int on_batch_end(self) except -1:
        self.sent.append(self.pieces)
        self.pieces = 0
        return 0

    def add(self) -> None:
        """One more piece."""
        self.pieces += 1
        self.reactor.touch(self)


def be(Reactor reactor, bint loaded, Py_ssize_t streams, Py_ssize_t sessions=1) -> None:
    """Be under load or not, with so many open streams of clients in so many sessions."""
    reactor.loaded = loaded
    reactor.pauses.streams[0] = streams
    reactor.pauses.sessions = sessions


def hurry(Reactor reactor) -> None:
    reactor.hurry()


def streams_of(Reactor reactor) -> tuple[int, int, int]:
    """The open streams of clients, those of servers, and the sessions that have any."""
    return reactor.pauses.streams[0], reactor.pauses.streams[1], reactor.pauses.sessions


def kinds() -> tuple[int, int, int]:
    """How sessions gather: in general, to servers of HTTP/2, of QUIC."""
    return (<FlowSession>FlowSession()).gathers, (<FlowSession>Http2ServerSession()).gathers, (<FlowSession>QuicSession()).gathers
