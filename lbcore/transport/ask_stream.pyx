"""A request that a middleware makes itself, to a service: an exchange whose answer, head and bounded body, is kept for a Reply.

It uses the connections and slots of that service like any other request. It ends with the answer, with the wait of the exchange for
which it is made (timeout, or end of the client), or when the answer's body is longer than allowed.
"""

cimport cython
from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.http.spare cimport Spares, request_keep, response_take, spare_keep, spare_take
from lbcore.http.span cimport Span, span_of
from lbcore.middleware.base cimport Pending, Reply
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.recording cimport Owner, Recording
from lbcore.proxy.whole cimport exchange_give, exchange_take
from lbcore.routing.service cimport Service
from lbcore.state.layout cimport ERROR_INTERNAL
from lbcore.transport.local_stream cimport LocalStream


cdef Spares streams
cdef Spares replies


@cython.final
cdef class ServiceReply(Reply):
    """The Reply of one AskStream."""

    def __cinit__(self):
        self.error = -1

    cdef int cancel(self) except -1:
        return self.stop()

    cdef int expire(self) except -1:
        self.stop()
        return Pending.expire(self)

    cdef int stop(self) except -1:
        """Abort the request if it is under way."""
        cdef AskStream stream = self.stream
        if stream is None:
            return 0
        try:
            return stream.exchange.lose_server()
        finally:
            stream.leave()

    cdef int release(self) except -1:
        Reply.release(self)
        if self.kept is None and self.stream is None:
            spare_keep(&replies, self)
        return 0


cdef ServiceReply take_reply():
    """One that is as a new one."""
    cdef object spare = spare_take(&replies)
    cdef ServiceReply found
    if spare is None:
        return ServiceReply.__new__(ServiceReply)
    found = <ServiceReply>spare
    found.expired = found.overflowed = False
    found.error = -1
    found.body = span_of(NULL, 0)
    return found


cdef AskStream take_stream():
    """One that is as a new one."""
    cdef object spare = spare_take(&streams)
    cdef AskStream found
    if spare is None:
        return AskStream.__new__(AskStream)
    found = <AskStream>spare
    found.blocked = found.body_sent = found.is_sending = False
    found.sent_bytes = 0
    return found


@cython.final
cdef class AskStream(LocalStream):
    """The client's end of the request: a sink that keeps the answer."""

    cdef int send(self, Service service) except -1:
        self.is_sending = True
        try:
            return self.exchange.begin_subrequest(service)
        finally:
            self.is_sending = False

    cdef int put(self, Span data) except -1:
        if self.limit is None:
            self.keep()
        self.reply.kept.add(data)
        return 413 if self.limit.overflowed else 0

    cdef int keep(self) except -1:
        """The answer has a body. The limit is for those of servers: the text of an error is lbcore's own."""
        self.limit = Owner.__new__(Owner)
        self.limit.limit = self.limit_bytes if self.exchange.error < 0 else -1
        self.reply.kept = Recording(self.exchange.entry_point.budget)
        self.reply.kept.join(self.limit)
        return 0

    cdef int finish(self) except -1:
        return self.settle(True)

    cdef int abort(self) except -1:
        return self.settle(False)

    cdef int settle(self, bint whole) except -1:
        """End the exchange, with a whole answer or without one, and settle the reply that an exchange waits for."""
        cdef AskStream stream = self           # keeps it alive: the exchange holds the last reference, and drops it in `leave`
        cdef ServiceReply reply = self.reply
        cdef Exchange exchange = self.exchange
        reply.error = exchange.error
        reply.overflowed = self.limit is not None and self.limit.overflowed
        if whole and not reply.overflowed:
            reply.response = exchange.response
            exchange.response = response_take()        # the reply keeps the head, the exchange is going to be reused
            if reply.kept is not None:
                reply.body = reply.kept.part(0, reply.kept.size)
        elif reply.error < 0:
            reply.error = ERROR_INTERNAL
        self.leave()
        return exchange.dialer.settle_later(reply) if self.is_sending else reply.settle()

    cdef int leave(self) except -1:
        """Give the exchange back; the reply stays."""
        cdef Exchange exchange = self.exchange
        if exchange is None:
            return 0
        self.exchange = None
        self.reply.stream = None
        self.reply = None
        exchange_give(exchange)
        self.limit = None
        self.body = None
        spare_keep(&streams, self)
        return 0


cdef ServiceReply ask_service(Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes):
    """Begin a request on behalf of an exchange, whose client it names as its own. Raises MemoryError when the budget has no room."""
    cdef AskStream stream = take_stream()
    cdef ServiceReply reply = take_reply()
    cdef Exchange asking
    cdef Owner sending
    request.set_body(len(body))
    if body:
        sending = Owner()
        sending.limit = -1
        stream.body = Recording(exchange.entry_point.budget)
        stream.body.join(sending)
        stream.body.add(span_of(body, len(body)))
        if sending.overflowed:
            raise MemoryError("no room for the body of a request of a middleware's own")
    stream.limit_bytes = limit_bytes
    asking = exchange_take(exchange.entry_point, stream, exchange.dialer)
    request_keep(asking.request)
    asking.request = request
    asking.forward = exchange.forward
    stream.exchange = asking
    stream.reply = reply
    reply.stream = stream
    try:
        stream.send(service)
    except Exception:
        reply.stop()
        raise
    return reply
