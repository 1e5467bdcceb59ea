"""An accepted connection whose protocol is not known yet: the chain of steps that find out.

    PROXY header ─► first bytes ─► handshake ─► which connection serves

Each step reads what it needs from the socket's input, stores what it has learned in `Learned`, and calls the next step; a step that
lacks bytes waits for them in the reactor. Which steps there are depends on the entry point's configuration: the first byte
distinguishes TLS from plain text, and only TLS has a handshake. If routers of layer 4 take TLS, the ClientHello is read as a whole
first, and stays in the input: its server name decides which router matches, and whether TLS ends here. PostgreSQL's clients send an
SSLRequest before it, and wait for the answer. Bytes that no step used stay with the socket, or its transport.
"""

import logging

cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcmp

from lbcore.http.buffer cimport buffer_acquire, buffer_len, buffer_park, buffer_release, buffer_room
from lbcore.routing.asker cimport Asker
from lbcore.routing.tcp_route cimport TcpRoutes
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_CLIENT_ABORT, ERROR_CLIENT_TIMEOUT, ERROR_TLS, HANDSHAKE_CLOSED
from lbcore.transport.client_hello cimport HELLO_PARTIAL, ClientHello, hello_free, hello_read
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.encryption cimport EncryptedTransport, Encryption
from lbcore.transport.protocols cimport serve_socket
from lbcore.transport.proxy_protocol cimport PROXY_BAD, PROXY_PARTIAL, ProxyHeader, proxy_parse
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket
from lbcore.transport.tcp_client cimport POSTGRES_ASKS, POSTGRES_CONSENTS, serve_route

cdef enum:
    HANDSHAKE_RECORD = 0x16    # ContentType of RFC 8446, 5.1
    HANDSHAKE_MS = 60000       # limit of a handshake if neither heads nor requests have one

