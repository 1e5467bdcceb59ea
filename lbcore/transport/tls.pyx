"""TLS over OpenSSL, with a BIO of lbcore's own, which moves the bytes through the socket.

OpenSSL never sees the descriptor. It reads from `received`, which each receive fills as far as there is room, and writes to
`outgoing`, which is sent once after each call: a burst of records costs one system call each way.

    receive:   descriptor ─► received ─► SSL_read_ex ─► into
    send_two:  bytes ─► SSL_write_ex ─► outgoing ─► descriptor

Bytes are reported as taken when all of `outgoing` is sent. Until then the caller keeps them, and passes them again when there is
room. They are encrypted once: `held` is the number of passed bytes that are encrypted already.

An SSL is used by one thread, and its callbacks run inside of the calls. The BIO's data is the transport, borrowed: the transport
owns the session, which owns the SSL, which owns the BIO.
"""

import logging

cimport cython
from libc.errno cimport ECONNRESET, ENOMEM, EPROTO
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, strcmp

from lbcore.http.buffer cimport CHUNK_BYTES, LARGE_BYTES, Buffer, buffer_acquire, buffer_len, buffer_release, buffer_reserve, buffer_room
from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span, span_of
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.state.layout cimport (
    ERROR_ABUSE, HANDSHAKE_CERTIFICATE, HANDSHAKE_CLOSED, HANDSHAKE_GARBAGE, HANDSHAKE_REFUSED, HANDSHAKE_UNSHARED,
)
from lbcore.tls.connector cimport Target, connect
from lbcore.tls.end cimport End
from lbcore.tls.handshake cimport Acceptor, Handshake, accept
from lbcore.tls.openssl cimport *
from lbcore.transport.address cimport peer_address
from lbcore.transport.encryption cimport EncryptedTransport, Encryption, ServerEncryption
from lbcore.transport.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket

cdef enum:
    OUTGOING_BYTES = LARGE_BYTES       # most bytes encrypted before they are sent: four full records
    RECORD_BYTES = 16384       # most bytes of the caller in a record
    RECORD_EXTRA = 64          # more than a record adds to them
    BARREN_BYTES = 131072      # most bytes received without one for the caller: a whole record in pieces, tickets, changes of keys
    BIO_DESCRIPTOR = 0x0400    # BIO_TYPE_SOURCE_SINK
    PEER_ALERT = 1000          # SSL_AD_REASON_OFFSET
    VERIFY_FAILED = 134        # SSL_R_CERTIFICATE_VERIFY_FAILED
    NO_PEER_CERTIFICATE = 199  # SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE

_log = logging.getLogger("lbcore.transport")

# No suitable key share, signature algorithm, group; no shared cipher; the hello was refused; no application protocol; versions.
UNSHARED = frozenset({101, 118, 193, 234, 235, 258, 268, 390})


cdef int bio_read(void* bio, char* into, size_t size, size_t* got) noexcept:
    """Give OpenSSL bytes of `received`; if there are none, receive once."""
    cdef TlsTransport transport = <TlsTransport>BIO_get_data(bio)
    cdef Buffer* received = &transport.received
    cdef Socket socket
    cdef Py_ssize_t n = buffer_len(received)
    BIO_clear_flags(bio, BIO_READ | BIO_WRITE | BIO_RETRY | 0x04)
    got[0] = 0
    if n == 0:
        if transport.end_of_file:
            return 0
        if transport.socket == NULL or transport.dry or transport.out_of_turn:
            BIO_set_flags(bio, BIO_READ | BIO_RETRY)
            return 0
        socket = <Socket>transport.socket
        if socket.allowance <= 0:
            transport.out_of_turn = True
            BIO_set_flags(bio, BIO_READ | BIO_RETRY)
            return 0
        if buffer_acquire(received) < 0:
            socket.fault = ENOMEM
            return 0
        received.start = received.end = 0
        socket.readable = True
        n = socket.receive_plain(received, buffer_room(received))
        transport.dry = not socket.readable
        if n <= 0:
            buffer_release(received)
            if n == IO_AGAIN:
                BIO_set_flags(bio, BIO_READ | BIO_RETRY)
            else:
                transport.end_of_file = n == 0
            return 0
        transport.barren += n
        if transport.barren > BARREN_BYTES and transport.done:
            socket.fault = EPROTO
            buffer_release(received)
            return 0
    if <size_t>n > size:
        n = <Py_ssize_t>size
    memcpy(into, received.base + received.start, n)
    received.start += n
    if received.start == received.end:
        buffer_release(received)
    got[0] = <size_t>n
    return 1


