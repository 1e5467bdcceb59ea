"""Middlewares in Python: what they see, change and wait for, and that what goes wrong in them hurts nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from lbcore.middleware_api import Request, Response
from lbcore.process.embedded import Proxy
from lbcore.state.counters import CallCounters
from tests.support.instance import eventually
from tests.support.recorder import GET, Recorder, post, recorders
from tests.support.wire import Edge, Peer, edge

PLACES = ["router", "service"]


class Broken:
    def __await__(self) -> Any:
        raise LookupError("as the test wants it")


class Odd:
    def __getattr__(self, name: str) -> Any:
        raise LookupError("as the test wants it")


class Scripted:
    """Does what the header `X-Do` of a request says: `method=what`. Has each answer tell how it was called."""

    def __init__(self) -> None:
        self.held: list[asyncio.Event] = []
        self.cancelled = 0
        self.kept: list[Any] = []
        self.after: list[BaseException] = []

    def on_request(self, request: Request) -> Any:
        request.state["count"] = 1
        return self.do("in", request, None)

    def on_response(self, request: Request, response: Response) -> Any:
        response.headers["X-Count"] = str(request.state["count"] + 1)
        return self.do("back", request, response)

    def do(self, way: str, request: Request, response: Response | None) -> Any:
        wish = request.headers.get("X-Do", "").partition("=")
        if wish[0] != way:
            return None
        what, _, later = wish[2].rpartition("-")
        return self.later(later, request, response) if what == "async" else self.now(later, request, response)

    def now(self, what: str, request: Request, response: Response | None) -> Any:
        if what == "answer":
            return Response(403, "no", [("X-A", "1"), ("X-A", "2")])
        if what == "raise":
            raise LookupError("as the test wants it")
        if what == "exit":
            raise SystemExit(3)
        if what == "number":
            return 3
        if what == "self":
            return response
        if what in ("unmodified", "empty"):
            return Response(304 if what == "unmodified" else 204, headers={"ETag": '"1"'})
        if what in ("broken", "odd"):
            self.kept += [request, *([response] if response else [])]
            return Broken() if what == "broken" else Odd()
        if what == "keep":
            self.kept += [request, request.headers, *([response, response.headers] if response else [])]
        if what == "inject":
            (request if response is None else response).headers["X-A"] = "a\r\nX-B: b"
        if what == "sleep":
            time.sleep(0.03)
        return None

    async def later(self, what: str, request: Request, response: Response | None) -> Any:
        if what != "wait":
            await asyncio.sleep(0)
            return self.now(what, request, response)
        event = asyncio.Event()
        self.held.append(event)
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            try:
                request.headers["X-A"] = "1"
            except RuntimeError as error:
                self.after.append(error)
            raise
        finally:
            self.held.remove(event)
        request.headers["X-Waited"] = "yes"
        return None

    def release(self) -> None:
        for event in self.held:
            event.set()


def behind(place: str, *names: str, **urls: str) -> dict[str, Any]:
    """Everything to `all`, behind middlewares; `/free` past them."""
    services = {name: {"loadBalancer": {"servers": [{"url": url}]}} for name, url in urls.items()}
    routers: dict[str, Any] = {
        "all": {"rule": "PathPrefix(`/`)", "service": "all"},
        "free": {"rule": "Path(`/free`)", "priority": 100, "service": "other" if "other" in urls else "all"},
    }
    config: dict[str, Any] = {"http": {"routers": routers, "services": services}}
    (routers if place == "router" else services)["all"]["middlewares"] = list(names)
    return config


def asks(do: str, request: bytes = GET) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\nX-Do: %s\r\n\r\n" % do.encode(), 1)


def counters(lb: Edge, name: str = "one@file") -> CallCounters:
    current = lb.proxy._publication.current
    assert current is not None
    return lb.proxy._region.call_counters(current.snapshot.slots.servers[f"middleware:{name}|calls"])


def in_loop(lb: Edge, call: Callable[[], Any]) -> Any:
    async def run() -> Any:
        return call()

    return asyncio.run_coroutine_threadsafe(run(), lb._loop).result(30)


def held(lb: Edge, one: Scripted, count: int = 1) -> None:
    eventually(lambda: len(one.held) == count, f"{count} calls wait")


def sent(lb: Edge, request: bytes, **options: Any) -> Peer:
    client = lb.client(**options)
    client.send(request)
    return client


class World:
    """One proxy with the class in front of everything, for all cases."""

    def __init__(self, lb: Edge, server: Recorder, one: Scripted) -> None:
        self.lb = lb
        self.server = server
        self.one = one


@pytest.fixture(name="world", scope="module", params=PLACES)
def a_world(request: pytest.FixtureRequest) -> Iterator[World]:
    one = Scripted()
    with recorders("a", "b") as (a, b):
        dynamic = behind(request.param, "one", all=a.url, other=b.url)
        with edge(dynamic, middlewares={"one": one}) as lb:
            yield World(lb, a, one)


def test_headers_are_changed_both_ways() -> None:
    class Changing:
        def on_request(self, request: Request) -> None:
            assert request.headers.getall("X-Two") == ["1", "2"]
            request.headers["X-Two"] = "3"
            request.headers.add("X-Two", "4")
            request.headers["X-Real-Ip"] = "192.0.2.9"
            request.headers["Host"] = "inner.test"
            del request.headers["X-Gone"]
            request.path, request.query = "/changed", "y=2"

        def on_response(self, request: Request, response: Response) -> None:
            assert (response.status, response.headers["x-from"]) == (200, "a")
            response.status = 203
            response.headers["X-From"] = "b"
            response.headers.add("Set-Cookie", "c=1")
            response.headers.add("Set-Cookie", "d=2")

    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": Changing()}) as lb:
        client = sent(lb, b"GET /x?y=1 HTTP/1.1\r\nHost: shop.test\r\nX-Two: 1\r\nX-Gone: 1\r\nX-Two: 2\r\n\r\n")
        raw = client.until(b"\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 203 Non-Authoritative Information\r\n")
        assert raw.count(b"X-From: b\r\n") == raw.count(b"Set-Cookie: c=1\r\nSet-Cookie: d=2\r\n") == 1
        first, headers, _ = a.requests[0]
        assert first == "GET /changed?y=2 HTTP/1.1"
        assert (headers["host"], headers["x-real-ip"], headers["x-two"]) == ("inner.test", "192.0.2.9", "4")
        assert "x-gone" not in headers


def test_what_a_request_tells() -> None:
    class Telling:
        def on_request(self, request: Request) -> Response:
            seen = (request.method, request.scheme, request.host, request.path, request.query, request.version)
            return Response(200, " ".join((*seen, request.client, str(request.client_port > 0))))

    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": Telling()}) as lb:
        _, headers, text = lb.ask(b"PUT /a%20b?c=d HTTP/1.1\r\nHost: Shop.test:80\r\nContent-Length: 0\r\n\r\n")
        assert text == b"PUT http shop.test /a%20b c=d HTTP/1.1 127.0.0.1 True"
        assert headers["content-type"] == "text/plain; charset=utf-8"
        client = sent(lb, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        _, headers, _ = client.message(body=False)
        assert int(headers["content-length"]) > 0
        assert client.ask(GET)[0].startswith("HTTP/1.1 200")
        assert not a.requests


@pytest.mark.parametrize("do", ["in=now-answer", "in=async-answer"])
def test_a_class_answers(world: World, do: str) -> None:
    before = len(world.server.requests)
    client = sent(world.lb, asks(do))
    head = client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n") and b"X-A: 1\r\nX-A: 2\r\n" in head
    assert client.exactly(2) == b"no"
    assert client.ask(GET)[2] == b"a"
    assert len(world.server.requests) == before + 1


@pytest.mark.parametrize("do", ["back=now-answer", "back=async-answer"])
def test_a_class_gives_another_answer_in_place_of_the_servers(world: World, do: str) -> None:
    client = world.lb.client()
    first, headers, text = client.ask(asks(do))
    assert (first.split()[1], text, "x-from" in headers) == ("403", b"no", False)
    assert client.ask(GET)[1]["x-from"] == "a"


@pytest.mark.parametrize("do", ["back=now-self", "back=async-self", "in=now-pass", "in=async-pass", "back=async-pass"])
def test_a_class_lets_pass_and_keeps_its_state(world: World, do: str) -> None:
    first, headers, text = world.lb.ask(asks(do))
    assert (first.split()[1], headers["x-count"], text) == ("200", "2", b"a")


@pytest.mark.parametrize("way", ["in", "back"])
@pytest.mark.parametrize("mode", ["now", "async"])
@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("raise", "LookupError: as the test wants it"),
        ("exit", "SystemExit: 3"),
        ("number", "has to give a Response or None, not int"),
        ("inject", "ValueError: control characters in the value of X-A"),
    ],
)
def test_an_error_is_answered_with_500_and_logged_once(
    world: World, way: str, mode: str, what: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, failed = len(world.server.requests), counters(world.lb).failed
    with caplog.at_level(logging.WARNING):
        client = world.lb.client()
        first, headers, body = client.ask(asks(f"{way}={mode}-{what}"))
        assert (first.split()[1], body, "x-from" in headers) == ("500", b"Internal Server Error", False)
        assert "x-b" not in headers
        assert client.ask(GET)[2] == b"a"
        assert world.lb.ask(GET.replace(b"/x", b"/free"))[2] == b"b"
    assert counters(world.lb).failed == failed + 1
    assert len(world.server.requests) == before + 1 + (way == "back")
    records = [record for record in caplog.records if record.name == "lbcore.middleware"]
    whole = [record for record in records if record.exc_info and "has failed" in record.getMessage()]
    assert len(whole) == 1
    assert "middleware one@file" in whole[0].getMessage()
    assert text in caplog.text and ("Traceback" in caplog.text) == (what != "number")


def test_many_errors_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    one = Scripted()
    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": one}) as lb:
        with caplog.at_level(logging.ERROR):
            client, begun = lb.client(), time.monotonic()
            for _ in range(300):
                assert client.ask(asks("in=now-raise"))[0].split()[1] == "500"
            took_s = time.monotonic() - begun
        whole = [record for record in caplog.records if record.exc_info]
        assert 50 <= len(whole) <= 50 * (2 + int(took_s))
        assert counters(lb).failed == 300


def uses(kept: list[Any]) -> list[Callable[[], object]]:
    request, headers, *rest = kept
    names = ("method", "path", "query", "client", "user", "body", "state")
    found: list[Callable[[], object]] = [
        *(partial(getattr, request, name) for name in names),
        lambda: request.headers.items(),
        lambda: headers["X-Do"],
        lambda: headers.__setitem__("X-A", "1"),
        lambda: list(headers),
        lambda: setattr(request, "path", "/"),
    ]
    if rest:
        found += [lambda: rest[0].status, lambda: rest[1]["X-From"], lambda: setattr(rest[0], "status", 500)]
    return found


@pytest.mark.parametrize("do", ["in=now-keep", "in=async-keep", "back=now-keep", "back=async-keep"])
def test_a_view_is_closed_when_its_call_is_over(world: World, do: str) -> None:
    world.one.kept.clear()
    client = world.lb.client()
    assert client.ask(asks(do))[2] == b"a"
    kept = [*world.one.kept]
    assert len(kept) == (2 if do.startswith("in") else 4)
    for _ in range(2):
        for use in uses(kept):
            with pytest.raises(RuntimeError, match="is over"):
                use()
        assert "is over" in repr(kept[0]) + repr(kept[1])
        # The exchange is used again: the view must not show the other request.
        assert client.ask(GET.replace(b"/x", b"/other"))[2] == b"a"


@pytest.mark.parametrize("do", ["in=broken", "back=broken", "in=odd", "back=odd"])
def test_what_cannot_be_awaited_is_an_error_and_its_views_are_closed(world: World, do: str) -> None:
    client = world.lb.client()
    assert client.ask(asks(do))[0].startswith("HTTP/1.1 500 ")
    assert client.ask(GET)[0].startswith("HTTP/1.1 200 ")
    assert world.one.kept
    for view in world.one.kept:
        assert "over" in repr(view)
    world.one.kept.clear()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("do", ["in=unmodified", "back=unmodified", "in=empty", "back=empty"])
def test_an_answer_that_never_has_a_body_tells_no_length(world: World, do: str, method: bytes) -> None:
    """A cache would take the length of a 304 for that of what it has."""
    client = sent(world.lb, asks(do).replace(b"GET", method, 1))
    head = client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 304 " if "un" in do else b"HTTP/1.1 204 ")
    assert b'ETag: "1"' in head and b"content-length" not in head.lower()
    assert client.ask(GET)[0].startswith("HTTP/1.1 200 ")


def test_a_view_that_was_kept_as_an_answer_is_an_error(world: World) -> None:
    world.one.kept.clear()
    assert world.lb.ask(asks("back=now-keep"))[2] == b"a"
    response = world.one.kept[2]

    class Wrong:
        def on_request(self, request: Request) -> Any:
            return response

    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": Wrong()}) as lb:
        assert lb.ask(GET)[0].split()[1] == "500"


def test_one_answer_is_given_any_number_of_times() -> None:
    class Constant:
        def __init__(self) -> None:
            self.answer = Response(429, b"x" * 100_000, {"Retry-After": "1"})

        def on_request(self, request: Request) -> Response:
            return self.answer

    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": Constant()}) as lb:
        client = lb.client()
        for _ in range(3):
            first, headers, text = client.ask(GET)
            assert (first.split()[1], headers["retry-after"], text) == ("429", "1", b"x" * 100_000)


# Bodies


class Measured:
    """Wants bodies of up to 1,000 bytes, of JSON."""

    body_limit = 1000

    def __init__(self, waits: bool = False) -> None:
        self.waits = waits
        self.seen: list[bytes] = []

    def on_request(self, request: Request) -> Any:
        return self.later(request) if self.waits else self.now(request)

    async def later(self, request: Request) -> Response | None:
        await asyncio.sleep(0)
        return self.now(request)

    def now(self, request: Request) -> Response | None:
        self.seen.append(request.body)
        try:
            json.loads(request.body or b"{}")
        except ValueError:
            return Response(422, "not JSON")
        return None


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("waits", [False, True], ids=["sync", "async"])
def test_bodies(place: str, waits: bool) -> None:
    one = Measured(waits)
    text = json.dumps({"a": "x" * 900}).encode()
    with recorders("a") as (a,), edge(behind(place, "one", all=a.url), middlewares={"one": one}) as lb:
        client = lb.client()
        for chunked in (False, True):
            assert client.ask(post(text, chunked))[2] == b"a"
            assert one.seen[-1] == a.requests[-1][2] == text
            first, _, body = client.ask(post(b"{not", chunked))
            assert (first.split()[1], body) == ("422", b"not JSON")
        assert client.ask(GET)[2] == b"a" and one.seen[-1] == b""
        assert [len(request[2]) for request in a.requests] == [len(text), len(text), 0]
        for chunked in (False, True):
            first, _, body = lb.ask(post(b"1" * 1001, chunked))
            assert (first.split()[1], body) == ("413", b"Request Entity Too Large")
        assert len(one.seen) == 5 and len(a.requests) == 3
        slow = lb.client()
        head, end, body = post(text).partition(b"\r\n\r\n")
        slow.send(head + end + body[:10])
        lb.settle()
        assert len(one.seen) == 5
        slow.send(body[10:])
        assert slow.message()[2] == b"a" and one.seen[-1] == text


class Large(Scripted):
    body_limit = 1 << 20


@pytest.mark.parametrize("waits", [False, True], ids=["sync", "async"])
def test_what_classes_see_of_bodies_is_within_the_budget(waits: bool) -> None:
    one, body = Large(), b"x" * 600_000
    with recorders("a") as (a,):
        dynamic = behind("router", "one", all=a.url)
        with edge(dynamic, middlewares={"one": one}, static={"bodyMemoryBytes": 1 << 20}) as lb:
            request = asks("in=async-wait" if waits else "other", post(body))
            client = lb.client()
            head, headers, _ = client.ask(request)
            assert (head.split()[1], headers["retry-after"], one.held) == ("503", "1", [])
            assert lb.proxy._region.bodies_shed > 0
            client = lb.client()
            client.send(asks("in=async-wait" if waits else "other", post(body[:400_000])))
            if waits:
                held(lb, one)
                assert lb.proxy._region.body_memory >= 800_000      # what goes on, and what the class sees
                one.release()
            assert client.message()[0].split()[1] == "200"
            eventually(lambda: lb.proxy._region.body_memory == 0, "all memory is given back")


def test_without_a_limit_there_is_no_body_to_be_seen() -> None:
    class Asking:
        def on_request(self, request: Request) -> None:
            assert request.body

    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": Asking()}) as lb:
        assert lb.ask(post(b"x"))[0].split()[1] == "500"


# Waiting


@pytest.mark.parametrize("way", ["in", "back"])
def test_a_class_has_the_exchange_wait(world: World, way: str) -> None:
    request = asks(f"{way}=async-wait", post(b"x" * 300_000))
    client = sent(world.lb, request)
    held(world.lb, world.one)
    assert counters(world.lb).waiting == 1
    assert world.lb.ask(GET)[2] == b"a"  # others do not wait
    in_loop(world.lb, world.one.release)
    first, headers, text = client.message()
    assert (first.split()[1], headers["x-count"], text) == ("200", "2", b"a")
    assert client.ask(GET)[2] == b"a"
    eventually(lambda: counters(world.lb).waiting == 0, "nothing waits")
    if way == "in":
        assert world.server.requests[-2][1]["x-waited"] == "yes"
        assert world.server.requests[-2][2] == b"x" * 300_000


@pytest.mark.parametrize("way", ["in", "back"])
def test_a_client_that_goes_away_cancels_the_call(world: World, way: str) -> None:
    cancelled = world.one.cancelled
    world.one.after.clear()
    client = sent(world.lb, asks(f"{way}=async-wait"))
    held(world.lb, world.one)
    client.close()
    eventually(lambda: world.one.cancelled == cancelled + 1, "the call is cancelled")
    assert "is over" in str(world.one.after[0])  # the view was closed before
    eventually(lambda: counters(world.lb).waiting == 0, "nothing waits")
    assert world.lb.ask(GET)[2] == b"a"


def configured(place: str, url: str, kind: str, **more: Any) -> dict[str, Any]:
    dynamic = behind(place, "one", all=url)
    dynamic["http"]["middlewares"] = {"one": {"python": {"class": f"{__name__}:{kind}", **more}}}
    return dynamic


class Endless:
    """Waits for ever, on the way that the header `X-Do` names; `X-Hold` has the loop wait for so many ms."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1

    def on_request(self, request: Request) -> Awaitable[None] | None:
        hold, waits = int(request.headers.get("X-Hold", "0")), request.headers.get("X-Do") == "in"
        return self.work(hold, waits) if hold or waits else None

    def on_response(self, request: Request, response: Response) -> Awaitable[None] | None:
        return self.work(0, True) if request.headers.get("X-Do") == "back" else None

    async def work(self, hold_ms: int, waits: bool) -> None:
        await asyncio.sleep(0)
        time.sleep(hold_ms / 1000)
        if waits:
            await asyncio.Event().wait()