cdef bytes CHALLENGE_PROTOCOL = b"acme-tls/1"

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class Arrival(ClientConnection):
    """The listener makes it, as the owner of the socket, and calls `begin`.

    The first bytes show whether a connection has a PROXY header. A connection that sends nothing until `readTimeout` is passed on as
    one of layer 4, where the server may speak first.
    """

    cdef int begin(self, Reactor reactor) except -1:
        """Take as many steps as possible at once: usually the first bytes have arrived, and the socket need not be watched for them."""
        cdef int64_t limit_ms = self.entry_point.limits.read_timeout_ms
        self.socket.readable = True
        self.reactor = reactor
        self.proxy_done = self.entry_point.proxies is None
        self.proceed()
        if self.socket is None or self.waiting:
            return 0
        self.wait()
        return reactor.arm(self.socket, limit_ms) if limit_ms else 0

    cdef int wait(self) except -1:
        """Watch the socket in the reactor."""
        self.socket.watch(self.reactor, False)
        self.waiting = True
        self.opened_ms = self.reactor.now_ms
        self.enter()
        return 0

    cdef int proceed(self) except -1:
        """Continue the present step with the bytes that have arrived."""
        if self.socket.transport is not None:
            return self.shake_hands()
        return self.read_first_bytes() if self.proxy_done else self.read_proxy_header()

    cdef int read_proxy_header(self) except -1:
        cdef OwnedSocket socket = self.socket
        cdef ProxyHeader header
        cdef Py_ssize_t n
        if buffer_acquire(&socket.input) < 0:
            raise MemoryError
        while socket.readable:
            # There is room, because an incomplete header is shorter than any buffer.
            n = socket.receive(&socket.input, buffer_room(&socket.input))
            if n == IO_AGAIN:
                break
            if n <= 0:
                return self.refuse(ERROR_CLIENT_ABORT)
            n = proxy_parse(socket.input.base + socket.input.start, buffer_len(&socket.input), &header)
            if n == PROXY_BAD:
                return self.refuse(ERROR_BAD_REQUEST)
            if n != PROXY_PARTIAL:
                socket.input.start += max(n, 0)
                if header.names_ends and self.entry_point.proxies.hold(&self.learned.client):
                    self.learned.client = header.source
                    self.learned.local = header.target
                self.proxy_done = True
                return self.read_first_bytes() if self.entry_point.first_bytes_count else self.serve()
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
        else:
            buffer_park(&socket.input)
        return 0

    cdef int read_first_bytes(self) except -1:
        """Distinguish TLS by its first byte, the type of a handshake record, with which no other protocol here begins."""
        cdef OwnedSocket socket = self.socket
        cdef Py_ssize_t n
        while True:
            if buffer_len(&socket.input) and self.understand():
                return 0
            if not socket.readable:
                break
            if buffer_acquire(&socket.input) < 0:
                raise MemoryError
            # There is room: what is incomplete is shorter than a chunk.
            n = socket.receive(&socket.input, buffer_room(&socket.input))
            if n == IO_AGAIN:
                break
            if n <= 0:
                return self.close()
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
            return 0
        buffer_park(&socket.input)
        if not self.waiting:
            self.wait()
        if not self.hurried:
            self.hurried = True
            self.reactor.arm(socket, self.handshake_ms())
        return 0

    cdef int64_t handshake_ms(self) noexcept:
        return self.entry_point.limits.header_timeout_ms or HANDSHAKE_MS

    cdef int understand(self) except -1:
        """Go on by the bytes that are here. 0: there are too few."""
        cdef OwnedSocket socket = self.socket
        cdef const char* bytes = socket.input.base + socket.input.start
        cdef Py_ssize_t length = buffer_len(&socket.input)
        # The configuration in force may be another one by now, without TLS here.
        cdef bint reads_hello = self.entry_point.tcp is not None and len(self.entry_point.tcp.encrypted) > 0
        if bytes[0] == HANDSHAKE_RECORD and (reads_hello or self.learned.postgres):
            return self.read_hello()
        if self.learned.postgres:
            self.close()
        elif bytes[0] == HANDSHAKE_RECORD and self.entry_point.encryption is not None:
            self.start_encryption(<Encryption>self.entry_point.encryption)
        elif reads_hello and memcmp(bytes, <const char*>POSTGRES_ASKS, min(length, len(POSTGRES_ASKS))) == 0:
            return self.consent() if length >= len(POSTGRES_ASKS) else 0
        else:
            self.serve()
        return 1

    cdef int consent(self) except -1:
        """Agree to TLS with a PostgreSQL client, which sends its ClientHello afterwards. Returns as `understand`."""
        cdef OwnedSocket socket = self.socket
        socket.input.start += len(POSTGRES_ASKS)
        self.learned.postgres = True
        if not self.waiting:
            self.wait()
        if not self.hurried:
            self.hurried = True
            self.reactor.arm(socket, self.handshake_ms())
        socket.put_text(POSTGRES_CONSENTS, len(POSTGRES_CONSENTS))
        if socket.push() == IO_FAILED:
            self.close()
            return 1
        return self.understand() if buffer_len(&socket.input) else 0

    cdef int read_hello(self) except -1:
        """Find the router for a connection by its ClientHello. Returns as `understand`."""
        cdef OwnedSocket socket = self.socket
        cdef TcpRoutes routes = self.entry_point.tcp
        cdef ClientHello hello
        cdef Asker asker = Asker.__new__(Asker)
        cdef int result = hello_read(socket.input.base + socket.input.start, buffer_len(&socket.input), &hello)
        try:
            if result == HELLO_PARTIAL:
                return 0
            # What cannot be read asks for no name: TLS will refuse it in its own words.
            asker.address = &self.learned.client
            if routes is not None:
                self.route = routes.find_encrypted(asker, hello.name[:hello.name_len], hello.protocols, self.learned.postgres)
        finally:
            hello_free(&hello)
        if self.route is not None and self.route.acceptor is None:
            self.serve()
        elif self.route is not None:
            self.start_encryption(<Encryption>self.route.encryption)
        elif self.entry_point.encryption is None or self.learned.postgres:
            self.close()
        else:
            self.start_encryption(<Encryption>self.entry_point.encryption)
        return 1

    cdef int start_encryption(self, Encryption encryption) except -1:
        cdef OwnedSocket socket = self.socket
        cdef bytes address = b""
        if encryption.wants_address:
            if self.learned.local.text_len == 0:
                socket.local_address(&self.learned.local)
            address = self.learned.local.text[:self.learned.local.text_len]
        socket.transport = encryption.accept(&socket.input, address)
        if not self.waiting:
            self.wait()
        self.reactor.arm(socket, self.handshake_ms())
        return self.shake_hands()

    cdef int shake_hands(self) except -1:
        cdef EncryptedTransport transport = <EncryptedTransport>self.socket.transport
        cdef int result = transport.handshake(self.socket)
        if result == IO_AGAIN:
            return 0
        if result == 0:
            if transport.protocol == CHALLENGE_PROTOCOL:
                return self.close()                    # of tls-alpn-01 the handshake is all
            self.learned.encrypted = True
            transport.entry_point = self.entry_point
            return self.serve()
        self.tell_failure(transport.failure())
        self.entry_point.stats.handshakes_failed[transport.cause()] += 1
        return self.refuse(ERROR_TLS)

    def tell_failure(self, why: str) -> None:
        """One line of the log for a handshake that failed: who and why, at DEBUG, since anybody may cause any number of them."""
        if _log.isEnabledFor(logging.DEBUG):
            host = self.learned.client.text[:self.learned.client.text_len].decode()
            _log.debug("entry point %s: handshake with %s failed: %s", self.entry_point.name, host, why)

    cdef int serve(self) except -1:
        """All is known: hand the socket over to the connection that serves it."""
        cdef OwnedSocket socket = self.socket
        if self.waiting:
            self.waiting = False
            self.leave()
            self.entry_point.stats.accepted -= 1       # the connection that takes over counts itself
            self.reactor.disarm(socket)
        else:
            socket.watch(self.reactor, False)
        if buffer_len(&socket.input) == 0:
            buffer_release(&socket.input)
        self.socket = None
        try:
            if self.route is not None:
                return serve_route(self.route, socket, &self.learned, self.entry_point, self.dialer, self.connections)
            return serve_socket(socket, &self.learned, self.entry_point, self.dialer, self.connections)
        except:
            if socket.owner is self:
                self.socket = socket                   # no connection has taken it
            raise

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        socket.note(events)
        return self.proceed()

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        cdef TcpRoutes routes = self.entry_point.tcp
        cdef bint silent = socket.transport is None and buffer_len(&socket.input) == 0 and not self.learned.postgres
        if silent and routes is not None and len(routes.routes):
            return self.serve()
        if silent and self.proxy_done:
            return self.close()                        # the client has sent nothing
        if socket.transport is not None or self.hurried:
            self.tell_failure("it took too long")
            self.entry_point.stats.handshakes_failed[<int>HANDSHAKE_CLOSED] += 1
        return self.refuse(ERROR_CLIENT_TIMEOUT)

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error on a connection of entry point %s", self.entry_point.name, exc_info=error)
        self.close()

    cdef int refuse(self, int error) except -1:
        self.entry_point.stats.errors[error] += 1
        return self.close()

    cdef int drain(self) except -1:
        """Close if the client has sent nothing; otherwise continue, and serve what it has sent."""
        return self.close() if self.socket.transport is None and buffer_len(&self.socket.input) == 0 else 0

    cdef int abort(self) except -1:
        return self.close()

    cdef int64_t idle_since_ms(self) noexcept:
        """A connection whose client has sent nothing counts as idle."""
        return self.opened_ms if self.socket.transport is None and buffer_len(&self.socket.input) == 0 else -1

    cdef int close(self) noexcept:
        """Safe to call twice."""
        cdef OwnedSocket socket = self.socket
        if socket is None:
            return 0
        self.socket = None
        if self.waiting:
            self.leave()
        else:
            self.entry_point.stats.accepted += 1
        socket.shut()
        if socket.reactor is None:
            socket.owner = None                        # never watched, so the reactor does not release it
        return 0