cdef int bio_write(void* bio, const char* data, size_t size, size_t* written) noexcept:
    """Take encrypted bytes from OpenSSL as long as `outgoing` has room."""
    cdef TlsTransport transport = <TlsTransport>BIO_get_data(bio)
    cdef Buffer* outgoing = &transport.outgoing
    BIO_clear_flags(bio, BIO_READ | BIO_WRITE | BIO_RETRY | 0x04)
    written[0] = 0
    if buffer_len(outgoing) + <Py_ssize_t>size > OUTGOING_BYTES and transport.socket != NULL:
        if transport.flush(<Socket>transport.socket) == IO_FAILED:
            written[0] = size                  # `deaf`: OpenSSL need not know it, and goes on reading
            return 1
        if buffer_len(outgoing) + <Py_ssize_t>size > OUTGOING_BYTES:
            BIO_set_flags(bio, BIO_WRITE | BIO_RETRY)
            return 0
    if buffer_reserve(outgoing, <Py_ssize_t>size) < 0:
        return 0
    memcpy(outgoing.base + outgoing.end, data, size)
    outgoing.end += <Py_ssize_t>size
    written[0] = size
    return 1


cdef long bio_control(void* bio, int command, long number, void* pointer) noexcept:
    cdef TlsTransport transport
    if command == BIO_CTRL_FLUSH:
        return 1
    if command == BIO_CTRL_EOF:
        transport = <TlsTransport>BIO_get_data(bio)
        return 1 if transport.end_of_file and buffer_len(&transport.received) == 0 else 0
    return 0


cdef void* METHOD = BIO_meth_new(BIO_get_new_index() | BIO_DESCRIPTOR, b"lbcore socket")
if METHOD == NULL or BIO_meth_set_read_ex(METHOD, bio_read) != 1 or BIO_meth_set_write_ex(METHOD, bio_write) != 1 \
        or BIO_meth_set_ctrl(METHOD, bio_control) != 1:
    raise ImportError("OpenSSL takes no BIO of our own")


cdef const char* short_version(const char* version) noexcept:
    """The version without its prefix: `1.3` for `TLSv1.3`."""
    if strcmp(version, b"TLSv1") == 0:
        return b"1.0"
    return version + 4


