"""Streams to servers, over an idle connection or a new one; and the waits of exchanges."""

import logging

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.sanitizer cimport POOLS
from lbcore.middleware.base cimport Pending, Reply
from lbcore.proxy.exchange cimport Exchange, ServerStream
from lbcore.proxy.recording cimport Recording
from lbcore.proxy.whole cimport exchange_take
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.transport.ask_stream cimport ask_service
from lbcore.transport.dial cimport DIAL_OVER, Dial
from lbcore.transport.encryption cimport EncryptedTransport
from lbcore.transport.http1_server cimport http1_to
from lbcore.transport.http2_client cimport http2_is_available
from lbcore.transport.http2_server cimport http2_to
from lbcore.transport.mirror_stream cimport MirrorStream
from lbcore.transport.pool cimport Pool
from lbcore.transport.reactor cimport Reactor, Timed
from lbcore.transport.server_connection cimport ServerConnection
from lbcore.transport.socket cimport OwnedSocket, SocketOwner
from lbcore.transport.timers cimport timer_clear

from lbcore.transport.resolver import Resolver

cdef enum:
    MOST_WAITING = 100         # for one connection, before the server has said how many streams it allows
    KEPT_DEADLINES = 256       # of waits that are over, kept for reuse
    LINKED_MS = 60000          # a kept one that is due within that time stays in the wheel: it is set anew by one store, and fires for nobody
    SHORT_MS = 500             # waits below that are exact to 1 ms: the wheel of timers has coarser ticks

cdef bytes OFFER_BOTH = b"\x02h2\x08http/1.1"      # in ALPN
cdef bytes OFFER_HTTP1 = b"\x08http/1.1"

POLL_S = 0.002                 # a slot that another worker gives back is noticed after this time at the latest

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class WaitDeadline(Timed):
    """The timeout of a wait of an exchange. Its Pending owns it, as `timer`; the reference back ends when it fires or is stopped."""

    cdef int on_timeout(self) except -1:
        cdef Pending pending = self.pending
        self.pending = None
        return 0 if pending is None else pending.expire()

    cdef void fail(self, object error) noexcept:
        _log.error("internal error at the end of a wait", exc_info=error)


cdef ServerConnection connection_to(Server server, OwnedSocket socket):
    """The connection for a socket to the server, which becomes its owner. The URL, or ALPN, decides the protocol.

    The one place that knows all protocols towards servers, as `protocols.serve_socket` does towards clients.
    """
    if server.is_http2 or (socket.transport is not None and (<EncryptedTransport>socket.transport).protocol == b"h2"):
        server.multiplexes = server.multiplexes or MOST_WAITING
        return http2_to(server, socket)
    server.multiplexes = 0
    return http1_to(server, socket)


@cython.final
cdef class DialStream(ServerStream):
    """The placeholder for the stream of an exchange until its connection is established. It accepts no bytes."""

    cdef bint was_connected(self) noexcept:
        return False

    cdef bint was_refused(self) noexcept:
        return self.refused

    cdef int abort(self) except -1:
        cdef ExchangeDial dial = self.dial
        self.dial = None
        return 0 if dial is None else dial.leave(self)


