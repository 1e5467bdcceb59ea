"""A copy of a request for a mirror: an exchange without a client to answer.

The client does not wait for a copy: it begins when the request is complete, uses connections of its own, and its answer is read and
dropped. At its deadline a copy is cut.
"""

import logging

cimport cython

from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.whole cimport exchange_give
from lbcore.state.layout cimport ERROR_TIMEOUT
from lbcore.transport.local_stream cimport LocalStream
from lbcore.transport.reactor cimport Timed

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Deadline(Timed):
    """The deadline of a copy."""

    cdef int on_timeout(self) except -1:
        return self.stream.expire()

    cdef void fail(self, object error) noexcept:
        _log.error("internal error while a copy is cut", exc_info=error)


@cython.final
cdef class MirrorStream(LocalStream):
    """The client's end of a copy: a sink that drops the answer. The dialer makes it and calls `send`."""

    cdef int send(self) except -1:
        self.deadline = Deadline.__new__(Deadline)
        self.deadline.stream = self
        self.streams.add(self)
        self.mirror.under_way += 1
        self.mirror.child.stats.requests += 1
        self.mirror.child.stats.in_flight += 1
        self.reactor.arm(self.deadline, self.mirror.policy.timeout_ms)
        return self.exchange.begin_subrequest(self.mirror.child.service)

    cdef int finish(self) except -1:
        cdef int status = self.exchange.status
        self.mirror.child.stats.responses[status // 100 if status < 600 and self.exchange.error < 0 else 0] += 1
        return self.leave()

    cdef int abort(self) except -1:
        self.mirror.child.stats.responses[0] += 1
        return self.leave()

    cdef int expire(self) except -1:
        """Cut the copy at its deadline, or at the end of the instance."""
        if self.exchange is None:
            return 0               # the end of another copy has ended this one already
        self.mirror.child.stats.responses[0] += 1
        self.exchange.error = ERROR_TIMEOUT
        return self.cut()

    cdef int cut(self) except -1:
        """Abort the request at the server, and end the copy."""
        if self.exchange is None:
            return 0
        try:
            return self.exchange.lose_server()
        finally:
            self.leave()           # even if the abort failed: the copy gives back its count

    cdef int leave(self) except -1:
        cdef Exchange exchange = self.exchange
        if exchange is None:
            return 0
        self.exchange = None
        self.mirror.under_way -= 1
        self.mirror.child.stats.in_flight -= 1
        if self.body is not None:
            self.mirror.buffered -= self.body.size
        self.reactor.disarm(self.deadline)
        self.deadline.stream = None
        self.streams.discard(self)
        exchange_give(exchange)
        return 0