@pytest.mark.parametrize("place", PLACES)
def test_a_call_that_does_not_end_is_cancelled_and_counted(place: str, caplog: pytest.LogCaptureFixture) -> None:
    with recorders("a") as (a,), edge(configured(place, a.url, "Endless", timeout="100ms")) as lb:
        with caplog.at_level(logging.WARNING):
            for do in ("in", "back", "in"):
                client, begun = lb.client(), time.monotonic()
                first, _, text = client.ask(asks(do))
                assert (first.split()[1], text) == ("504", b"Gateway Timeout")
                assert time.monotonic() - begun >= 0.099
                assert client.ask(GET)[2] == b"a"
        assert counters(lb).expired == 3
        eventually(lambda: counters(lb).waiting == 0, "nothing waits")
        assert caplog.text.count("had not ended after 100 ms") == 1


def test_a_call_that_holds_the_loop_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Scripted()
    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": one}) as lb:
        with caplog.at_level(logging.WARNING):
            for do in ("in=now-sleep", "back=now-sleep", "in=async-sleep"):
                assert lb.ask(asks(do))[2] == b"a"
        assert counters(lb).slow >= 3
        assert caplog.text.count("has held the event loop for") == 1 and "one@file" in caplog.text
        asked = counters(lb).calls
        assert lb.ask(GET)[2] == b"a"
        assert counters(lb).calls == asked + 2