@cython.final
cdef class ExchangeDial(Dial):
    """A new connection for an exchange, whose stream starts when the connection is established. Others may join it, where
    the server's connections are expected to take many streams."""

    cdef int established(self, OwnedSocket socket) except -1:
        cdef ServerConnection connection = connection_to(self.server, socket)
        if connection.available:
            self.offered(connection)
        else:
            self.connection = connection
            if self.server.dialling is None:
                self.server.dialling = self
            connection.await_streams(self, (<DialStream>self.waiting[0]).exchange.attempt.balancer.policy)
        return connection.go_on()

    cdef int offered(self, SocketOwner opened) except -1:
        """Give those that wait the connection's streams. When its own one is there, this is the end: the others ask anew."""
        cdef ServerConnection connection = <ServerConnection>opened
        cdef ServerConnection own = self.connection
        cdef list served, others = []
        if self.step != DIAL_OVER:
            return 0                           # its own connection will soon be there
        served = self.waiting[:connection.available]
        del self.waiting[:connection.available]
        if own is None or own is connection or not self.waiting:
            self.connection = None
            others = self.end()
            if own is not None:
                own.dial = None
                if own is not connection:
                    own.close()
        for item in served:
            (<DialStream>item).dial = None
        for item in served:
            if (<DialStream>item).exchange is not None:    # else it has ended meanwhile
                open_stream(<DialStream>item, connection)
        for item in others:
            if (<DialStream>item).exchange is not None:
                ask_anew(<DialStream>item, self.dialer)
        return 0

    cdef int failed(self, int error) except -1:
        cdef Exchange exchange
        cdef uint64_t serial
        self.connection = None
        for item in self.end():
            exchange = (<DialStream>item).exchange
            if exchange is None:
                continue                       # it has ended meanwhile
            exchange.heed(<DialStream>item)
            (<DialStream>item).exchange = None
            (<DialStream>item).refused = self.refused
            serial = exchange.serial
            try:
                exchange.server_failed(error, False)
            except Exception as problem:
                exchange.internal_error(problem, serial)
        return 0

    cdef int join(self, DialStream stream) except -1:
        """Wait for this connection, too."""
        stream.dial = self
        self.waiting.append(stream)
        return 0

    cdef int leave(self, DialStream stream) except -1:
        """An exchange does not wait any more; without any the connection is not made."""
        cdef ServerConnection connection = self.connection
        self.waiting.remove(stream)
        if not self.waiting:
            self.end()
            self.abort()
            if connection is not None:
                self.connection = connection.dial = None
                connection.close()
        return 0

    cdef list end(self):
        """The streams that wait, which refer to this dial no more."""
        cdef list waiting = self.waiting
        self.waiting = []
        if self.server.dialling is self:
            self.server.dialling = None
        for item in waiting:
            (<DialStream>item).dial = None
        return waiting


cdef int open_stream(DialStream waiting, ServerConnection connection) except -1:
    """Give an exchange its stream, and start it."""
    cdef Exchange exchange = waiting.exchange
    cdef uint64_t serial = exchange.serial
    cdef ServerStream stream
    exchange.heed(waiting)
    waiting.exchange = None
    try:
        stream = connection.open_stream()
        if connection.available == 0 and connection.pool is not None:
            (<Pool>connection.pool).remove(connection)
        exchange.attach(stream)
        stream.start(exchange)
        if not stream.blocked:
            exchange.server_ready()
    except Exception as error:
        exchange.internal_error(error, serial)
    return 0


cdef int ask_anew(DialStream waiting, SocketDialer dialer) except -1:
    """Have an exchange, for which a connection has no stream, use another one."""
    cdef Exchange exchange = waiting.exchange
    cdef uint64_t serial = exchange.serial
    exchange.heed(waiting)
    waiting.exchange = None
    try:
        dialer.connect(exchange, False)
    except Exception as error:
        exchange.internal_error(error, serial)
    return 0


cdef ServerStream own_stream(Pool pool):
    """A stream of a connection that is the client's own, or None."""
    return None if pool is None else pool.open_stream()


