"""New connections to servers: resolve, and hand over."""

import logging

cimport cython

from lbcore.http.request cimport Request
from lbcore.proxy.exchange cimport Exchange, exchange_take
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

    cdef int dial(self, Exchange exchange) except -1:
        cdef Server server = exchange.server
        cdef Http1Server stream = Http1Server.__new__(Http1Server)
        stream.server = server
        stream.policy = exchange.balancer.policy
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
        return shadow.begin()

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
