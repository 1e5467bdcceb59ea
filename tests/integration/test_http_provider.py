"""`providers.http`: a server gives the dynamic configuration, changes it, fails, and comes back."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.test_docker import api, ask, becomes, instance
from tests.support.instance import eventually
from tests.support.ports import free_port

GOOD = "http: {{routers: {{a: {{rule: Host(`{0}`), service: s}}}}, services: {{s: {{loadBalancer: {{servers: []}}}}}}}}"


class Source:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.status, self.text, self.tag = 200, "", ""
        self.asked: list[dict[str, str]] = []
        self.statuses: list[int] = []
        self.answers = threading.Event()  # cleared: it answers later
        self.answers.set()


@contextmanager
def serving(source: Source, port: int) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source.asked.append({key.lower(): value for key, value in self.headers.items()} | {"path": self.path})
            source.answers.wait()
            status, body = source.status, source.text.encode()
            if source.tag and self.headers.get("If-None-Match") == source.tag:
                status, body = 304, b""
            source.statuses.append(status)
            self.send_response(status)
            if source.tag:
                self.send_header("ETag", source.tag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_gives_the_configuration(tmp_path: Path) -> None:
    source, port = Source(), free_port()
    settings = {
        "endpoint": f"http://me:secret@127.0.0.1:{port}/dyn.yml?token=hidden",
        "pollInterval": "50ms",
        "headers": {"X-Key": "hidden"},
    }
    providers = {"providersThrottleDuration": "0s", "http": settings}
    with instance(tmp_path, "", providers=providers) as lb:
        lb.logged(r"provider http: http://127.0.0.1:\d+/dyn.yml: connection refused, nothing of it runs")
        source.text, source.tag = GOOD.format("one"), '"1"'
        with serving(source, port):
            becomes(lb, "one", 503)
            eventually(lambda: 304 in source.statuses, "304")
            assert source.asked[0]["x-key"] == "hidden"
            assert source.asked[0]["authorization"] == "Basic bWU6c2VjcmV0"
            assert source.asked[0]["path"] == "/dyn.yml?token=hidden"
            source.text, source.tag = GOOD.format("two"), '"2"'
            becomes(lb, "two", 503)
            assert ask(lb.port, "one")[0] == 404
            source.text, source.tag = "http: {routers: [", ""
            lb.logged(r"provider http: .*no valid YAML.*what runs stays")
            source.status = 500
            lb.logged(r"provider http: .*it answers 500.*what runs stays")
            source.status, source.text = 200, ""
            lb.logged(r"dyn.yml is empty: what runs stays")
            assert ask(lb.port, "two")[0] == 503
            # An object that is wrong is refused alone.
            source.text = GOOD.format("three") + "\n" + "tcp: {routers: {t: {rule: x, prio: 1}}}\n"
            becomes(lb, "three", 503)
            assert "unknown key 'prio'" in api(lb, "/api/tcp/routers/t@http")["error"][0]
        eventually(lambda: api(lb, "/api/providers")[0]["problems"], "a problem")
        assert ask(lb.port, "three")[0] == 503
        shown = lb.log + str(api(lb, "/api/state")) + str(api(lb, "/api/providers"))
        assert "secret" not in shown
        assert "hidden" not in shown


@pytest.mark.parametrize("size", [10, 1 << 21])
def test_an_answer_that_is_too_large_is_refused(tmp_path: Path, size: int) -> None:
    source, port = Source(), free_port()
    settings = {"endpoint": f"http://127.0.0.1:{port}", "pollInterval": "50ms", "maxResponseBodySize": size}
    with serving(source, port):
        source.text = "# " + "x" * size
        with instance(tmp_path, "", providers={"http": settings}) as lb:
            lb.logged("an answer is larger than " + ("10 bytes" if size == 10 else "2 MiB"))
            source.text = ""
            eventually(lambda: not api(lb, "/api/providers")[0]["problems"], "no problem")


def test_ping_answers_when_the_first_configuration_of_all_is_in_force(tmp_path: Path) -> None:
    source, port = Source(), free_port()
    source.text = GOOD.format("one")
    source.answers.clear()
    file = tmp_path / "file.yml"
    file.write_text(GOOD.format("two"))
    providers = {"file": {"filename": str(file)}, "http": {"endpoint": f"http://127.0.0.1:{port}"}}
    with serving(source, port), instance(tmp_path, "", providers=providers, ping={"entryPoint": "web"}) as lb:
        try:
            eventually(lambda: source.asked, "the provider asks")
            threading.Timer(0.3, source.answers.set).start()  # the file was read long before
            assert ask(lb.port, "any", "/ping")[0] == 200
            found = [ask(lb.port, "one")[0], ask(lb.port, "two")[0]]
            # A machine that is so busy that the wait for the provider ends before is the case of the next test.
            assert found == [503, 503] or "starting without it" in lb.log
        finally:
            source.answers.set()


def test_ping_answers_in_spite_of_a_provider_that_never_does(tmp_path: Path) -> None:
    source, port = Source(), free_port()
    source.answers.clear()
    file = tmp_path / "file.yml"
    file.write_text(GOOD.format("two"))
    providers = {
        "file": {"filename": str(file)},
        "http": {"endpoint": f"http://127.0.0.1:{port}", "pollTimeout": "60s"},
    }
    with serving(source, port), instance(tmp_path, "", providers=providers, ping={"entryPoint": "web"}) as lb:
        try:
            assert ask(lb.port, "any", "/ping")[0] == 200
            lb.logged("provider http has given no configuration within 5 s: starting without it")
            assert ask(lb.port, "two")[0] == 503
        finally:
            source.answers.set()
