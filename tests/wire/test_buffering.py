"""buffering: bodies that are whole before they go on, limits, files, and answers that are asked for again."""

from __future__ import annotations

import base64
import contextlib
import os
import tempfile
import threading
import zlib
from typing import Any

import bcrypt
import pytest

from lbcore.config.middlewares.buffering import Buffering as Config
from lbcore.middleware.buffering import Buffering
from tests.support.http2 import Http2Client
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import GET, config, post, recorders, through
from tests.support.wire import TIMEOUT_S, Peer, edge, serving
from tests.wire.test_grpc_web import PAGE, framed, frames
from tests.wire.test_http2_servers import Call, Http2Server


def buffered(url: str, **options: Any) -> dict[str, Any]:
    return through(url, {"buffering": options})


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, 100_000, 3_000_000])
@pytest.mark.parametrize("memory", [0, 50_000])
def test_bodies_are_whole_and_have_a_length(chunked: bool, size: int, memory: int) -> None:
    body = os.urandom(size)
    options = {"memRequestBodyBytes": memory, "memResponseBodyBytes": memory}
    with recorders("a") as (a,), edge(buffered(a.url, **options)) as lb:
        a.answer = lambda first, headers, body: (200, body)
        client = lb.client()
        for _ in range(3):
            first, headers, text = client.ask(post(body, chunked))
            assert (first.split()[1], headers["content-length"], text == body) == ("200", str(size), True)
        assert client.ask(GET)[2] == b""
        assert [asked[2] == body for asked in a.requests] == [True] * 3 + [False]
        assert {asked[1].get("content-length") for asked in a.requests[:3]} == {str(size)}
        assert a.connections == 1
        eventually(lambda: lb.proxy._region.body_memory == 0, "the memory is given back")  # type: ignore[union-attr]