def test_calls_are_not_measured_without_a_limit() -> None:
    with recorders("a") as (a,), edge(configured("router", a.url, "Endless", slowCall="0s")) as lb:
        assert lb.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Hold: 30\r\n\r\n"))[2] == b"a"
        assert counters(lb).slow == 0
        lb.apply(configured("router", a.url, "Endless", slowCall="1ms"))
        assert lb.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Hold: 30\r\n\r\n"))[2] == b"a"
        assert counters(lb).slow >= 1


def test_the_deadline_of_the_entry_point_cancels_the_call() -> None:
    one = Scripted()
    limits = {"transport": {"respondingTimeouts": {"writeTimeout": "200ms"}}}
    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": one}, **limits) as lb:
        assert lb.ask(asks("in=async-wait"))[0].split()[1] == "504"
        eventually(lambda: one.cancelled == 1, "the call is cancelled")


def test_a_reload_leaves_calls_alone_and_keeps_an_instance_that_has_not_changed() -> None:
    one = Scripted()
    with recorders("a", "b") as (a, b), edge(behind("router", "one", all=a.url), middlewares={"one": one}) as lb:
        client = sent(lb, asks("in=async-wait"))
        held(lb, one)
        lb.apply(behind("router", "one", all=b.url))
        assert lb.ask(GET)[2] == b"b"
        in_loop(lb, one.release)
        assert client.message()[2] == b"a"
        assert client.ask(GET)[2] == b"b"
    Sized.made = 0
    with recorders("a") as (a,), edge(configured("router", a.url, "Sized", options={"size": 3})) as lb:
        assert lb.ask(GET)[1]["x-size"] == "3"
        first = lb.ask(GET)[1]["x-instance"]
        lb.apply({"http": {**configured("router", a.url, "Sized", options={"size": "3"}, timeout="1s")["http"]}})
        lb.apply(configured("router", a.url, "Sized", options={"size": 4}))
        second = lb.ask(GET)[1]
        assert (second["x-size"], second["x-instance"] != first) == ("4", True)
        lb.apply(configured("router", a.url, "Sized", options={"size": 4}, timeout="2s"))
        assert lb.ask(GET)[1]["x-instance"] == second["x-instance"]


