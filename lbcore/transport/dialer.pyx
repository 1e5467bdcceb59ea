"""New connections to servers: resolve, and hand over."""

import logging

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Pending, Reply
from lbcore.proxy.exchange cimport Exchange, ServerStream, exchange_take
from lbcore.proxy.recording cimport Recording
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.state.layout cimport ERROR_RESOLVE, ERROR_RESOURCE
from lbcore.transport.ask_stream cimport ask_service
from lbcore.transport.http1_server cimport SERVER_CONNECTING, Http1ServerConnection
from lbcore.transport.mirror_stream cimport MirrorStream
from lbcore.transport.pool cimport Pool
from lbcore.transport.reactor cimport Reactor, Timed
from lbcore.transport.timers cimport timer_clear

from lbcore.transport.resolver import Resolver

POLL_S = 0.002                 # how long a slot that another worker has given back stays unnoticed

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class WaitDeadline(Timed):
    """When an exchange has waited long enough. Its Pending owns it, as `timer`, and is referred to until it fires or is cancelled."""

    cdef int on_timeout(self) except -1:
        cdef Pending pending = self.pending
        self.pending = None
        return 0 if pending is None else pending.expire()

    cdef void fail(self, object error) noexcept:
        _log.error("internal error at the end of a wait", exc_info=error)

    def cancel(self) -> None:
        """Never fire."""
        timer_clear(&self.timer)
        self.pending = None


@cython.final
cdef class SocketDialer(Dialer):
    """One per worker."""

    def __init__(self, Reactor reactor, loop):
        self.reactor = reactor
        self.resolver = Resolver(loop)
        self.copies = set()
        self.loop = loop
        self.queues = set()

    cdef int connect(self, Exchange exchange, bint anew) except -1:
        cdef Server server = exchange.attempt.server
        cdef ServerStream stream = None
        if server.pool is None:
            server.pool = Pool()
        elif not anew:
            stream = (<Pool>server.pool).open_stream()
        if stream is None:
            return self.dial(exchange)
        exchange.attach(stream)
        stream.start(exchange)
        return 0 if stream.blocked else exchange.server_ready()

    cdef int dial(self, Exchange exchange) except -1:
        """Begin a new connection; its stream starts when it stands."""
        cdef Server server = exchange.attempt.server
        cdef Http1ServerConnection connection = Http1ServerConnection.__new__(Http1ServerConnection)
        cdef ServerStream stream = connection.open_stream()
        connection.server = stream.server = server
        connection.policy = exchange.attempt.balancer.policy
        stream.exchange = exchange
        stream.blocked = True
        exchange.attach(stream)
        if server.addresses is None:
            server.addresses = self.resolver.known(server.host, server.port)
        if connection.policy.dial_timeout_ms:
            connection.until_ms = self.reactor.now_ms + connection.policy.dial_timeout_ms
        if server.addresses is not None:
            return connection.connect(self.reactor, server.addresses)
        if connection.until_ms:
            self.reactor.arm(connection.socket, connection.policy.dial_timeout_ms)
        if not self.resolver.resolve(server.host, server.port,
                                     lambda addresses, lacking: self.resolved(connection, addresses, lacking)):
            self.reactor.hurry()
        return 0

    cdef int arm(self, Pending pending, int64_t timeout_ms) except -1:
        cdef WaitDeadline deadline = WaitDeadline.__new__(WaitDeadline)
        deadline.pending = pending
        pending.timer = deadline
        return self.reactor.arm(deadline, timeout_ms)

    cdef uint64_t now_ns(self) noexcept:
        return self.reactor.now_ns()

    cdef int watch_queue(self, WaitQueue queue) except -1:
        self.queues.add(queue)
        if self.poll_handle is None:
            self.poll_handle = self.loop.call_later(POLL_S, self.poll)
        return 0

    def poll(self) -> None:
        """Look after the queues, again and again while a request waits in one."""
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
            stream.cut()           # neither its server's slot nor its count nor its bytes stay
            raise

    cdef Reply ask(self, Exchange exchange, Service service, Request request, bytes body, int64_t limit_bytes):
        return ask_service(exchange, service, request, body, limit_bytes, self.settle_soon)

    def settle_soon(self, Reply reply) -> None:
        """Settle a reply in the next round of the event loop."""
        self.loop.call_soon(self.settle, reply)

    def settle(self, Reply reply) -> None:
        self.reactor.enter()
        reply.settle()

    def resolved(self, Http1ServerConnection connection, addresses, lacking) -> None:
        """The name's addresses are here, or None if it has none, or (`lacking`) could not be asked for."""
        if connection.state != SERVER_CONNECTING:
            return
        self.reactor.enter()
        try:
            if addresses is None:
                connection.failed(ERROR_RESOURCE if lacking else ERROR_RESOLVE)
            else:
                connection.connect(self.reactor, addresses)
        except Exception as error:
            connection.socket.fail(error)
