"""A connection of layer 4: choose a server by the client's address, connect, and move bytes inside the kernel."""

import logging

cimport cython
from libc.stdint cimport uint32_t

from lbcore.http.request cimport Request
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.tcp_route cimport ConnectionLimit, TcpPolicy
from lbcore.state.layout cimport ERROR_CLIENT_ABORT, ERROR_INTERNAL, ERROR_NO_SERVER, ERROR_REFUSED
from lbcore.transport.address cimport local_address
from lbcore.transport.connect cimport CONNECTED, NO_ADDRESS_LEFT, connect_error, connect_next, probe_when_idle
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from lbcore.transport.proxy_protocol cimport proxy_render
from lbcore.transport.socket cimport Socket
from lbcore.transport.tunnel cimport Tunnel

cdef enum:
    ATTEMPTS = 3               # servers tried until one can be reached
    PROBED_AFTER_MS = 1000

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class TcpEnd(Socket):
    """One of the two sockets of a `TcpConnection`."""

    cdef int on_ready(self, uint32_t events) except -1:
        return self.connection.on_ready(self, events)

    cdef int on_timeout(self) except -1:
        return self.connection.on_timeout(self)

    cdef void bury(self) noexcept:
        self.connection = None

    cdef void fail(self, object error) noexcept:
        _log.error("internal error on a connection of router %s", self.connection.route.name, exc_info=error)
        try:
            self.connection.close()
        except Exception as again:
            _log.error("internal error while closing a connection", exc_info=again)


@cython.final
cdef class TcpConnection:
    """The listener makes it, with the client's socket attached and `address` set, and calls `open`."""

    cdef int open(self) except -1:
        self.entry_point.stats.accepted += 1
        self.entry_point.stats.open_connections += 1
        self.clients.add(self)
        self.request = Request()
        self.request.head.client = &self.address
        self.decision = Decision()
        if not self.route.admits(self.request) or (self.route.limits is not None and not self.enter()):
            return self.close()
        return self.dial()

    cdef bint enter(self) except *:
        """Be counted by the limits of the route. False: one is reached."""
        for limit in self.route.limits:
            if not (<ConnectionLimit>limit).enter(&self.address):
                return False
            self.held += 1
        return True

    cdef int dial(self) except -1:
        """Connect to another server, if there is one; else the client's connection closes, as in Traefik."""
        self.server = self.route.service.choose(self.request, self.decision) if self.attempts < ATTEMPTS else None
        if self.server is None:
            self.entry_point.stats.errors[<int>ERROR_NO_SERVER if self.attempts == 0 else <int>ERROR_REFUSED] += 1
            return self.close()
        self.attempts += 1
        self.balancer = <LoadBalancer>self.decision.balancer
        self.balancer.note_start(self.server)
        if self.server.addresses is None:
            self.server.addresses = self.dialer.resolver.known(self.server.host, self.server.port)
        if self.server.addresses is not None:
            return self.connect(self.server.addresses)
        if not self.dialer.resolver.resolve(self.server.host, self.server.port, self.resolved):
            self.dialer.reactor.hurry()
        return 0

    def resolved(self, addresses) -> None:
        """The name's addresses are here, or None if it has none."""
        if self.state != TCP_CONNECTING:
            return
        try:
            if addresses is None:
                self.refused()
            else:
                self.connect(addresses)
        except Exception as error:
            self.client.fail(error)

    cdef int connect(self, tuple addresses) except -1:
        """Begin a connection to the first of the server's addresses that takes one."""
        self.addresses = addresses
        self.tried = 0
        self.until_ms = 0
        if self.balancer.policy.dial_timeout_ms:
            self.until_ms = self.dialer.reactor.now_ms + self.balancer.policy.dial_timeout_ms
        return self.connect_another()

    cdef int connect_another(self) except -1:
        cdef int result
        self.upstream = TcpEnd.__new__(TcpEnd)
        self.upstream.connection = self
        result = connect_next(self.dialer.reactor, self.upstream, self.addresses, &self.tried, self.until_ms)
        if result == NO_ADDRESS_LEFT:
            return self.refused()
        return self.connected() if result == CONNECTED else 0

    cdef int refused(self) except -1:
        """The server cannot be reached, so it has seen nothing of the client: try another one."""
        cdef TcpEnd upstream = self.upstream
        self.upstream = None
        self.server.stats.connect_errors += 1
        self.server.stats.responses[0] += 1
        self.balancer.note_end(self.server)
        self.balancer.note_failure(self.server)
        if upstream is not None:
            upstream.shut()
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
        """Tell the server who its client is."""
        cdef bytes header
        if self.local.text_len == 0:
            local_address(self.client.fd, &self.local)
        header = proxy_render(self.balancer.tcp.proxy_protocol, &self.address, &self.local)
        self.upstream.put_text(header, len(header))
        return 0

    cdef int on_ready(self, TcpEnd end, uint32_t events) except -1:
        # Also while connecting: a server may have said all it has to say, and ended, by the time it is seen to stand.
        end.note(events)
        if self.state == TCP_TUNNEL:
            return self.pump()
        if self.state != TCP_CONNECTING:
            return 0
        if end.is_client:
            if events & (EPOLLERR | EPOLLHUP):
                return self.drop()
            return 0
        if not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            return 0
        if events & (EPOLLERR | EPOLLHUP) and connect_error(end.fd):
            # This address is none: the server's name may have others.
            end.shut()
            return self.connect_another()
        return self.connected()

    cdef int on_timeout(self, TcpEnd end) except -1:
        if end.is_client:
            return self.close() if self.leaving else 0
        if self.state == TCP_CONNECTING:
            # The time of this address is over: the server's name may have others.
            end.shut()
            return self.connect_another()
        probe_when_idle(end.fd, self.balancer.tcp.keep_alive_s)
        return 0

    cdef int pump(self) except -1:
        """Carry what there is; when one side has ended, the other may go on for as long as the policy says."""
        cdef TcpPolicy policy = self.balancer.tcp
        if self.tunnel.pump():
            return self.close()
        if not self.leaving and policy.termination_ms >= 0 and (self.tunnel.up.ended or self.tunnel.down.ended):
            self.leaving = True
            self.dialer.reactor.arm(self.client, policy.termination_ms)
        return 0

    cdef int drain(self) except -1:
        """Nothing to do: what a connection of layer 4 carries has no end that could be waited for but its own."""
        return 0

    cdef int drop(self) except -1:
        self.entry_point.stats.errors[<int>ERROR_CLIENT_ABORT] += 1
        return self.close()

    cdef int close(self) except -1:
        """Close both ends. Safe to call twice."""
        if self.state == TCP_CLOSED:
            return 0
        self.state = TCP_CLOSED
        self.entry_point.stats.open_connections -= 1
        if self.server is not None:
            self.balancer.note_end(self.server)
            self.server = None
        while self.held:
            self.held -= 1
            (<ConnectionLimit>self.route.limits[self.held]).leave(&self.address)
        self.client.shut()
        if self.upstream is not None:
            self.upstream.shut()
        self.tunnel = None
        self.clients.discard(self)
        return 0
