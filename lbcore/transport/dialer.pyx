"""New connections to servers: resolve, and hand over."""

import logging

cimport cython
from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Pending
from lbcore.proxy.exchange cimport Exchange, ServerStream, exchange_take
from lbcore.proxy.pool cimport Pool
from lbcore.proxy.recording cimport Recording
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.server cimport Server
from lbcore.state.layout cimport ERROR_RESOLVE
from lbcore.transport.http1_server cimport SERVER_CONNECTING, Http1Server
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.shadow cimport Shadow

from lbcore.transport.resolver import Resolver

POLL_S = 0.002                 # how long a slot that another worker has given back stays unnoticed

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class SocketDialer(Dialer):
    """One per worker."""

    def __init__(self, Reactor reactor, loop):
        self.reactor = reactor
        self.resolver = Resolver(loop)
        self.shadows = set()
        self.loop = loop
        self.queues = set()

    cdef int connect(self, Exchange exchange, bint fresh) except -1:
        cdef Server server = exchange.attempt.server
        cdef ServerStream stream = None
        if not fresh and server.pool is not None:
            stream = (<Pool>server.pool).take()
        if stream is None:
            return self.dial(exchange)
        exchange.stream = stream
        stream.start(exchange)
        if not stream.blocked:
            exchange.server_ready()
        return 0

    cdef int dial(self, Exchange exchange) except -1:
        """Set `exchange.stream` to a new connection, that starts by itself when it stands."""
        cdef Server server = exchange.attempt.server
        cdef Http1Server stream = Http1Server.__new__(Http1Server)
        stream.server = server
        stream.policy = exchange.attempt.balancer.policy
        stream.new_socket()
        stream.exchange = exchange
        stream.state = SERVER_CONNECTING
        stream.blocked = True
        exchange.stream = stream
        if server.pool is None:
            server.pool = Pool()
        if server.addresses is None:
            server.addresses = self.resolver.known(server.host, server.port)
        if stream.policy.dial_timeout_ms:
            stream.until_ms = self.reactor.now_ms + stream.policy.dial_timeout_ms
        if server.addresses is not None:
            return stream.connect(self.reactor, server.addresses)
        if stream.until_ms:
            self.reactor.arm(stream.socket, stream.policy.dial_timeout_ms)
        if not self.resolver.resolve(server.host, server.port, lambda addresses: self.resolved(stream, addresses)):
            self.reactor.hurry()
        return 0

    cdef int arm(self, Pending pending, int64_t timeout_ms) except -1:
        pending.timer = self.loop.call_later(timeout_ms / 1000.0, self.expire, pending)
        return 0

    def expire(self, Pending pending) -> None:
        """Its time is over."""
        self.reactor.enter()
        try:
            pending.expire()
        except Exception as error:
            _log.error("internal error at the end of a wait", exc_info=error)

    cdef int watch_queue(self, WaitQueue queue) except -1:
        self.queues.add(queue)
        if self.poll_handle is None:
            self.poll_handle = self.loop.call_later(POLL_S, self.poll)
        return 0

    def poll(self) -> None:
        """Look after the queues, and come back while anybody waits."""
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
        """Stop. Nobody waits any more."""
        if self.poll_handle is not None:
            self.poll_handle.cancel()
            self.poll_handle = None

    cdef int mirror(self, Exchange exchange, Request request, Mirror mirror, Recording body) except -1:
        cdef Exchange copy
        cdef Shadow shadow = Shadow.__new__(Shadow)
        copy = exchange_take(exchange.entry_point, shadow, self)
        copy.request = request
        copy.forward = exchange.forward
        shadow.exchange = copy
        shadow.mirror = mirror
        shadow.body = body
        shadow.reactor = self.reactor
        shadow.shadows = self.shadows
        try:
            return shadow.begin()
        except Exception:
            shadow.leave()         # neither its count nor its bytes stay
            raise

    def resolved(self, Http1Server stream, addresses) -> None:
        """The name's addresses are here, or None if it has none."""
        if stream.exchange is None:
            return
        self.reactor.enter()
        try:
            if addresses is None:
                stream.failed(ERROR_RESOLVE)
            else:
                stream.connect(self.reactor, addresses)
        except Exception as error:
            stream.socket.fail(error)