cdef int tell_of_waste(EntryPoint entry_point, Socket socket) except -1:
    """A client's connection ends because it costs more than it brings. One line at DEBUG, since anybody may cause any number of them."""
    cdef ClientAddress peer
    entry_point.stats.errors[<int>ERROR_ABUSE] += 1
    if _log.isEnabledFor(logging.DEBUG):
        peer_address(socket.fd, &peer)
        _log.debug("entry point %s: the connection of %s ends: %d KiB came over TLS that carry nothing", entry_point.name,
                   peer.text[:peer.text_len].decode(), BARREN_BYTES // 1024)
    return 0


@cython.final
cdef class TlsTransport(EncryptedTransport):
    """One end of a connection."""

    def __dealloc__(self):
        buffer_release(&self.received)
        buffer_release(&self.outgoing)

    cdef bint is_open(self) noexcept:
        return self.session is not None and self.session.ssl != NULL and not self.failed

    cdef bint is_1_3(self) noexcept:
        return self.version != NULL and strcmp(self.version, b"1.3") == 0

    cdef int flush(self, Socket socket) noexcept:
        """Send `outgoing`. Returns 0 if all is sent, IO_AGAIN if there is no room, or IO_FAILED."""
        cdef Buffer* outgoing = &self.outgoing
        cdef Py_ssize_t waiting = buffer_len(outgoing)
        cdef Py_ssize_t sent
        self.ticket_waits = False
        if self.deaf:
            buffer_release(outgoing)
            return IO_FAILED
        if waiting:
            sent = socket.send_plain(span_of(outgoing.base + outgoing.start, waiting), span_of(NULL, 0))
            if sent == IO_FAILED:
                self.deaf = True
                buffer_release(outgoing)
                return IO_FAILED
            if sent != waiting:
                if sent > 0:
                    outgoing.start += sent
                return IO_AGAIN
        buffer_release(outgoing)
        if self.shuts:
            self.shuts = False
            socket.shut_write_plain()
        return 0

    cdef Py_ssize_t fail(self, Socket socket) noexcept:
        """Fail the connection. The alert that OpenSSL has written is sent to the peer, if there is room."""
        if not self.failed:
            self.flush(socket)
            self.failed = True
            if self.done and self.barren > BARREN_BYTES and self.entry_point is not None:
                tell_of_waste(<EntryPoint>self.entry_point, socket)
        if socket.fault == 0:
            socket.fault = EPROTO
        socket.hangup = True
        return IO_FAILED

    cdef int settle(self, Socket socket, int result) noexcept:
        """The reason why a call of OpenSSL returned nothing: 0 = the end, IO_AGAIN, with the socket's state set, or IO_FAILED."""
        cdef int error = SSL_get_error(self.session.ssl, result)
        if error == SSL_ERROR_SSL and self.reason is None:
            self.reason_number = failure_reason()
            self.reason = self.session.failure()
        clear_errors()
        self.read_wants_room = error == SSL_ERROR_WANT_WRITE
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            return IO_AGAIN
        if error == SSL_ERROR_ZERO_RETURN:
            self.ended = True
            socket.hangup = True
            return 0
        if error == SSL_ERROR_SYSCALL and self.reason is None:
            self.reason = "the connection ended" if self.end_of_file else "the connection broke"
        if error == SSL_ERROR_SYSCALL and socket.fault == 0:
            socket.fault = ECONNRESET
        return IO_FAILED

    cdef int handshake(self, Socket socket) noexcept:
        cdef int result, state
        cdef void* ssl
        cdef const unsigned char* protocol = NULL
        cdef unsigned int length = 0
        if not self.is_open():
            return IO_FAILED
        if self.done:
            return 0
        ssl = self.session.ssl
        if not socket.readable:
            self.dry = True
        self.socket = <void*>socket
        result = SSL_do_handshake(ssl)
        state = 0 if result == 1 else self.settle(socket, result)
        self.socket = NULL
        if result == 1:
            self.reason = self.session.check()
            if self.reason is not None:
                result, state = -1, IO_FAILED
        # The first bytes of the protocol may have arrived with the last ones of the handshake.
        socket.readable = not self.dry or buffer_len(&self.received) > 0
        if result == 1:
            self.done = True
            self.barren = 0
            self.version = short_version(SSL_get_version(ssl))
            self.cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl))
            self.server_name = self.session.server_name
            if self.session.asks_for_certificate:
                self.client_subject = self.session.peer_subject()
                self.client_chain = self.session.peer_chain()
            SSL_get0_alpn_selected(ssl, &protocol, &length)
            self.protocol = protocol[:length]
        elif state != IO_AGAIN:
            self.fail(socket)
            return IO_FAILED
        if self.done and buffer_len(&self.received) and self.is_1_3() and isinstance(self.session, Handshake):
            self.ticket_waits = True           # a request is here already, and one call sends both
            return 0
        state = self.flush(socket)
        if state == IO_AGAIN:
            state = socket.wait_for_output()
        if state == IO_FAILED:
            return IO_FAILED
        if not self.done and self.out_of_turn:
            self.out_of_turn = False
            if socket.rewatch() < 0:
                return IO_FAILED
        return 0 if self.done else IO_AGAIN

    cdef str failure(self):
        return self.reason or "the connection broke"

    cdef int cause(self) noexcept:
        cdef int number = self.reason_number
        if number == 0:
            return HANDSHAKE_CLOSED
        if number > PEER_ALERT:
            return HANDSHAKE_REFUSED
        if number == VERIFY_FAILED or number == NO_PEER_CERTIFICATE:
            return HANDSHAKE_CERTIFICATE
        if number in UNSHARED:
            return HANDSHAKE_UNSHARED
        return HANDSHAKE_GARBAGE

    cdef bint holds_under(self, Encryption encryption) noexcept:
        return encryption is None or (<Handshake>self.session).holds_under((<TlsEncryption>encryption).acceptor)

    # As of Transport

    cdef Py_ssize_t receive(self, Socket socket, Buffer* into, Py_ssize_t limit) noexcept:
        cdef Py_ssize_t total = 0
        cdef size_t got = 0
        cdef int result, state = 0
        if self.ended:
            return 0
        if not self.is_open():
            return IO_FAILED
        self.socket = <void*>socket
        self.out_of_turn = False
        while total < limit:
            result = SSL_read_ex(self.session.ssl, into.base + into.end, <size_t>(limit - total), &got)
            if result != 1:
                state = self.settle(socket, result)
                break
            into.end += <Py_ssize_t>got
            total += <Py_ssize_t>got
            self.barren = 0
            # What was received is used up, and nothing more is here: another call would find that out for the price of a record.
            if self.dry and buffer_len(&self.received) == 0 and SSL_pending(self.session.ssl) == 0:
                break
        self.socket = NULL
        if buffer_len(&self.outgoing) and not self.ticket_waits:       # an answer to a change of keys, or an alert
            if self.flush(socket) == IO_AGAIN:
                socket.wait_for_output()
        if state == IO_FAILED and total == 0:
            return self.fail(socket)
        # The next result is known without the descriptor: more bytes, the end, or a failure.
        socket.readable = not self.dry or self.ended or state == IO_FAILED or self.pending(socket)
        if self.out_of_turn:
            self.out_of_turn = False
            if not self.pending(socket):
                socket.readable = False
                if socket.rewatch() < 0:
                    socket.readable = True
                    socket.allowance = 1
        if state == IO_AGAIN and self.read_wants_room and socket.wait_for_output() == IO_FAILED:
            return IO_FAILED
        if total:
            return total
        return 0 if self.ended else IO_AGAIN

    cdef Py_ssize_t send_two(self, Socket socket, Span first, Span second) noexcept:
        cdef Span[2] pieces
        cdef Py_ssize_t skip = self.held, offered = first.len + second.len, size
        cdef size_t written = 0
        cdef int i, result, state = 0
        if not self.is_open() or self.deaf or self.finished and self.held == 0:
            if socket.fault == 0:
                socket.fault = ECONNRESET
            return IO_FAILED
        if self.held > offered or self.finished and self.held < offered:       # fewer bytes than last time, so not the ones that were encrypted
            socket.fault = EPROTO
            return self.fail(socket)
        pieces[0] = first
        pieces[1] = second
        self.socket = <void*>socket
        size = buffer_len(&self.outgoing) + (offered - skip) + (offered - skip + RECORD_BYTES - 1) // RECORD_BYTES * RECORD_EXTRA
        if size > CHUNK_BYTES:                 # not first a chunk, and then another block for what does not fit
            buffer_reserve(&self.outgoing, min(size, <Py_ssize_t>LARGE_BYTES) - buffer_len(&self.outgoing))
        for i in range(2):
            if skip >= pieces[i].len:
                skip -= pieces[i].len
                continue
            pieces[i] = span_of(pieces[i].ptr + skip, pieces[i].len - skip)
            skip = 0
            while pieces[i].len:
                result = SSL_write_ex(self.session.ssl, pieces[i].ptr, <size_t>pieces[i].len, &written)
                if result != 1:
                    state = self.settle(socket, result)
                    break
                self.held += <Py_ssize_t>written
                pieces[i] = span_of(pieces[i].ptr + written, pieces[i].len - <Py_ssize_t>written)
            if state != 0:
                break
        self.socket = NULL
        if state == IO_FAILED or self.ended and state == 0 and self.held < offered:
            return self.fail(socket)
        if self.last and state == 0:
            self.finish(socket)
        state = self.flush(socket)
        if state != 0:
            return state
        offered = self.held
        self.held = 0
        return offered if offered else IO_AGAIN

    cdef bint pending(self, Socket socket) noexcept:
        return self.is_open() and not self.ended and (buffer_len(&self.received) > 0 or SSL_pending(self.session.ssl) > 0)

    cdef uint32_t note(self, Socket socket, uint32_t events) noexcept:
        cdef int state
        if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self.dry = False
        if events & EPOLLOUT:
            if buffer_len(&self.outgoing) and self.held == 0:
                state = self.flush(socket)
                if state == IO_FAILED:
                    events |= EPOLLERR
            if self.read_wants_room:
                self.read_wants_room = False
                events |= EPOLLIN
        return events

    cdef bint peer_has_ended(self, Socket socket) noexcept:
        cdef char byte
        cdef size_t got = 0
        cdef int result, state
        if self.ended:
            return True
        if not self.is_open():
            return True
        if self.pending(socket):
            return False
        self.dry = False
        self.socket = <void*>socket
        result = SSL_peek_ex(self.session.ssl, &byte, 1, &got)
        state = 0 if result == 1 else self.settle(socket, result)
        self.socket = NULL
        socket.readable = not self.dry or result == 1 or self.ended
        self.out_of_turn = False
        if result == 1 or state == IO_AGAIN:
            return False
        if state == IO_FAILED:
            self.fail(socket)
        return True

    cdef void finish(self, Socket socket) noexcept:
        """Announce the end to the peer by close_notify."""
        if self.is_open() and self.done and not self.finished:
            self.finished = True
            self.socket = <void*>socket
            SSL_shutdown(self.session.ssl)
            self.socket = NULL
            clear_errors()

    cdef void end_follows(self, Socket socket) noexcept:
        self.last = True

    cdef void shut_write(self, Socket socket) noexcept:
        self.finish(socket)
        self.shuts = True
        if self.flush(socket) == IO_AGAIN:
            socket.wait_for_output()

    cdef void sever(self, Socket socket) noexcept:
        self.finished = True

    cdef void shut(self, Socket socket) noexcept:
        self.finish(socket)
        if not self.failed:
            self.flush(socket)
        if self.session is not None:
            self.session.free()
        clear_errors()
        buffer_release(&self.received)
        buffer_release(&self.outgoing)


