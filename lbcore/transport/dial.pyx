"""The establishment of a connection to a server, whatever protocol it is for.

    name ─► addresses, one after the other ─► header ─► question and consent ─► handshake ─► `established`, or `failed`

A Dial owns the socket meanwhile. The user of the connection derives from Dial, and gets exactly one call with the result.
"""

import logging

from libc.stdint cimport int64_t, uint32_t

from lbcore.http.buffer cimport buffer_acquire, buffer_release
from lbcore.routing.server cimport Server
from lbcore.state.layout cimport (
    ERROR_EOF, ERROR_GARBAGE, ERROR_INTERNAL, ERROR_REFUSED, ERROR_RESOLVE, ERROR_RESOURCE, ERROR_TIMEOUT, ERROR_TLS,
)
from lbcore.transport.connect cimport CONNECTED, NO_ADDRESS_LEFT, NO_RESOURCE, connect_next
from lbcore.transport.encryption cimport EncryptedTransport, ServerEncryption
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLOUT
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, OwnedSocket

cdef enum:
    HANDSHAKE_MS = 10000       # as in Traefik, which has no option for it either

_log = logging.getLogger("lbcore.transport")


cdef class Dial(SocketOwner):
    """Derive from it, set `server`, and call `dial`."""

    cdef int established(self, OwnedSocket socket) except -1:
        """The connection is established, encrypted if the server is configured so. The callee must take ownership of the socket
        at once. Bytes received already may be in `socket.input` or its transport."""
        socket.shut()
        return 0

    cdef int failed(self, int error) except -1:
        """The connection could not be established, for an ErrorKind. The server has seen at most a header and a handshake."""
        return 0

    cdef int offered(self, SocketOwner connection) except -1:
        """A ServerConnection can open streams: the one that this dial has led to, or another one to the same server."""
        return 0

    # Steps

    cdef int dial(self, Reactor reactor, object resolver, int64_t timeout_ms) except -1:
        """Begin. `timeout_ms`: for the name and the connect together; 0 = no limit. The result may come within this call."""
        cdef Server server = self.server
        self.reactor = reactor
        self.resolver = resolver
        self.socket = self.new_socket()
        if timeout_ms:
            self.until_ms = reactor.now_ms + timeout_ms
        if server.addresses is None:
            server.addresses = resolver.known(server.host, server.port)
        if server.addresses is not None:
            return self.connect(server.addresses)
        if timeout_ms:
            reactor.arm(self.socket, timeout_ms)
        if not resolver.resolve(server.host, server.port, self.resolved):
            reactor.hurry()
        return 0

    def new_socket(self):
        cdef OwnedSocket socket = OwnedSocket.__new__(OwnedSocket)
        socket.owner = self
        return socket

    def resolved(self, addresses, lacking) -> None:
        """The name was resolved: to addresses, or to None. `lacking`: there are none because this process lacks a resource."""
        if self.step != DIAL_RESOLVING:
            return
        self.reactor.enter()
        try:
            if addresses is None:
                self.fail(ERROR_RESOURCE if lacking else ERROR_RESOLVE)
            else:
                self.connect(addresses)
        except Exception as error:
            self.socket_failed(self.socket, error)

    cdef int connect(self, tuple addresses) except -1:
        """Begin to connect to the first of the addresses."""
        self.step = DIAL_CONNECTING
        self.addresses = addresses
        return self.connect_next_address()

    cdef int connect_next_address(self) except -1:
        cdef int result = connect_next(self.reactor, self.socket, self.addresses, &self.tried, self.until_ms)
        if result == NO_ADDRESS_LEFT:
            return self.fail(ERROR_REFUSED)
        if result == NO_RESOURCE:
            return self.fail(ERROR_RESOURCE)
        return self.connected() if result == CONNECTED else 0

    cdef int give_up_address(self, int error) except -1:
        """The present address failed: try the next one, or fail with this ErrorKind."""
        if self.addresses is None or self.tried >= len(self.addresses):
            return self.fail(error)
        self.socket.shut()
        self.socket = self.new_socket()
        return self.connect_next_address()

    cdef int connected(self) except -1:
        """An address has taken the connection."""
        cdef OwnedSocket socket = self.socket
        # A new connection takes more than these are long.
        if self.header is not None:
            socket.put_text(self.header, len(self.header))
        if self.question is not None:
            socket.put_text(self.question, len(self.question))
        if socket.push() == IO_FAILED:
            return self.fail(ERROR_REFUSED)
        if self.question is None:
            return self.encrypt()
        self.step = DIAL_QUESTION
        self.reactor.arm(socket, HANDSHAKE_MS)
        return self.read_consent()

    cdef int read_consent(self) except -1:
        cdef OwnedSocket socket = self.socket
        cdef Py_ssize_t n
        cdef bint consents
        if not socket.readable:
            return 0
        if buffer_acquire(&socket.input) < 0:
            raise MemoryError
        n = socket.receive(&socket.input, 1)
        consents = n == 1 and socket.input.base[socket.input.start] == (<const char*>self.consent)[0]
        buffer_release(&socket.input)
        if n == IO_AGAIN:
            return 0
        if n <= 0:
            return self.fail(ERROR_EOF)
        return self.encrypt() if consents else self.fail(ERROR_GARBAGE)

    cdef int encrypt(self) except -1:
        """Begin TLS, if the server uses it."""
        cdef ServerEncryption encryption
        if self.server.target is None:
            return self.hand_over()
        encryption = <ServerEncryption>self.server.encryption
        self.step = DIAL_HANDSHAKE
        self.socket.transport = encryption.connect(self.protocols)
        self.reactor.arm(self.socket, HANDSHAKE_MS)
        return self.shake_hands()

    cdef int shake_hands(self) except -1:
        cdef EncryptedTransport transport = <EncryptedTransport>self.socket.transport
        cdef int result = transport.handshake(self.socket)
        if result == IO_AGAIN:
            return 0
        if result == 0:
            return self.hand_over()
        (<ServerEncryption>self.server.encryption).log(self.server.name, transport.failure())
        return self.fail(ERROR_TLS)

    cdef int hand_over(self) except -1:
        cdef OwnedSocket socket = self.socket
        self.step = DIAL_OVER
        self.socket = None
        self.reactor.disarm(socket)
        try:
            return self.established(socket)
        except Exception as error:
            if socket.owner is not self:
                raise                      # the new owner of the socket handles it
            _log.error("internal error over a new connection to %s", self.server, exc_info=error)
            socket.shut()
            return self.failed(ERROR_INTERNAL)

    cdef int fail(self, int error) except -1:
        if self.step == DIAL_OVER:
            return 0
        self.abort()
        return self.failed(error)

    cdef int abort(self) noexcept:
        """Close without a call of `established` or `failed`. Safe to call twice."""
        cdef OwnedSocket socket = self.socket
        self.step = DIAL_OVER
        self.socket = None
        if socket is not None:
            socket.shut()
            if socket.reactor is None:
                socket.owner = None        # never watched, so the reactor does not release it
        return 0

    # Events

    cdef int socket_ready(self, OwnedSocket socket, uint32_t events) except -1:
        events = socket.note(events)
        if self.step == DIAL_HANDSHAKE:
            return self.shake_hands()
        if self.step == DIAL_QUESTION:
            return self.read_consent()
        if self.step != DIAL_CONNECTING or not events & (EPOLLOUT | EPOLLERR | EPOLLHUP):
            return 0
        # The server may have sent all its bytes and closed before this event: an error is only what connect_error says.
        if events & (EPOLLERR | EPOLLHUP) and socket.connect_error():
            return self.give_up_address(ERROR_REFUSED)
        return self.connected()

    cdef int socket_timeout(self, OwnedSocket socket) except -1:
        if self.step == DIAL_HANDSHAKE or self.step == DIAL_QUESTION:
            return self.fail(ERROR_TIMEOUT)
        # Without addresses the name is still being resolved, which counts to the time of the connect.
        return self.give_up_address(ERROR_TIMEOUT)

    cdef void socket_failed(self, OwnedSocket socket, object error) noexcept:
        _log.error("internal error while connecting to %s", self.server, exc_info=error)
        try:
            self.fail(ERROR_INTERNAL)
        except Exception as again:
            _log.error("internal error after a connection was given up", exc_info=again)