class Sized:
    made = 0

    class Options(BaseModel):
        size: int

    def __init__(self, options: Options) -> None:
        Sized.made += 1
        self.number, self.options = Sized.made, options

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["X-Size"] = str(self.options.size)
        response.headers["X-Instance"] = str(self.number)


def test_a_drain_waits_for_calls() -> None:
    one = Scripted()
    with recorders("a") as (a,):
        with edge(behind("router", "one", all=a.url), middlewares={"one": one}) as lb:
            client = sent(lb, asks("in=async-wait"), stays=True)
            held(lb, one)
            lb._loop.call_soon_threadsafe(lb._loop.call_later, 0.1, one.release)
        assert client.message()[2] == b"a"


def test_a_drain_that_is_over_cancels_calls() -> None:
    one = Scripted()
    limits = {"transport": {"lifeCycle": {"graceTimeOut": "200ms"}}}
    with recorders("a") as (a,):
        with edge(behind("router", "one", all=a.url), middlewares={"one": one}, **limits) as lb:
            client = sent(lb, asks("in=async-wait"), stays=True)
            held(lb, one)
        assert client.to_the_end() == b""
    assert one.cancelled == 1 and not one.held


def test_what_a_call_does_after_its_exchange_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Scripted):
        async def later(self, what: str, request: Request, response: Response | None) -> Any:
            try:
                await super().later(what, request, response)
            except asyncio.CancelledError:
                return request.path

    one = Stubborn()
    with recorders("a") as (a,), edge(behind("router", "one", all=a.url), middlewares={"one": one}) as lb:
        with caplog.at_level(logging.ERROR):
            client = sent(lb, asks("in=async-wait"))
            held(lb, one)
            client.close()
            eventually(lambda: "after its exchange had ended" in caplog.text, "it is logged")
        assert lb.ask(GET)[2] == b"a"


