"""Output that gathers in a reactor, as tests see it."""

from lbcore.transport.reactor cimport Flushable, Reactor


cdef class Output(Flushable):
    """Pieces that are sent together: `sent` has how many, for each time."""

    cdef Reactor reactor
    cdef readonly list sent
    cdef int pieces

    def __init__(self, Reactor reactor, bint gathers):
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


def be(Reactor reactor, bint loaded, Py_ssize_t streams) -> None:
    """Be under load or not, with so many open streams."""
    reactor.loaded = loaded
    reactor.streams = streams


def hurry(Reactor reactor) -> None:
    reactor.hurry()


def streams_of(Reactor reactor) -> int:
    return reactor.streams
