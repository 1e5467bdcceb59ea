"""A client by the system's OpenSSL, for what Python's `ssl` cannot do: changes of keys in TLS 1.3, by themselves."""

from __future__ import annotations

import ctypes
import socket
from typing import Any


def _functions() -> tuple[Any, Any]:
    crypto, ssl = ctypes.CDLL("libcrypto.so.3"), ctypes.CDLL("libssl.so.3")
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for library, name, result, arguments in (
        (crypto, "BIO_s_mem", pointer, []),
        (crypto, "BIO_new", pointer, [pointer]),
        (crypto, "BIO_read", number, [pointer, text, number]),
        (crypto, "BIO_write", number, [pointer, text, number]),
        (ssl, "TLS_client_method", pointer, []),
        (ssl, "SSL_CTX_new", pointer, [pointer]),
        (ssl, "SSL_CTX_free", None, [pointer]),
        (ssl, "SSL_new", pointer, [pointer]),
        (ssl, "SSL_free", None, [pointer]),
        (ssl, "SSL_set_bio", None, [pointer, pointer, pointer]),
        (ssl, "SSL_set_connect_state", None, [pointer]),
        (ssl, "SSL_do_handshake", number, [pointer]),
        (ssl, "SSL_key_update", number, [pointer, number]),
        (ssl, "SSL_write", number, [pointer, text, number]),
        (ssl, "SSL_read", number, [pointer, text, number]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return crypto, ssl


class OpensslClient:
    """A connection over TLS 1.3, whose handshake has been made. What it encrypts is sent by the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._crypto, self._ssl = _functions()
        self._context = self._ssl.SSL_CTX_new(self._ssl.TLS_client_method())
        self._end = self._ssl.SSL_new(self._context)
        memory = self._crypto.BIO_s_mem()
        self._incoming, self._outgoing = self._crypto.BIO_new(memory), self._crypto.BIO_new(memory)
        self._ssl.SSL_set_bio(self._end, self._incoming, self._outgoing)
        self._ssl.SSL_set_connect_state(self._end)
        while self._ssl.SSL_do_handshake(self._end) != 1:
            sock.sendall(self.encrypted())
            self._pull()
        sock.sendall(self.encrypted())

    def _pull(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._crypto.BIO_write(self._incoming, data, len(data))

    def encrypted(self) -> bytes:
        """What there is to send."""
        found, piece = b"", ctypes.create_string_buffer(65536)
        while (count := self._crypto.BIO_read(self._outgoing, piece, len(piece))) > 0:
            found += piece.raw[:count]
        return found

    def change_keys(self, count: int) -> bytes:
        """Records that change the client's keys so often, and ask each time for another key of the server, too."""
        for _ in range(count):
            assert self._ssl.SSL_key_update(self._end, 1) == 1
            self._ssl.SSL_do_handshake(self._end)
        return self.encrypted()

    def write(self, data: bytes) -> bytes:
        assert self._ssl.SSL_write(self._end, data, len(data)) == len(data)
        return self.encrypted()

    def until(self, end: bytes) -> bytes:
        """What comes, up to where `end` has come. Raises EOFError."""
        found, piece = b"", ctypes.create_string_buffer(16384)
        while end not in found:
            count = self._ssl.SSL_read(self._end, piece, len(piece))
            if count > 0:
                found += piece.raw[:count]
            else:
                self._pull()
        return found

    def close(self) -> None:
        self.sock.close()
        self._ssl.SSL_free(self._end)
        self._ssl.SSL_CTX_free(self._context)