# In a program


def test_instances_are_named_as_those_of_the_configuration() -> None:
    with pytest.raises(ValueError, match="neither on_request nor on_response"):
        Proxy({"entryPoints": {"web": {"address": "127.0.0.1:0"}}}, {}, middlewares={"one": object()})
    with pytest.raises(ValueError, match="must not contain @"):
        Proxy({"entryPoints": {"web": {"address": "127.0.0.1:0"}}}, {}, middlewares={"one@file": Scripted()})
    with recorders("a") as (a,), edge(behind("router", "other", all=a.url), middlewares={"one": Scripted()}) as lb:
        assert [entry.errors for entry in lb.proxy.disabled] == [['middleware "other@file" does not exist']]
        lb.apply(behind("router", "one", all=a.url))
        assert not lb.proxy.disabled and lb.ask(asks("in=now-answer"))[0].split()[1] == "403"


def test_two_instances_keep_apart_what_they_know_of_a_request() -> None:
    with recorders("a") as (a,):
        dynamic = behind("router", "one", "two", all=a.url)
        with edge(dynamic, middlewares={"one": Scripted(), "two": Numbered()}) as lb:
            headers = lb.ask(GET)[1]
            assert (headers["x-count"], headers["x-number"]) == ("2", "7")


class Numbered:
    def on_request(self, request: Request) -> None:
        assert not request.state
        request.state["number"] = 7

    def on_response(self, request: Request, response: Response) -> None:
        response.headers["X-Number"] = str(request.state["number"])
