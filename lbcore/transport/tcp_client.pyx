"""A connection of layer 4: choose a server by the client's address, connect, and move bytes inside the kernel."""

import logging

cimport cython
from libc.stdint cimport uint32_t

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.tcp_route cimport ConnectionLimit, TcpPolicy
from lbcore.state.layout cimport (
    ERROR_CLIENT_ABORT, ERROR_NO_SERVER, ERROR_REFUSED, ERROR_RESOLVE, ERROR_RESOURCE, ERROR_TIMEOUT,
)
from lbcore.transport.connect cimport CONNECTED, NO_ADDRESS_LEFT, NO_RESOURCE, connect_next
from lbcore.transport.connection cimport ClientConnection, Learned
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT
from lbcore.transport.proxy_protocol cimport proxy_render
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport OwnedSocket
from lbcore.transport.tunnel cimport Tunnel

cdef enum:
    ATTEMPTS = 3               # servers tried until one can be reached
    PROBED_AFTER_MS = 1000

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class TcpConnection(ClientConnection):
    """`serve_tcp` makes it, with the socket of its client, and calls `open`."""

    cdef int open(self) except -1:
        self.enter()
        self.decision = Decision()
        if not self.route.admits(self.asker) or (self.route.limits is not None and not self.pass_limits()):
            return self.close()
        return self.dial()

    cdef bint pass_limits(self) except *:
        """Be counted by the limits of the route. False: one is reached."""
        for limit in self.route.limits:
            if not (<ConnectionLimit>limit).enter(&self.address):
                return False
            self.limits_taken += 1
        return True

    cdef int dial(self) except -1:
        """Connect to another server, if there is one; else the client's connection closes, as in Traefik."""
        cdef Reactor reactor = self.dialer.reactor
        cdef int attempt
        self.server = self.route.service.choose(self.asker, self.decision) if self.attempts < ATTEMPTS else None
        if self.server is None:
            self.entry_point.stats.errors[ERROR_NO_SERVER if self.attempts == 0 else self.error] += 1
            return self.close()
        self.attempts += 1
        attempt = self.attempts
        self.balancer = <LoadBalancer>self.decision.balancer
        self.balancer.note_start(self.server)
        self.tried = 0
        self.addresses = None
        self.new_upstream()
        self.until_ms = 0
        if self.balancer.policy.dial_timeout_ms:
            self.until_ms = reactor.now_ms + self.balancer.policy.dial_timeout_ms
        if self.server.addresses is None:
            self.server.addresses = self.dialer.resolver.known(self.server.host, self.server.port)
        if self.server.addresses is not None:
            return self.connect(self.server.addresses)
        if self.until_ms:
            reactor.arm(self.upstream, self.balancer.policy.dial_timeout_ms)
        if not self.dialer.resolver.resolve(self.server.host, self.server.port,
                                            lambda addresses, lacking: self.resolved(attempt, addresses, lacking)):
            reactor.hurry()
        return 0

    def resolved(self, attempt: int, addresses, lacking) -> None:
        """The addresses of the name that this attempt asked for are here, or None if it has none, or (`lacking`) could not be
        asked for."""
        if self.state != TCP_CONNECTING or self.attempts != attempt:
            return
        self.dialer.reactor.enter()
        try:
            if addresses is None:
                self.pass_over(ERROR_RESOURCE if lacking else ERROR_RESOLVE)
            else:
                self.connect(addresses)
        except Exception as error:
            self.client.fail(error)

    cdef void new_upstream(self) noexcept:
        self.upstream = OwnedSocket.__new__(OwnedSocket)
        self.upstream.owner = self

    cdef int connect(self, tuple addresses) except -1:
        """Begin a connection to the first of the server's addresses that takes one."""
        self.addresses = addresses
        return self.connect_next_address()

    cdef int connect_next_address(self) except -1:
        cdef int result = connect_next(self.dialer.reactor, self.upstream, self.addresses, &self.tried, self.until_ms)
        if result == NO_ADDRESS_LEFT:
            return self.pass_over(ERROR_REFUSED)
        if result == NO_RESOURCE:
            return self.pass_over(ERROR_RESOURCE)
        return self.connected() if result == CONNECTED else 0

    cdef int give_up_address(self, int error) except -1:
        """No connection to the address at work: the server's name may have others."""
        if self.addresses is None or self.tried >= len(self.addresses):
            return self.pass_over(error)
        self.upstream.shut()
        self.new_upstream()
        return self.connect_next_address()

    cdef int pass_over(self, int error) except -1:
        """There is no connection to the server, so it has seen nothing of the client: try another one."""
        cdef OwnedSocket upstream = self.upstream
        self.upstream = None
        upstream.shut()
        upstream.owner = None
        self.error = error
        self.balancer.note_end(self.server)
        if error != ERROR_RESOURCE:            # a lack of ours says nothing of the server
            self.server.stats.connect_errors += 1
            self.server.stats.responses[0] += 1
            self.balancer.note_failure(self.server)
        self.decision.exclude(self.server)
        self.server = None
        return self.dial()

    cdef int connected(self) except -1:
        self.state = TCP_TUNNEL
        # Most connections end before a probe could matter: the others get it when they have lived for a while.
        if self.balancer.tcp.keep_alive_s > 0:
            self.dialer.reactor.arm(self.upstream, PROBED_AFTER_MS)
        else:
            self.dialer.reactor.disarm(self.upstream)
        self.balancer.note_success(self.server)
        if self.balancer.tcp.proxy_protocol:
            self.send_header()
        self.tunnel = Tunnel(self.client, self.upstream)
        self.client.readable = self.upstream.readable = True
        return self.pump()

    cdef int send_header(self) except -1:
        """Send the PROXY header, which gives the server its client's address."""
        cdef bytes header
        if self.local.text_len == 0:
            self.client.local_address(&self.local)
        header = proxy_render(self.balancer.tcp.proxy_protocol, &self.address, &self.local)
        self.upstream.put_text(header, len(header))
        return 0

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        # Also while connecting: a server may have said all it has to say, and ended, by the time it is seen to stand.
        events = socket.note(events)
        if self.state == TCP_TUNNEL:
            return self.pump()
        if self.state != TCP_CONNECTING:
            return 0
        if socket is self.client:
            return self.abort() if events & (EPOLLERR | EPOLLHUP) else 0
        if not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            return 0
        if events & (EPOLLERR | EPOLLHUP) and socket.connect_error():
            return self.give_up_address(ERROR_REFUSED)
        return self.connected()

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        if socket is self.client:
            return self.close() if self.leaving else 0
        if self.state == TCP_CONNECTING:
            return self.give_up_address(ERROR_TIMEOUT)
        socket.probe_when_idle(self.balancer.tcp.keep_alive_s)
        return 0

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of router %s", self.route.name, exc_info=error)
        try:
            self.close()
        except Exception as again:
            _log.error("internal error while closing a connection", exc_info=again)

    cdef int pump(self) except -1:
        """Carry what there is; when one side has ended, the other may go on for as long as the policy says."""
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
        if self.server is not None:
            self.balancer.note_end(self.server)
            self.server = None
        while self.limits_taken:
            self.limits_taken -= 1
            (<ConnectionLimit>self.route.limits[self.limits_taken]).leave(&self.address)
        self.client.shut()
        if self.upstream is not None:
            self.upstream.shut()
            if self.upstream.reactor is None:
                self.upstream.owner = None     # never watched, so the reactor does not release it
        self.tunnel = None
        return 0


cdef bint serve_tcp(OwnedSocket socket, const Learned* learned, EntryPoint entry_point, Dialer dialer,
                    set connections) except *:
    """Start a connection of layer 4, if a router takes it. Returns whether one does."""
    cdef TcpConnection connection = TcpConnection.__new__(TcpConnection)
    connection.address = learned.client
    connection.local = learned.local
    connection.asker = Asker.__new__(Asker)
    connection.asker.address = &connection.address
    connection.route = entry_point.tcp.find(connection.asker)
    if connection.route is None:
        return False
    connection.entry_point = entry_point
    connection.connections = connections
    connection.dialer = <SocketDialer>dialer
    connection.client = socket
    socket.owner = connection
    try:
        connection.open()
    except Exception as error:
        connection.socket_failed(socket, error)
    return True