def test_an_empty_body_has_a_length_where_the_method_wants_one() -> None:
    with recorders("a") as (a,), edge(buffered(a.url)) as lb:
        client = lb.client()
        for method, length in (("POST", "0"), ("PUT", "0"), ("PATCH", "0"), ("DELETE", None)):
            client.ask(f"{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
            assert a.requests[-1][1].get("content-length") == length
            assert "transfer-encoding" not in a.requests[-1][1]


def test_no_server_is_asked_before_the_request_is_complete() -> None:
    with recorders("a") as (a,), edge(buffered(a.url)) as lb:
        client = lb.client()
        request = post(b"x" * 200_000)
        client.send(request[:-1])
        for _ in range(5):
            lb.settle()
        assert a.connections == 0
        client.send(request[-1:])
        assert client.message()[2] == b"a"
        gone = lb.client()
        gone.send(request[:-1])
        lb.settle()
        gone.close()
        assert client.ask(GET)[2] == b"a"
        assert len(a.requests) == 2


def test_the_client_gets_nothing_before_the_answer_is_complete() -> None:
    sent, go_on = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        sent.set()
        assert go_on.wait(TIMEOUT_S)
        peer.send(b"3\r\ndef\r\n0\r\n\r\n")

    with serving(script) as server, edge(buffered(server.url)) as lb:
        client = lb.client()
        client.send(GET)
        assert sent.wait(TIMEOUT_S)
        lb.settle()
        client.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.sock.recv(1)
        client.sock.settimeout(TIMEOUT_S)
        go_on.set()
        _, headers, text = client.message()
        assert (headers["content-length"], text, "transfer-encoding" in headers) == ("6", b"abcdef", False)


def test_a_server_that_fails_in_its_body_is_answered_for() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 X\r\nContent-Length: 6\r\n\r\nabc")

    with serving(script) as server, edge(buffered(server.url)) as lb:
        first, _, text = lb.ask(GET)
        assert (first.split()[1], text) == ("502", b"Bad Gateway")


def behind(outer: dict[str, Any], url: str) -> dict[str, Any]:
    """A service that buffers, behind another middleware of the router."""
    dynamic = through(url, outer)
    dynamic["http"]["middlewares"]["buffer"] = {"buffering": {}}
    dynamic["http"]["services"]["all"]["middlewares"] = ["buffer"]
    return dynamic


FRAMINGS = [b"Content-Length: 5000\r\n\r\n%s", b"Transfer-Encoding: chunked\r\n\r\n1388\r\n%s\r\n0\r\n\r\n"]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_outer_middleware_that_changes_the_length_has_the_last_word(framing: bytes) -> None:
    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError):
            while True:
                peer.message()
                peer.send(b"HTTP/1.1 200 X\r\nContent-Type: text/plain\r\n" + framing % (b"a" * 5000))

    with serving(script) as server, edge(behind({"compress": {}}, server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            _, headers, body = client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
            assert (headers["content-encoding"], "content-length" in headers) == ("gzip", False)
            assert zlib.decompress(body, 31) == b"a" * 5000
        assert client.ask(GET)[1]["content-length"] == "5000"


@pytest.mark.parametrize("message", [b"hello", b""])
def test_trailers_pass(message: bytes) -> None:
    def script(call: Call) -> None:
        call.head(200, ("content-type", "application/grpc"))
        call.data(framed(message) if message else b"")
        call.end(("grpc-status", "5"))

    server = Http2Server(script)
    with edge(buffered(server.url)) as lb:
        client = Http2Client(lb.client().sock)
        answer = client.ask("POST", "/", ("content-type", "application/grpc"), ("te", "trailers"), body=b"")
        assert (answer.body, answer.trailers) == (framed(message) if message else b"", {"grpc-status": "5"})
    with edge(behind({"grpcWeb": {"allowOrigins": [PAGE]}}, server.url)) as lb:
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n"
        assert frames(lb.ask(request)[2]) == ([message] if message else [], {"grpc-status": "5"})
    server.listener.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_longer_requests_are_refused(chunked: bool, caplog: pytest.LogCaptureFixture) -> None:
    with recorders("a") as (a,), edge(buffered(a.url, maxRequestBodyBytes=10_000)) as lb:
        assert lb.ask(post(bytes(10_000), chunked))[2] == b"a"
        client = lb.client()
        client.send(post(bytes(10_001), chunked))
        first, _, text = client.message()
        assert (first.split()[1], text) == ("413", b"Request Entity Too Large")
        assert len(a.requests) == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("chunked", [False, True])
def test_without_files_bodies_are_shed(
    chunked: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    options = {"memRequestBodyBytes": 1000, "memResponseBodyBytes": 1000}
    with recorders("a") as (a,), edge(buffered(a.url, **options)) as lb:
        a.answer = lambda first, headers, body: (200, bytes(5000) if body else b"")
        for body in (bytes(5000), b"x", bytes(5000)):  # a request, an answer, and a request once more
            first, _, text = lb.ask(post(body, chunked))
            assert (first.split()[1], text) == ("503", b"Service Unavailable")
        assert [len(seen[2]) for seen in a.requests] == [1]
        assert lb.ask(post(b"", chunked))[0].split()[1] == "200"
        assert lb.proxy._region.bodies_shed == 3
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) <= 1 and not any(record.exc_info for record in errors)


@pytest.mark.parametrize("chunked", [False, True])
def test_longer_answers_are_refused(chunked: bool) -> None:
    def script(peer: Peer) -> None:
        for size in (10_000, 10_001):
            peer.message()
            if chunked:
                peer.send(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
                peer.send(b"%x\r\n%s\r\n0\r\n\r\n" % (size, bytes(size)))
            else:
                peer.send(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (size, bytes(size)))

    with serving(script) as server, edge(buffered(server.url, maxResponseBodyBytes=10_000)) as lb:
        client = lb.client()
        assert client.ask(GET)[2] == bytes(10_000)
        first, _, text = client.ask(GET)
        assert (first.split()[1], text) == ("500", b"Internal Server Error")


def test_an_answer_that_is_too_long_or_breaks_off_is_one_of_lbcore_to_the_middlewares_in_front() -> None:
    head = b"HTTP/1.1 200 X\r\nX-Old: 1\r\nTransfer-Encoding: chunked\r\n\r\n"

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while not (first := peer.message()[0]).startswith("GET /break"):
                if "/page" in first:
                    peer.send(b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\nsorry")
                else:
                    peer.send(head + b"14\r\n%s\r\n0\r\n\r\n" % bytes(20))
            peer.send(head + b"5\r\nhello\r\n")

    page = {"errors": {"status": ["500-599"], "service": "all", "query": "/page"}}
    set_by = {name: {"headers": {"customResponseHeaders": {f"X-{name}": "1"}}} for name in ("outer", "inner")}
    with serving(script) as server:
        asked = config({}, all=server.url)
        asked["http"]["middlewares"] = {"buffer": {"buffering": {"maxResponseBodyBytes": 10}}, "page": page, **set_by}
        asked["http"]["middlewares"]["type"] = {"contentType": {}}
        routers = asked["http"]["routers"]
        routers["all"]["middlewares"] = ["outer", "buffer", "inner"]
        for name, middlewares in (
            ("paged", ["outer", "type", "page", "buffer", "inner"]),
            ("gated", ["outer", "page"]),
            ("inside", ["outer", "buffer", "page", "inner"]),
        ):
            routers[name] = {**routers["all"], "rule": f"Host(`{name}`)", "priority": 99, "middlewares": middlewares}
        routers["gated"]["service"] = "guarded"
        guarded = {"loadBalancer": {"servers": [{"url": server.url}]}, "middlewares": ["buffer", "inner"]}
        asked["http"]["services"]["guarded"] = guarded
        with edge(asked) as lb:
            client = lb.client()
            for path, status in (("/long", "500"), ("/break", "502")):
                for host, text in (("paged", b"sorry"), ("gated", b"sorry"), ("x", None), ("inside", None)):
                    for _ in range(2):
                        first, headers, body = client.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                        assert first.split()[1] == status
                        assert body == (text or {"500": b"Internal Server Error", "502": b"Bad Gateway"}[status])
                        assert headers.get("x-outer") == "1"
                        assert not {"x-inner", "x-old"} & set(headers)


def test_a_slow_client_holds_no_server() -> None:
    body = os.urandom(20_000_000)
    with recorders("a") as (a,), edge(buffered(a.url)) as lb:
        answers: list[bytes] = []
        a.answer = lambda *request: (200, answers.append(body) or body)  # type: ignore[func-returns-value]
        client = lb.client()
        client.send(GET)
        eventually(lambda: answers, "it answers")
        a.answer = lambda *request: (200, b"next")
        assert lb.ask(GET)[2] == b"next"
        assert client.message()[2] == body


@pytest.mark.parametrize(
    ("expression", "statuses", "method", "asked"),
    [
        ("ResponseCode() == 503 && Attempts() < 3", [503, 503, 503], "GET", 3),
        ("ResponseCode() == 503 && Attempts() <= 2", [503, 200], "GET", 2),
        ("IsNetworkError()", [502, 504, 503], "GET", 3),
        ("ResponseCode() >= 500 && RequestMethod() == \"PUT\"", [500, 200], "PUT", 2),
        ("ResponseCode() >= 500 && RequestMethod() == \"PUT\"", [500, 200], "POST", 1),
        ("ResponseCode() == 503", [503] * 20, "POST", 11),
    ],
)
@pytest.mark.parametrize("size", [0, 200_000])
def test_expressions(expression: str, statuses: list[int], method: str, asked: int, size: int) -> None:
    body = os.urandom(size)
    with recorders("a") as (a,), edge(buffered(a.url, retryExpression=expression)) as lb:
        left = list(statuses)
        a.answer = lambda *request: (left.pop(0), b"x")
        first, _, _ = lb.ask(post(body).replace(b"POST", method.encode(), 1))
        assert (first.split()[1], len(a.requests)) == (str(statuses[asked - 1]), asked)
        assert all(seen[2] == body for seen in a.requests)


def test_servers_that_cannot_be_reached() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with edge(buffered(url, retryExpression="IsNetworkError() && Attempts() < 3")) as lb:
        assert lb.ask(post(b"x" * 1000))[0].split()[1] == "502"


def test_with_other_filters_and_a_fallback() -> None:
    """As the middleware of a service whose answer is dropped: the fallback gets the whole body."""
    body = os.urandom(300_000)
    with recorders("main", "spare") as (main, spare):
        services = {
            "main": {"loadBalancer": {"servers": [{"url": main.url}]}, "middlewares": ["whole"]},
            "all": {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}},
        }
        dynamic = config(services, spare=spare.url)
        dynamic["http"]["middlewares"] = {"whole": {"buffering": {}}, "small": {"compress": {}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["small", "whole"]
        main.answer = lambda *request: (503, b"no")
        with edge(dynamic) as lb:
            for chunked in (False, True):
                assert lb.ask(post(body, chunked))[2] == b"spare"
            assert [seen[2] == body for seen in main.requests + spare.requests] == [True] * 4


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("place", ["router", "service", "both", "other filter behind", "other filter in front"])
def test_several_filters_and_attempts(chunked: bool, place: str) -> None:
    body = os.urandom(300_000)
    text = place.startswith("other")
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = {
            "whole": {"buffering": {}},
            "web": {"grpcWeb": {}},
            "again": {"retry": {"attempts": 2, "status": ["503"], "retryNonIdempotentMethod": True}},
        }
        names = {
            "service": ["again"],
            "other filter behind": ["again", "whole", "web"],
            "other filter in front": ["web", "again", "whole"],
        }
        dynamic["http"]["routers"]["all"]["middlewares"] = names.get(place, ["again", "whole", "whole"])
        if place in ("service", "both"):
            dynamic["http"]["services"]["all"]["middlewares"] = ["whole"]
        with edge(dynamic) as lb:
            sent = base64.b64encode(body) if text else body
            kind = b"\r\nContent-Type: application/grpc-web-text\r\n\r\n"
            request = post(sent, chunked).replace(b"\r\n\r\n", kind, 1)
            statuses: list[int] = []
            a.answer = lambda *asked: (statuses.pop(0), b"x")
            for _ in range(2):
                statuses[:] = [503, 200]
                first, _, _ = lb.ask(request if text else post(body, chunked))
                given = 503 if place == "other filter behind" else 200  # what has passed that filter is gone
                assert first.split()[1] == str(given)
                assert {seen[2] == body for seen in a.requests} == {True}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, 300_000])
def test_what_is_answered_as_soon_as_the_request_is_complete(chunked: bool, size: int) -> None:
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    limit = {"rateLimit": {"average": 1, "period": "1h"}}
    dynamic["http"]["middlewares"] = {"whole": {"buffering": {}}, "limit": limit}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["whole", "limit"]
    with edge(dynamic) as lb:
        client = lb.client()
        for status in ("503", "429", "429"):
            assert client.ask(post(bytes(size), chunked))[0].split()[1] == status
        two = post(bytes(size), chunked) * 2
        client.send(two)
        assert [client.message()[0].split()[1] for _ in range(2)] == ["429"] * 2


@pytest.mark.parametrize("size", [3, 300_000])
def test_a_wait_behind_another_filter(size: int) -> None:
    """The whole request has come while a middleware behind the next filter waits: no stream is there to give it to."""
    body = os.urandom(size)
    secret = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        dynamic["http"]["middlewares"] = {
            "whole": {"buffering": {}},
            "web": {"grpcWeb": {}},
            "door": {"basicAuth": {"users": [f"ann:{secret}"]}},
        }
        dynamic["http"]["routers"]["all"]["middlewares"] = ["whole", "web", "door"]
        fields = b"\r\nContent-Type: application/grpc-web-text\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n\r\n"
        request = post(base64.b64encode(body), False).replace(b"\r\n\r\n", fields, 1)
        with edge(dynamic) as lb:
            client = lb.client()
            client.send(request * 2)
            assert [client.message()[0].split()[1] for _ in range(2)] == ["200"] * 2
            assert [seen[2] for seen in a.requests] == [body] * 2


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown function"):
        Buffering("whole@file", Config.model_validate({"retryExpression": "Nope()"}))