cdef TlsTransport transport_of(End session, void* bio):
    """Over a BIO that is the session's from here on."""
    cdef TlsTransport transport = TlsTransport.__new__(TlsTransport)
    transport.session = session
    BIO_set_data(bio, <void*>transport)
    BIO_set_init(bio, 1)
    SSL_set_bio(session.ssl, bio, bio)
    return transport


cdef void* new_bio() except NULL:
    cdef void* bio = BIO_new(METHOD)
    if bio == NULL:
        clear_errors()
        raise MemoryError
    return bio


@cython.final
cdef class TlsEncryption(Encryption):
    """By an Acceptor."""

    def __cinit__(self, Acceptor acceptor):
        self.acceptor = acceptor
        self.wants_address = acceptor.certificates.has_addresses

    cdef EncryptedTransport accept(self, Buffer* received, bytes address):
        cdef End session = accept(self.acceptor, address)
        cdef TlsTransport transport = transport_of(session, new_bio())
        transport.received = received[0]
        received.base = NULL
        received.size = received.start = received.end = 0
        return transport


@cython.final
cdef class TlsServerEncryption(ServerEncryption):
    """To a Target."""

    def __cinit__(self, Target target):
        self.target = target

    cdef EncryptedTransport connect(self, bytes protocols):
        return transport_of(connect(self.target, protocols), new_bio())
