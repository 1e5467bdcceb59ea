"""Connections of layer 4: choose a server by the client's address, connect, and tunnel bytes both ways."""

import logging

cimport cython
from libc.stdint cimport uint32_t

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.tcp_route cimport ConnectionLimit, TcpPolicy, TcpRoute
from lbcore.state.durations cimport bucket_of
from lbcore.state.layout cimport ERROR_CLIENT_ABORT, ERROR_NO_SERVER, ERROR_RESOURCE
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.dial cimport Dial
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP
from lbcore.transport.proxy_protocol cimport proxy_render
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef enum:
    ATTEMPTS = 3               # most servers tried until one can be reached
    PROBED_AFTER_MS = 1000

# Source: https://www.postgresql.org/docs/current/protocol-message-formats.html, SSLRequest.
cdef bytes POSTGRES_ASKS = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
cdef bytes POSTGRES_CONSENTS = b"S"

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class TcpDial(Dial):
    """A new connection to the server of a TcpConnection, which aborts this when it closes."""

    cdef int established(self, OwnedSocket socket) except -1:
        cdef TcpConnection connection = self.connection
        self.connection = None
        return connection.connected(socket)

    cdef int failed(self, int error) except -1:
        cdef TcpConnection connection = self.connection
        self.connection = None
        try:
            return connection.pass_over(error)
        except Exception as problem:
            connection.socket_failed(connection.client, problem)
            return 0


