"""A server of HTTP by a handler of Python's, on threads, in plain text or over TLS."""

from __future__ import annotations

import http.server
import ssl
import threading
from typing import Any

from tests.support.certificates import Files


class Quiet(http.server.BaseHTTPRequestHandler):
    """It keeps connections, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass


class ThreadedServer:
    """It serves from its beginning to `close`, on `port` of the loopback interface."""

    def __init__(self, handler: type[Quiet], tls: Files | None = None) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
