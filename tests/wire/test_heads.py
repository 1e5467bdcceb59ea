"""Log fields of a head belong to that head, however late the line is written and whatever the connection does."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.wire import Edge, Peer, config_for, edge, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = b"GET /private/token=abc123%s HTTP/1.1\r\nHost: secret.test\r\nConnection: close\r\n\r\n"
ALL_HEADERS = {"format": "json", "fields": {"headers": {"defaultMode": "keep"}}}


def logging_to(path: Path, **more: Any) -> dict[str, Any]:
    return {"accessLog": {"filePath": str(path), **more}}


def lines(path: Path, count: int) -> list[str]:
    eventually(lambda: path.exists() and path.read_text().count("\n") >= count, "lines of the log")
    return path.read_text().splitlines()


def test_tunnel_is_logged_with_the_request_that_opened_it(tmp_path: Path) -> None:
    def switch(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        for _ in range(3):
            peer.send(peer.exactly(300))

    log = tmp_path / "log"
    with serving(switch) as server, edge(config_for(server.url), static=logging_to(log)) as lb:
        client = lb.client()
        client.send(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.head()[0].split()[1] == "101"
        for _ in range(3):
            client.send(b"SECRET-PAYLOAD-" * 20)
            client.exactly(300)
        client.close()
        (line,) = lines(log, 1)
        assert '"GET /chat HTTP/1.1" 101' in line


@pytest.mark.parametrize("chunked", [False, True])
def test_headers_in_the_log_are_those_of_the_answer(tmp_path: Path, chunked: bool) -> None:
    """The body comes when the head was dealt with long ago; the trailers of a chunked one are no headers."""
    on = threading.Event()

    def late(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        if chunked:
            peer.send(b"HTTP/1.1 200 OK\r\nX-Kind: mine\r\nTransfer-Encoding: chunked\r\n\r\n")
            on.wait(10)
            peer.send(b"3e8\r\n" + b"secretbody" * 100 + b"\r\n0\r\nX-Sum: 1\r\n\r\n")
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nX-Kind: mine\r\nContent-Length: 1000\r\n\r\n")
            on.wait(10)
            peer.send(b"secretbody" * 100)

    log = tmp_path / "log"
    with serving(late) as server, edge(config_for(server.url), static=logging_to(log, **ALL_HEADERS)) as lb:
        client = lb.client()
        client.send(GET)
        client.head()
        on.set()
        if chunked:
            assert client.chunks() == (b"secretbody" * 100, b"X-Sum: 1\r\n")
        else:
            client.exactly(1000)
        found = json.loads(lines(log, 1)[0])
        told = {name: value for name, value in found.items() if name.startswith("downstream_")}
        assert told.pop("downstream_X-Kind") == "mine"
        assert set(told) <= {"downstream_Content-Length", "downstream_Transfer-Encoding"}
        assert "ecret" not in json.dumps(found)


@pytest.mark.parametrize("form", ["common", "json"])
def test_head_that_was_not_understood_says_nothing_of_another(tmp_path: Path, form: str) -> None:
    log = tmp_path / "log"
    more = ALL_HEADERS if form == "json" else {}
    static = {**logging_to(log, **more), "metrics": {"prometheus": {}}}
    with serving() as server, edge(config_for(server.url), static=static) as lb:
        for padding in (0, 300_000):
            client = lb.client()
            client.send(LONG % (b"a" * padding))
            client.to_the_end()
            client.close()
            for wrong in (b"B@D  x\r\n\r\n", b"G\x00\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"):
                assert lb.ask(wrong)[0].split()[1] == "400"
        for line in (line for line in lines(log, 8) if "400" in line.split('"')[2] or form == "json"):
            if form == "json":
                found = json.loads(line)
                if found["DownstreamStatus"] != 400:
                    continue
                assert found["RequestMethod"] == found["RequestPath"] == found["RequestProtocol"] == "-"
                assert "RequestHost" not in found
                assert "secret" not in line
            else:
                assert '"- - -" 400' in line
            assert "token" not in line


def test_refusal_after_head_has_the_body_it_announces() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        for _ in range(3):
            client = lb.client()
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            client.to_the_end()
            assert lb.ask(b"B@D x\r\n\r\n")[2] == b"400 Bad Request"


def test_a_refused_host_is_named_as_the_reason() -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        for host in ("<name>.test", "${NAME}.test", "a b"):
            body = lb.ask(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())[2]
            assert body == b"400 Bad Request: malformed Host header"
        assert lb.ask(b"GET / HTTP/1.1\r\n\r\n")[2] == b"400 Bad Request: missing required Host header"
        assert lb.ask(b"GET x HTTP/1.1\r\nHost: a\r\n\r\n")[2] == b"400 Bad Request"


def test_half_a_head_is_logged_with_its_own_client(tmp_path: Path) -> None:
    log = tmp_path / "log"
    limits = {"respondingTimeouts": {"readTimeout": "500ms"}}
    with serving() as server, edge(config_for(server.url), static=logging_to(log), transport=limits) as lb:
        slow = lb.client()
        slow.send(b"GET / HTTP/1.1\r\nHo")
        lb.ask(GET)  # its connection is closed, and its exchange free for the next one
        assert slow.to_the_end().startswith(b"HTTP/1.1 4")
        assert lines(log, 2)[1].startswith("127.0.0.1 - - [")


def fields(count: int) -> bytes:
    return b"".join(b"X-%d: 1\r\n" % i for i in range(count))


@pytest.mark.parametrize("count", [31, 32, 33, 255, 256, 257, 300, 5000])
def test_many_header_lines_pass_both_ways(count: int) -> None:
    """With lines added on the way: a sticky cookie, a middleware's header."""
    seen: list[bytes] = []

    def many(peer: Peer) -> None:
        for _ in range(2):
            seen.append(peer.until(b"\r\n\r\n"))
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + fields(count) + b"\r\n")

    with serving(many) as server:
        dynamic = config_for(server.url, sticky={"cookie": {"name": "s"}})
        dynamic["http"]["routers"]["all"]["middlewares"] = ["more"]
        dynamic["http"]["middlewares"] = {
            "more": {"headers": {"customRequestHeaders": {"X-More": "1"}, "customResponseHeaders": {"X-Less": "1"}}}
        }
        with edge(dynamic) as lb:
            client = lb.client()
            for _ in range(2):
                first, headers, _ = client.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(count) + b"\r\n")
                assert first.split()[1] == "200"
                assert headers["x-less"] == "1" and "set-cookie" in headers and headers[f"x-{count - 1}"] == "1"
                assert b"X-More: 1\r\n" in seen[-1] and b"X-%d: 1\r\n" % (count - 1) in seen[-1]