@cython.final
cdef class SocketDialer(Dialer):
    """One per worker."""

    def __init__(self, Reactor reactor, loop):
        self.reactor = reactor
        self.clock = &reactor.batch_ns
        self.resolver = Resolver(loop)
        self.copies = set()
        self.loop = loop
        self.queues = set()

    cdef int connect(self, Exchange exchange, bint anew) except -1:
        cdef Server server = exchange.attempt.server
        cdef ServerStream stream = None
        if server.pool is None:
            server.pool = Pool()
        elif not anew and not (server.multiplexes and server.target is not None and exchange.request.framing.upgrade):
            if server.binds:
                stream = own_stream(exchange.client.own_pool(server, False))
            if stream is None:
                stream = (<Pool>server.pool).open_stream()
        if stream is None:
            return self.dial(exchange)
        exchange.attach(stream)
        stream.start(exchange)
        return 0 if stream.blocked else exchange.server_ready()

    cdef int dial(self, Exchange exchange) except -1:
        """Begin a new connection, or wait for one that is being made; the stream starts when it is established."""
        cdef Server server = exchange.attempt.server
        cdef ExchangeDial dial = server.dialling
        cdef DialStream stream = DialStream.__new__(DialStream)
        cdef bint upgrade = server.target is not None and exchange.request.framing.upgrade     # spoken in HTTP/1.1 alone
        stream.server = server
        stream.exchange = exchange
        stream.blocked = True
        exchange.attach(stream)
        if dial is not None and not upgrade and len(dial.waiting) < min(server.multiplexes, <int>MOST_WAITING):
            return dial.join(stream)
        dial = ExchangeDial.__new__(ExchangeDial)
        dial.server = server
        dial.dialer = self
        dial.waiting = []
        dial.join(stream)
        if server.multiplexes and not upgrade:
            server.dialling = dial
        if server.offers_http2 and http2_is_available():
            dial.protocols = OFFER_HTTP1 if upgrade else OFFER_BOTH
        return dial.dial(self.reactor, self.resolver, exchange.attempt.balancer.policy.dial_timeout_ms)

    cdef int arm(self, Pending pending, int64_t timeout_ms) except -1:
        cdef WaitDeadline deadline
        if timeout_ms < SHORT_MS and not self.reactor.driven_ms:
            pending.timer = self.loop.call_later(timeout_ms / 1000.0, self.expire, pending)
            return 0
        deadline = self.kept
        if deadline is None:
            deadline = WaitDeadline.__new__(WaitDeadline)
        else:
            self.kept = deadline.next_kept
            deadline.next_kept = None
            self.kept_count -= 1
        deadline.pending = pending
        pending.timer = deadline
        return self.reactor.arm(deadline, timeout_ms)

    cdef int disarm(self, Pending pending) except -1:
        cdef WaitDeadline deadline
        if not isinstance(pending.timer, WaitDeadline):
            pending.timer.cancel()             # of the event loop
            pending.timer = None
            return 0
        deadline = <WaitDeadline>pending.timer
        pending.timer = deadline.pending = None
        if POOLS and self.kept_count < KEPT_DEADLINES:
            if deadline.timer.deadline_ms > self.reactor.now_ms + LINKED_MS:
                timer_clear(&deadline.timer)
            deadline.next_kept = self.kept
            self.kept = deadline
            self.kept_count += 1
        else:
            timer_clear(&deadline.timer)
        return 0

    def expire(self, Pending pending) -> None:
        """A short wait is over."""
        self.reactor.enter()
        try:
            pending.expire()
        except Exception as error:
            _log.error("internal error at the end of a wait", exc_info=error)

    cdef uint64_t now_ns(self) noexcept:
        return self.reactor.now_ns()

    cdef void hurry(self) noexcept:
        self.reactor.hurry()

    cdef int watch_queue(self, WaitQueue queue) except -1:
        self.queues.add(queue)
        if self.poll_handle is None:
            self.poll_handle = self.loop.call_later(POLL_S, self.poll)
        return 0

    def poll(self) -> None:
        """Serve the queues, every POLL_S as long as a request waits in one."""
        cdef WaitQueue queue
        self.poll_handle = None
        self.reactor.enter()
        for item in list(self.queues):
            queue = <WaitQueue>item
            try:
                queue.tick(self.reactor.now_ns())
            except Exception as error:
                _log.error("internal error in the queue of %s", queue.service.name, exc_info=error)
            if queue.length == 0:
                self.queues.discard(queue)
        if self.queues and self.poll_handle is None:
            self.poll_handle = self.loop.call_later(POLL_S, self.poll)

    def close(self) -> None:
        """Stop the timer of the queues."""
        if self.poll_handle is not None:
            self.poll_handle.cancel()
            self.poll_handle = None

    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1:
        cdef Exchange copy
        cdef MirrorStream stream = MirrorStream.__new__(MirrorStream)
        copy = exchange_take(exchange.entry_point, stream, self)
        copy.request = request
        copy.forward = exchange.forward
        stream.exchange = copy
        stream.mirror = mirror
        stream.body = body
        stream.reactor = self.reactor
        stream.streams = self.copies
        try:
            return stream.send()
        except Exception:
            stream.cut()           # gives back the slot of its server, its count and its bytes
            raise

    cdef Reply ask(self, Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes):
        return ask_service(exchange, service, request, body, limit_bytes)

    cdef int settle_later(self, Reply reply) except -1:
        self.loop.call_soon(self.settle, reply)
        return 0

    def settle(self, Reply reply) -> None:
        self.reactor.enter()
        reply.settle()
