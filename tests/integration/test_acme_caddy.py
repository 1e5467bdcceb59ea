"""Certificates of another kind of CA, ordered, and renewed under load: Caddy's, whose ACME is that of smallstep."""

from __future__ import annotations

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.integration.test_clock import Clock
from tests.support.ca import (
    Authority,
    CaddyAuthority,
    authority,
    dynamic_for,
    get,
    issued,
    names_in,
    served,
    static_for,
)
from tests.support.instance import Backend, eventually, running


@contextlib.contextmanager
def records_by_http(ca: Authority) -> Iterator[str]:
    """The address that the provider `httpreq` posts records to, which the DNS of the CA then has."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/present"):
                ca.dns("set-txt", {"host": content["fqdn"], "value": content["value"]})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/dns"
    finally:
        server.shutdown()
        server.server_close()


def test_an_order_and_a_renewal_under_load(tmp_path: Path) -> None:
    """Caddy's shortest life is five minutes. Four minutes later by the clock of lbcore, the certificate is due."""
    clock = Clock(tmp_path)
    with contextlib.ExitStack() as stack:
        ca = stack.enter_context(authority(tmp_path / "ca", kind=CaddyAuthority))
        backend = stack.enter_context(contextlib.closing(Backend("served")))
        environ = {**clock.environ, "HTTPREQ_ENDPOINT": stack.enter_context(records_by_http(ca))}
        challenge = {"provider": "httpreq", "propagation": {"disableChecks": True}}
        dynamic = dynamic_for(backend, one="Host(`x.a.test`)")
        dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "a.test", "sans": ["*.a.test"]}]
        static = static_for(ca, tmp_path, dnsChallenge=challenge)
        stack.enter_context(running(tmp_path, dynamic, static=static, environ=environ))
        first = issued(ca, "x.a.test", 180)
        assert names_in(first) == {"a.test", "*.a.test"}
        problems, answers, done = list[str](), [0] * 3, threading.Event()

        def load(number: int) -> None:
            while not done.is_set():
                try:
                    answer = get(ca, "x.a.test")
                except (OSError, ssl.SSLError) as error:
                    answer = repr(error)
                if answer.endswith("served"):
                    answers[number] += 1
                else:
                    problems.append(answer)

        clients = [threading.Thread(target=load, args=(number,)) for number in range(len(answers))]
        for client in clients:
            client.start()
        try:
            clock.set("+4m")
            renewed = eventually(lambda: served(ca, "x.a.test") != first and served(ca, "x.a.test"), "a new one", 180)
            before = min(answers)
            eventually(lambda: min(answers) > before + 3 or problems, "all clients are served by the new one")
        finally:
            done.set()
            for client in clients:
                client.join()
        assert problems == []
        assert names_in(renewed) == names_in(first)