def test_header_lines_of_a_request_have_a_limit() -> None:
    def asked(lb: Edge, count: int) -> str:
        return lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(count) + b"\r\n")[0].split()[1]

    with serving() as server:
        with edge(config_for(server.url), http={"maxHeaderLines": 100}) as lb:
            assert asked(lb, 99) == "200"
            assert asked(lb, 100) == "431"
            assert asked(lb, 3000) == "431"
        with edge(config_for(server.url)) as lb:
            assert asked(lb, 9999) == "200"
            assert asked(lb, 10000) == "431"


def test_many_lines_and_many_connection_options_take_no_time_together() -> None:
    options = b"Connection: " + b"," * 900_000 + b"x-4000\r\n"
    with serving() as server, edge(config_for(server.url)) as lb:
        began = time.monotonic()
        asked = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(9000) + options + b"\r\n")
        assert asked[0].split()[1] == "400"
        few = b"Connection: " + b",".join(b"x-%d" % i for i in range(200)) + b"\r\n"
        assert lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields(9000) + few + b"\r\n")[0].split()[1] == "200"
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("count", [1, 200])
def test_names_in_connection_are_looked_up_in_no_time(count: int) -> None:
    """Among as many lines as a head may have: the costs are about those of the lines."""
    options = b"Connection: " + b",".join(b"x-%d" % i for i in range(count)) + b"\r\n"
    requests = [
        b"GET /none HTTP/1.1\r\nHost: none\r\n" + more + b"a: b\r\n" * 9000 + b"\r\n" for more in (b"", options)
    ]
    dynamic = config_for("http://127.0.0.1:1")
    dynamic["http"]["routers"]["all"]["rule"] = "Host(`a`)"
    with edge(dynamic) as lb:
        client = lb.client()
        costs: list[list[float]] = [[], []]
        for _ in range(10):
            for found, request in zip(costs, requests, strict=True):
                began = time.process_time()
                assert client.ask(request)[0].split()[1] == "404"
                found.append(time.process_time() - began)
        assert min(costs[1]) < 6 * min(costs[0])
