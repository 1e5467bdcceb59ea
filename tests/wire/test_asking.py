"""Middlewares that ask a service before a request goes on: its answer decides, and nothing is left under way."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.native import with_asking, with_filters
from tests.support.ports import free_port
from tests.support.recorder import GET, config, counters, post, recorders
from tests.support.wire import Edge, Peer, edge, serving

PLACES = ["router", "service"]


@pytest.fixture(name="asking")
def known_asking(monkeypatch: pytest.MonkeyPatch) -> Any:
    return with_asking(monkeypatch)


def guarded(place: str, auth: Any, url: str) -> dict[str, Any]:
    services = auth if isinstance(auth, dict) else {"loadBalancer": {"servers": [{"url": auth}], "maxConnections": 1}}
    dynamic = config({"auth": services}, all=url)
    # What stands in its place refers to the service, too, so that a change of that concerns it.
    dynamic["http"]["middlewares"] = {"asking": {"errors": {"service": "auth", "status": ["599"], "query": "/"}}}
    where = dynamic["http"]["routers"]["all"] if place == "router" else dynamic["http"]["services"]["all"]
    where["middlewares"] = ["asking"]
    return dynamic


def idle(lb: Edge, *members: str) -> None:
    for member in members:
        eventually(lambda member=member: counters(lb, member).in_flight == 0, f"nothing is under way at {member}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("body", [b"", b"x" * 300_000])
def test_the_answer_of_the_service_decides(asking: Any, place: str, body: bytes) -> None:
    with recorders("a", "auth") as (a, auth), edge(guarded(place, auth.url, a.url)) as lb:
        for chunked in (False, True):
            request = post(body, chunked) if body else GET
            assert lb.ask(request)[2] == b"a"
            first, headers, text = auth.requests[-1]
            assert (first.split()[0], headers["host"], text) == ("GET", "shop.test", b"")
            assert not {"content-length", "transfer-encoding"} & headers.keys()
            assert a.requests[-1][2] == body
        auth.answer = lambda *request: (401, b"who are you?")
        first, headers, text = lb.ask(GET)
        assert (first.split()[1], headers["x-asked"], text) == ("401", "auth", b"who are you?")
        assert len(a.requests) == 2
        assert asking.errors == [-1, -1, -1]
        idle(lb, f"auth@file|{auth.url}", f"all@file|{a.url}")


def test_a_body_of_its_own_goes_along_and_is_sent_again_to_a_fallback(asking: Any) -> None:
    asking.sends = os.urandom(500_000)
    with recorders("a", "main", "spare") as (a, main, spare):
        main.answer = lambda *request: (503, b"")
        dynamic = guarded("router", main.url, a.url)
        services = dynamic["http"]["services"]
        services["main"], services["spare"] = services["auth"], {"loadBalancer": {"servers": [{"url": spare.url}]}}
        services["auth"] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}
        with edge(dynamic) as lb:
            assert lb.ask(post(b"y" * 70_000, chunked=True))[2] == b"a"
            assert [server.requests[0][2] for server in (main, spare)] == [asking.sends] * 2
            assert a.requests[0][2] == b"y" * 70_000


@pytest.mark.parametrize("place", PLACES)
def test_without_an_answer_the_middleware_is_told_why(asking: Any, place: str) -> None:
    with recorders("a", "auth") as (a, auth):
        with edge(guarded(place, f"http://127.0.0.1:{free_port()}", a.url)) as lb:
            assert lb.ask(GET)[0].split()[1] == "502"
            lb.apply(guarded(place, {"loadBalancer": {"servers": []}}, a.url))
            assert lb.ask(GET)[0].split()[1] == "503"
            assert all(error >= 0 for error in asking.errors)
            lb.apply(guarded(place, auth.url, a.url))
            auth.answer = lambda *request: (403, b"x" * 1001)
            assert lb.ask(GET)[0].split()[1] == "500"
            auth.answer = lambda *request: (403, b"x" * 1000)
            assert lb.ask(GET)[2] == b"x" * 1000
            assert asking.errors[2:] == ["long", -1]
            assert a.requests == []
            idle(lb, f"auth@file|{auth.url}")


@pytest.mark.parametrize(
    ("headers", "auth_answers", "status"),
    [
        (b"X-Limit: 100000", 200, 413),  # the body that goes along
        (b"X-Answer-Limit: 10", 200, 500),  # the answer of the server
        (b"X-Answer-Limit: 1", 0, 500),  # an answer of lbcore's own: the server cannot be reached
        (b"X-Unused: 1", -1, 500),  # the server ends inside its answer
    ],
)
def test_what_a_filter_refuses_of_the_question_or_its_answer_is_heard(
    asking: Any, monkeypatch: pytest.MonkeyPatch, headers: bytes, auth_answers: int, status: int
) -> None:
    with_filters(monkeypatch)
    asking.sends, asking.limit_bytes = os.urandom(500_000), 1_000_000

    def partly(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.exactly(500_000)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")

    with recorders("a", "auth") as (a, auth), serving(partly) as broken:
        auth.answer = lambda *request: (200, b"x" * 300_000)
        url = {200: auth.url, 0: f"http://127.0.0.1:{free_port()}", -1: broken.url}[auth_answers]
        dynamic = guarded("router", url, a.url)
        dynamic["http"]["middlewares"]["tap"] = {"addPrefix": {"prefix": "/unused"}}
        dynamic["http"]["services"]["auth"]["middlewares"] = ["tap"]
        with edge(dynamic) as lb:
            asked = GET.replace(b"\r\n\r\n", b"\r\n" + headers + b"\r\n\r\n")
            for count in (1, 2):
                assert lb.ask(asked)[0].split()[1] == str(status)
                assert len(asking.errors) == count
                idle(lb, f"auth@file|{url}", f"all@file|{a.url}")
            assert a.requests == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("end", ["time", "client"])
def test_the_question_ends_with_its_time_and_with_its_client(asking: Any, place: str, end: str) -> None:
    with recorders("a", "auth") as (a, auth), edge(guarded(place, auth.url, a.url)) as lb:
        assert lb.ask(GET)[2] == b"a"
        hold = Gate()
        auth.answer = hold.answer
        asking.timeout_ms = 300 if end == "time" else 20000
        client = lb.client()
        client.send(post(b"x" * 1000))
        eventually(lambda: len(auth.requests) == 2, "the service is asked")
        if end == "time":
            assert client.message()[0].split()[1] == "500"
            assert asking.errors == [-1, "late"]
        else:
            client.close()
        idle(lb, f"auth@file|{auth.url}", f"all@file|{a.url}")
        hold.open()
        asking.timeout_ms = 20000
        assert lb.ask(GET)[2] == b"a"
        assert len(a.requests) == 2


class Gate:
    """Answers of a server that wait until the test lets them go."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def answer(self, *request: Any) -> tuple[int, bytes]:
        assert self.opened.wait(20)
        return 200, b""

    def open(self) -> None:
        self.opened.set()
