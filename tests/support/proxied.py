"""A proxy behind which every host is a web API of a test: clients come by HTTPS_PROXY, and trust its certificate."""

from __future__ import annotations

import http.server
import ssl
import threading
from pathlib import Path

from tests.support.certificates import Files


class Proxied:
    """Derive from it, and answer requests. `close` it at the end."""

    def __init__(self, files: Files) -> None:
        self._trusted: Path = files.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                self.send_response_only(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", 0)
                self.close_connection = False

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                data = api.answer(self.command, self.path, dict(self.headers), body)
                self.send_response_only(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_DELETE = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """The body of the answer."""
        raise NotImplementedError

    @property
    def environ(self) -> dict[str, str]:
        """The variables with which a process comes here."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._server.server_address[1]}",
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(self._trusted),
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
