"""dns-01 by Cloudflare's API: the library that speaks to it, in a process of its own, and a stand-in for the API."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from pathlib import Path
from typing import Any

from tests.support.ca import authority, dynamic_for, issued, names_in, static_for
from tests.support.certificates import Files, certificate
from tests.support.instance import Backend, eventually, running
from tests.support.name_server import name_server

TOKEN = "a-token-of-cloudflare"


class Cloudflare:
    """A proxy behind which every host is the API, with the zone `test`. `put` is told of records."""

    def __init__(self, files: Files) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        self.put: Any = None
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
                self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]
                self.close_connection = False

            def do_GET(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                api.tokens.add(self.headers["Authorization"])
                path = self.path.partition("?")[0].removeprefix("/client/v4/zones")
                result: Any = list(api.records.values())
                if not path:
                    result = [{"id": "Z", "name": "test"}, {"id": "Y", "name": "other.test"}]
                elif self.command == "POST":
                    result = {**content, "id": f"R{len(api.records)}"}
                    api.records[result["id"]] = result
                    api.put(content)
                elif self.command == "DELETE":
                    result = api.records.pop(path.rpartition("/")[2])
                body = {"success": True, "errors": [], "result": result, "result_info": {"page": 1, "total_pages": 1}}
                data = json.dumps(body).encode()
                self.send_response_only(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_DELETE = do_GET

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_cloudflare(backend: Backend, tmp_path: Path) -> None:
    files = certificate(tmp_path, "api", "api.cloudflare.com")
    cloudflare = Cloudflare(files)
    with name_server(tmp_path / "dns") as server, authority(tmp_path / "ca") as ca:
        cloudflare.put = lambda record: ca.dns("set-txt", {"host": record["name"] + ".", "value": record["content"]})
        checks = {"disableChecks": True}
        challenge = {"provider": "cloudflare", "resolvers": [server], "propagation": checks}
        static = static_for(ca, tmp_path, dnsChallenge=challenge)
        dynamic = dynamic_for(backend, one="Host(`a.test`)")
        dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "*.a.test"}]
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        environ = {
            "CF_DNS_API_TOKEN_FILE": str(tmp_path / "token"),
            "HTTPS_PROXY": cloudflare.url,
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(files.certificate),
        }
        with running(tmp_path, dynamic, static=static, environ=environ) as instance:
            assert names_in(issued(ca, "x.a.test")) == {"*.a.test"}
            eventually(lambda: not cloudflare.records, "the record is taken away")
            assert cloudflare.tokens == {f"Bearer {TOKEN}"}
            assert TOKEN not in instance.log
    cloudflare.close()
