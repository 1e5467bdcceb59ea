"""A connection of layer 4: choose a server by the client's address, connect, and move bytes inside the kernel."""

import logging
import socket

cimport cython
from libc.errno cimport EINPROGRESS
from libc.stdint cimport int64_t, uint32_t

from lbcore.http.request cimport Request
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.tcp_route cimport ConnectionLimit, TcpPolicy
from lbcore.state.layout cimport ERROR_CLIENT_ABORT, ERROR_INTERNAL, ERROR_NO_SERVER, ERROR_REFUSED
from lbcore.transport.address cimport local_address
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT
from lbcore.transport.proxy_protocol cimport proxy_render
from lbcore.transport.socket cimport Socket
from lbcore.transport.tunnel cimport Tunnel

cdef extern from "<sys/socket.h>" nogil:
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)
    enum:
        SOL_SOCKET
        SO_ERROR

cdef enum:
    ATTEMPTS = 3               # servers tried until one can be reached

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
        cdef object addresses
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
            self.addresses = self.server.addresses
            self.address_at = -1
            return self.connect_next()
        self.dialer.reactor.hurry()
        self.dialer.resolver.resolve(self.server.host, self.server.port, self.resolved)
        return 0

    def resolved(self, addresses) -> None:
        """The name's addresses are here, or None if it has none."""
        if self.state != TCP_CONNECTING:
            return
        try:
            if addresses is None:
                self.refused()
            else:
                self.addresses = addresses
                self.address_at = -1
                self.connect_next()
        except Exception as error:
            self.client.fail(error)

    cdef int connect_next(self) except -1:
        """Begin a connection to the next address of the server; without one left it cannot be reached."""
        cdef int64_t keep_alive_s = self.balancer.tcp.keep_alive_s
        while self.address_at + 1 < len(self.addresses):
            self.address_at += 1
            family, target = self.addresses[self.address_at]
            try:
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
                if family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if keep_alive_s > 0:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keep_alive_s)
                        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, keep_alive_s)
                result = sock.connect_ex(target)
            except OSError as error:
                _log.warning("cannot connect to %s: %s", self.server.key, error)
                continue
            if result not in (0, EINPROGRESS):
                sock.close()
                continue
            self.upstream = TcpEnd.__new__(TcpEnd)
            self.upstream.connection = self
            self.upstream.watch(self.dialer.reactor, sock.detach(), True)
            if self.balancer.policy.dial_timeout_ms:
                self.dialer.reactor.arm(self.upstream, self.balancer.policy.dial_timeout_ms)
            return self.connected() if result == 0 else 0
        return self.refused()

    cdef int unreachable(self) except -1:
        """The address at work is none: its name may have others."""
        self.upstream.shut()
        self.upstream = None
        return self.connect_next()

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
        if self.decision.failed is None:
            self.decision.failed = []
        self.decision.failed.append(self.server)
        self.server = None
        return self.dial()

    cdef int connected(self) except -1:
        self.state = TCP_TUNNEL
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
        cdef int error = 0
        cdef unsigned int size = sizeof(error)
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
        if events & (EPOLLERR | EPOLLHUP):
            getsockopt(end.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        return self.unreachable() if error else self.connected()

    cdef int on_timeout(self, TcpEnd end) except -1:
        if self.state == TCP_CONNECTING and not end.is_client:
            return self.refused()
        if self.leaving:
            return self.close()
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