@cython.final
cdef class TcpConnection(ClientConnection):
    """`serve_tcp` makes it, with the socket of its client, and calls `open`."""

    cdef int open(self) except -1:
        cdef Py_ssize_t refuser
        self.enter()
        self.decision = Decision()
        self.route.note_start()
        refuser = self.route.refuser(self.asker)
        if refuser < 0 and self.route.limits is not None and not self.pass_limits():
            refuser = len(self.route.allowed) + self.limits_taken
        if refuser >= 0:
            if self.route.note_denied(refuser):
                self.entry_point.stats.denied += 1
            return self.close()
        return self.dial()

    cdef bint pass_limits(self) except *:
        """Count this connection in the limits of the route. Returns False if one is reached."""
        for limit in self.route.limits:
            if not (<ConnectionLimit>limit).enter(&self.address):
                return False
            self.limits_taken += 1
        return True

    cdef int dial(self) except -1:
        """Connect to a server, or to another one. If there is none, the client's connection closes, as in Traefik."""
        cdef TcpDial dial
        self.server = self.route.service.choose(self.asker, self.decision) if self.attempts < ATTEMPTS else None
        if self.server is None:
            self.entry_point.stats.errors[ERROR_NO_SERVER if self.attempts == 0 else self.error] += 1
            return self.close()
        self.attempts += 1
        self.balancer = <LoadBalancer>self.decision.balancer
        self.balancer.note_start(self.server)
        self.asked_ns = self.dialer.reactor.batch_ns
        self.dialing = dial = TcpDial.__new__(TcpDial)
        dial.server = self.server
        dial.connection = self
        if self.balancer.tcp.proxy_protocol:
            dial.header = self.proxy_header()
        if self.postgres:
            dial.question, dial.consent = POSTGRES_ASKS, POSTGRES_CONSENTS
        return dial.dial(self.dialer.reactor, self.dialer.resolver, self.balancer.policy.dial_timeout_ms)

    cdef int pass_over(self, int error) except -1:
        """Try another server, because this one could not be reached and has seen no bytes of the client."""
        self.dialing = None
        self.error = error
        self.balancer.note_end(self.server)
        if error != ERROR_RESOURCE:            # a resource that this process lacks is no failure of the server
            self.server.stats.connect_errors += 1
            self.server.stats.responses[0] += 1
            self.balancer.note_failure(self.server)
        self.decision.exclude(self.server)
        self.decision.further = True
        self.server = None
        return self.dial()

    cdef int connected(self, OwnedSocket upstream) except -1:
        """Take ownership of the established connection to the server, and start the tunnel."""
        self.dialing = None
        self.upstream = upstream
        upstream.owner = self
        self.state = TCP_TUNNEL
        self.server.stats.first_bytes[bucket_of(self.dialer.reactor.batch_ns - self.asked_ns)] += 1
        # Most connections end before a probe could matter, so probes are enabled later, by the timer.
        if self.balancer.tcp.keep_alive_s > 0:
            self.dialer.reactor.arm(upstream, PROBED_AFTER_MS)
        self.balancer.note_success(self.server)
        self.tunnel = Tunnel(self.client, upstream)
        self.client.readable = upstream.readable = True
        return self.pump()

    cdef bytes proxy_header(self):
        """The PROXY header that names the client to the server; None = the service wants none."""
        if self.local.text_len == 0:
            self.client.local_address(&self.local)
        return proxy_render(self.balancer.tcp.proxy_protocol, &self.address, &self.local)

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        events = socket.note(events)
        if self.state == TCP_TUNNEL:
            return self.pump()
        if self.state == TCP_CONNECTING and events & (EPOLLERR | EPOLLHUP):
            return self.abort()
        return 0

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        if socket is self.client:
            return self.close() if self.leaving else 0
        socket.probe_when_idle(self.balancer.tcp.keep_alive_s)
        return 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of router %s", self.route.name, exc_info=error)
        try:
            self.close()
        except Exception as again:
            _log.error("internal error while closing a connection", exc_info=again)

    cdef int pump(self) except -1:
        """Move bytes both ways; after one side has ended, the other may continue for the time that the policy allows."""
        cdef TcpPolicy policy = self.balancer.tcp
        if self.tunnel.pump():
            return self.close()
        if not self.leaving and policy.termination_ms >= 0 and (self.tunnel.up.ended or self.tunnel.down.ended):
            self.leaving = True
            self.dialer.reactor.arm(self.client, policy.termination_ms)
        return 0

    cdef int abort(self) except -1:
        self.entry_point.stats.errors[<int>ERROR_CLIENT_ABORT] += 1
        return self.close()

    cdef int close(self) except -1:
        """Close both ends. Safe to call twice."""
        if self.state == TCP_CLOSED:
            return 0
        self.state = TCP_CLOSED
        self.leave()
        self.route.note_end(self.upstream is not None)
        if self.server is not None:
            self.balancer.note_end(self.server)
            self.server = None
        while self.limits_taken:
            self.limits_taken -= 1
            (<ConnectionLimit>self.route.limits[self.limits_taken]).leave(&self.address)
        self.client.shut()
        if self.dialing is not None:
            self.dialing.connection = None
            self.dialing.abort()
            self.dialing = None
        if self.upstream is not None:
            self.upstream.shut()
        self.tunnel = None
        return 0


cdef bint serve_tcp(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                    set connections) except *:
    """Start a connection of layer 4 without TLS if a router matches. Returns whether one does."""
    cdef Asker asker = Asker.__new__(Asker)
    cdef TcpRoute route
    asker.address = &learned.client
    route = entry_point.tcp.find(asker)
    if route is None:
        return False
    serve_route(route, socket, learned, entry_point, dialer, connections)
    return True


cdef int serve_route(TcpRoute route, OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                     set connections) except -1:
    """Start a connection of layer 4 by a router that matches. The connection becomes the socket's owner."""
    cdef TcpConnection connection = TcpConnection.__new__(TcpConnection)
    connection.address = learned.client
    connection.local = learned.local
    connection.postgres = learned.postgres and route.acceptor is None
    connection.asker = Asker.__new__(Asker)
    connection.asker.address = &connection.address
    connection.route = route
    connection.entry_point = entry_point
    connection.connections = connections
    connection.dialer = <SocketDialer>dialer
    connection.client = socket
    socket.owner = connection
    try:
        connection.open()
    except Exception as error:
        connection.socket_failed(socket, error)
    return 0
