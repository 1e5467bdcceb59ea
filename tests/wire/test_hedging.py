"""Hedging: a second server beside one that is slow. The first good answer is the client's, and the others end."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files, authority, signed
from tests.support.http2 import Http2Client
from tests.support.http2 import request as fields
from tests.support.instance import eventually
from tests.support.otlp import http_collector
from tests.support.ports import free_port
from tests.support.problems import errors_of
from tests.support.recorder import GET, Held, config, counters, mirrored, post, recorders
from tests.support.secure import context_of, secure_serving
from tests.support.strict_http2 import StrictConnection, StrictServer
from tests.support.wire import TIMEOUT_S, Edge, Peer, deaf, edge, serving
from tests.wire.test_explain import STATIC as EXPLAINS
from tests.wire.test_explain import ask as explained
from tests.wire.test_observability import metric, watched
from tests.wire.test_retry import answers, denied, status
from tests.wire.test_tracing import one, traced
from tests.wire.test_waiting import idle

AFTER = "1s"
WRITES = {"after": AFTER, "methods": ["PUT", "POST"]}
LONG_ENOUGH_MS = 1200  # `AFTER`, and two ticks of the clock
CANCEL = 8
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def hedged(*urls: str, balancer: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    dynamic = config({"all": {"loadBalancer": {"servers": [{"url": url} for url in urls], **(balancer or {})}}})
    dynamic["http"]["middlewares"] = {"again": {"retry": {"attempts": 2, "hedging": {"after": AFTER}, **options}}}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["again"]
    return dynamic


@contextlib.contextmanager
def driven(dynamic: dict[str, Any], **more: Any) -> Iterator[Edge]:
    with edge(dynamic, **more) as lb:
        lb.drive()
        yield lb


class Scripted:
    """A server that has one request, `asked`, and says one part of its answer each time the test lets it."""

    def __init__(self, *parts: bytes) -> None:
        self.asked = threading.Event()
        self.parts = [(part, threading.Event(), threading.Event()) for part in parts]
        self.bodies: list[bytes] = []
        self.gone = threading.Event()

    def __call__(self, peer: Peer) -> None:
        self.bodies.append(peer.message()[2])
        self.asked.set()
        for part, wanted, said in self.parts:
            assert wanted.wait(TIMEOUT_S)
            with contextlib.suppress(OSError):  # the proxy may have closed
                peer.send(part)
            said.set()
        with contextlib.suppress(OSError):
            assert peer.to_the_end() == b""
        self.gone.set()

    def say(self, lb: Edge, number: int) -> None:
        _, wanted, said = self.parts[number]
        wanted.set()
        assert said.wait(TIMEOUT_S)
        lb.settle()


def wait_for_one(held: list[Held]) -> None:
    eventually(lambda: any(each.asked.is_set() for each in held), "one is asked")


def member(server: Any) -> str:
    return f"all@file|{server if isinstance(server, str) else server.url}"


def under_way(lb: Edge, server: Any) -> int:
    found: int = counters(lb, member(server)).in_flight
    return found


def hedges(lb: Edge, *servers: Any) -> list[tuple[int, int]]:
    """Of each server: hedges, and those of them that have won."""
    found = [counters(lb, member(server)) for server in servers]
    return [(each.hedges, each.hedges_won) for each in found]


def pass_time(lb: Edge, delay_ms: int = LONG_ENOUGH_MS) -> None:
    lb.settle()
    lb.drive(delay_ms)


def put(body: bytes, chunked: bool = False) -> bytes:
    return post(body, chunked).replace(b"POST", b"PUT", 1)


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("pooled", [False, True])
def test_the_first_answer_is_the_clients(winner: int, pooled: bool) -> None:
    with recorders("a", "b") as servers, driven(hedged(*[server.url for server in servers])) as lb:
        client = lb.client()
        for _ in range(2 if pooled else 0):
            client.ask(GET)
        held = [Held(server) for server in servers]
        client.send(GET)
        assert held[0].asked.wait(TIMEOUT_S)
        pass_time(lb, 990)
        assert [under_way(lb, server) for server in servers] == [1, 0], "too early"
        pass_time(lb, 200)
        assert held[1].asked.wait(TIMEOUT_S)
        pass_time(lb, 60_000)
        assert [under_way(lb, server) for server in servers] == [1, 1]
        held[winner].opened.set()
        assert client.message()[2] == servers[winner].name
        idle(lb, *servers)  # the other one has ended, too
        held[1 - winner].opened.set()
        assert hedges(lb, *servers) == [(0, 0), (1, winner)]
        assert [counters(lb, member(server)).retries for server in servers] == [0, 1]
        for server in servers:
            server.answer = lambda *request, name=server.name: (200, name)  # type: ignore[misc]
        assert {client.ask(GET)[2] for _ in range(2)} == {b"a", b"b"}
        assert hedges(lb, *servers) == [(0, 0), (1, winner)]


def test_one_server_after_the_other_up_to_all_attempts() -> None:
    with recorders("a", "b", "c", "d") as servers:
        with driven(hedged(*[server.url for server in servers], attempts=3)) as lb:
            held = [Held(server) for server in servers]
            client = lb.client()
            client.send(GET)
            for number in range(3):
                assert held[number].asked.wait(TIMEOUT_S)
                pass_time(lb)
            pass_time(lb, 60_000)
            assert [under_way(lb, server) for server in servers] == [1, 1, 1, 0]
            held[2].opened.set()
            assert client.message()[2] == b"c"
            idle(lb, *servers)
            assert hedges(lb, *servers) == [(0, 0), (1, 0), (1, 1), (0, 0)]
            for each in held:
                each.opened.set()


@pytest.mark.parametrize("strategy", ["wrr", "leastconn"])
@pytest.mark.parametrize("names", ["ab", "abc"])
def test_hedges_leave_the_order_of_requests_and_have_one_of_their_own(strategy: str, names: str) -> None:
    """Else each request begins at the slow one of two, and each is hedged."""
    with recorders(*names) as servers:
        slow, *others = servers
        urls = [server.url for server in servers]
        with driven(hedged(*urls, balancer={"strategy": strategy}, budget={"ratio": 1})) as lb:
            for number in range(6 * len(servers)):
                held = Held(slow)
                turn = servers[number % len(servers)]
                client = lb.client()
                client.send(GET)
                if turn is slow:
                    assert held.asked.wait(TIMEOUT_S), f"request {number}"
                    pass_time(lb)
                answer = client.message()[2]
                assert turn is slow or answer == turn.name, f"request {number}"
                held.opened.set()
                idle(lb, *servers)
                client.close()
            assert hedges(lb, slow) == [(0, 0)]
            found = hedges(lb, *others)
            assert sum(begun for begun, _ in found) == 6 and all(begun == won > 0 for begun, won in found)
            if strategy == "wrr":
                assert len(set(found)) == 1, "as many each"


def test_by_the_clock_of_the_machine() -> None:
    with recorders("a", "b") as (a, b), edge(hedged(a.url, b.url, hedging={"after": "20ms"})) as lb:
        held = Held(a)
        assert lb.ask(GET)[2] == b"b"
        held.opened.set()
        idle(lb, a, b)
        assert hedges(lb, a, b) == [(0, 0), (1, 1)]
        assert lb.ask(GET)[2] in (b"a", b"b")


def test_a_server_that_takes_no_connection_is_slow() -> None:
    with recorders("b") as (b,), deaf() as port:
        url = f"http://127.0.0.1:{port}"
        with driven(hedged(url, b.url)) as lb:
            client = lb.client()
            client.send(GET)
            eventually(lambda: under_way(lb, url) == 1, "it is being connected to")
            pass_time(lb)
            assert client.message()[2] == b"b"
            idle(lb, b)
            assert (under_way(lb, url), counters(lb, member(url)).connect_errors) == (0, 0)


@pytest.mark.parametrize("broken", [0, 1])
def test_one_of_two_may_fail(broken: int) -> None:
    scripts = [Scripted(OK + b"ok"), Scripted(OK + b"ok")]
    scripts[broken] = Scripted(b"no HTTP at all\r\n\r\n")
    with serving(scripts[0]) as a, serving(scripts[1]) as b, driven(hedged(a.url, b.url)) as lb:
        client = lb.client()
        client.send(GET)
        assert scripts[0].asked.wait(TIMEOUT_S)
        pass_time(lb)
        assert scripts[1].asked.wait(TIMEOUT_S)
        scripts[broken].say(lb, 0)
        eventually(lambda: under_way(lb, (a, b)[broken]) == 0, "one attempt has failed")
        scripts[1 - broken].say(lb, 0)
        assert client.message()[2] == b"ok"
        eventually(lambda: under_way(lb, (a, b)[1 - broken]) == 0, "the other one is over")
        client.close()


def test_a_server_that_cannot_be_reached_costs_nothing_but_the_attempt() -> None:
    with recorders("a") as (a,), driven(hedged(a.url, f"http://127.0.0.1:{free_port()}")) as lb:
        held = Held(a)
        client = lb.client()
        client.send(GET)
        assert held.asked.wait(TIMEOUT_S)
        pass_time(lb)  # refused at once
        held.opened.set()
        assert client.message()[2] == b"a"
        idle(lb, a)


@pytest.mark.parametrize("bad", [[503, 200], [200, 500], [503, 500]])
@pytest.mark.parametrize("first", [0, 1])
def test_a_bad_answer_waits_for_a_better_one(bad: list[int], first: int) -> None:
    with recorders("a", "b") as servers, driven(hedged(*[server.url for server in servers])) as lb:
        held = [Held(server, found) for server, found in zip(servers, bad)]
        client = lb.client()
        client.send(GET)
        assert held[0].asked.wait(TIMEOUT_S)
        pass_time(lb)
        assert held[1].asked.wait(TIMEOUT_S)
        held[first].opened.set()
        if bad[first] >= 500:
            eventually(lambda: under_way(lb, servers[first]) == 0, "its answer is dropped")
            held[1 - first].opened.set()
            assert status(client.message()) == bad[1 - first]
        else:
            assert status(client.message()) == 200
        idle(lb, *servers)
        held[1 - first].opened.set()


def test_a_status_that_the_route_does_not_accept_is_a_bad_answer_and_attempts_are_counted_together() -> None:
    with recorders("a", "b") as (a, b), driven(hedged(a.url, b.url, attempts=3, status=["404"])) as lb:
        held = [Held(a, 404), Held(b, 404)]
        client = lb.client()
        client.send(GET)
        assert held[0].asked.wait(TIMEOUT_S)
        pass_time(lb)
        assert held[1].asked.wait(TIMEOUT_S)
        held[1].opened.set()
        eventually(lambda: under_way(lb, b) == 0, "its answer is dropped")
        answers(a)
        answers(b)
        held[0].opened.set()
        assert status(client.message()) == 200  # of the third attempt
        assert len(a.requests) + len(b.requests) == 3
        idle(lb, a, b)


@contextlib.contextmanager
def speaking(scripts: list[Scripted]) -> Iterator[tuple[Edge, Peer, list[str]]]:
    """Two servers that have both said the first part of their answers to one request; their URLs come last."""
    with serving(scripts[0]) as a, serving(scripts[1]) as b, driven(hedged(a.url, b.url)) as lb:
        client = lb.client()
        client.send(GET)
        for number, script in enumerate(scripts):
            if number:
                pass_time(lb)
            assert script.asked.wait(TIMEOUT_S)
            script.say(lb, 0)
        yield lb, client, [a.url, b.url]
        client.close()


@pytest.mark.parametrize("first", [0, 1])
def test_answers_that_come_in_pieces(first: int) -> None:
    """Both begin their heads; the one whose head is complete first wins."""
    pieces = [b"HTTP/1.1 200 OK\r\nX-From: ", b"%d\r\nContent-", b"Length: 4\r\n\r\n", b"%d%d%d%d"]
    scripts = [Scripted(*(piece.replace(b"%d", b"%d" % number) for piece in pieces)) for number in range(2)]
    with speaking(scripts) as (lb, client, urls):
        scripts[0].say(lb, 1)
        scripts[1].say(lb, 1)
        scripts[first].say(lb, 2)
        _, headers = client.head()
        assert headers["x-from"] == str(first)
        scripts[first].say(lb, 3)
        assert client.exactly(4) == b"%d" % first * 4
        eventually(lambda: not any(under_way(lb, url) for url in urls), "both are over")
        scripts[1 - first].say(lb, 2)
        scripts[1 - first].say(lb, 3)
        assert scripts[1 - first].gone.wait(TIMEOUT_S)


def test_an_interim_answer_of_one_of_several_is_not_passed_on() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    scripts = [Scripted(hints, OK + b"no"), Scripted(hints, OK + b"ok")]
    with speaking(scripts) as (lb, client, _):
        scripts[1].say(lb, 1)
        assert (status(answer := client.message()), answer[2]) == (200, b"ok")


class Silent:
    """Completes no request by itself."""

    def __init__(self) -> None:
        self.asked: list[tuple[StrictConnection, int]] = []

    def __call__(self, connection: StrictConnection, stream: int) -> None:
        self.asked.append((connection, stream))


@pytest.mark.parametrize("winner", [0, 1])
def test_servers_of_http2_learn_that_the_request_is_cancelled_and_their_connections_stay(winner: int) -> None:
    scripts = [Silent(), Silent()]
    servers = [StrictServer(100, complete=script) for script in scripts]
    with driven(hedged(*[server.url for server in servers])) as lb:
        client = Http2Client(lb.client().sock)
        first = client.send()
        eventually(lambda: scripts[0].asked, "the first server is asked")
        pass_time(lb)
        eventually(lambda: scripts[1].asked, "so is the other one")
        connection, stream = scripts[winner].asked[0]
        connection.answer(stream)
        assert client.answer(first).status == 200
        loser, stream = scripts[1 - winner].asked[0]
        eventually(lambda: loser.resets == [(stream, CANCEL)], "it is cancelled")
        for script in scripts:
            script.asked.clear()
        again = [client.send(), client.send()]
        eventually(lambda: all(script.asked for script in scripts), "each has one of these")
        for script in scripts:
            script.asked[0][0].answer(script.asked[0][1])
        assert [client.answer(stream).status for stream in again] == [200, 200]
        assert [len(server.connections) for server in servers] == [1, 1]
        client.close()
    for server in servers:
        server.close()


def test_a_server_of_http2_that_refuses_a_hedge_has_not_failed() -> None:
    script = Silent()
    first, second = StrictServer(100, complete=script), StrictServer(100, complete=lambda c, stream: c.refuse(stream))
    ejecting = {"passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "1h"}}
    with driven(hedged(first.url, second.url, balancer=ejecting)) as lb:
        client = Http2Client(lb.client().sock)
        stream = client.send()
        eventually(lambda: script.asked, "the first server is asked")
        pass_time(lb)
        eventually(lambda: hedges(lb, second) == [(1, 0)] and under_way(lb, second) == 0, "the other one has refused")
        script.asked[0][0].answer(script.asked[0][1])
        assert client.answer(stream).status == 200
        slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
        assert lb.proxy._region.is_up(slots[member(second)])  # type: ignore[union-attr]
        client.close()
    first.close()
    second.close()


@pytest.fixture(name="files", scope="module")
def made_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Files, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    ca = authority(folder, "ca")
    return ca, signed(folder, ca, "ip", "IP:127.0.0.1")


def trusting(dynamic: dict[str, Any], ca: Files) -> dict[str, Any]:
    dynamic["http"]["services"]["all"]["loadBalancer"]["serversTransport"] = "trusting"
    dynamic["http"]["serversTransports"] = {"trusting": {"rootCAs": [str(ca.certificate)]}}
    return dynamic


@pytest.mark.parametrize("winner", [0, 1])
def test_servers_behind_tls(winner: int, files: tuple[Files, Files]) -> None:
    scripts = [Scripted(OK + b"00"), Scripted(OK + b"11")]
    with secure_serving(files[1], scripts[0]) as a, secure_serving(files[1], scripts[1]) as b:
        with driven(trusting(hedged(a.url, b.url), files[0])) as lb:
            client = lb.client()
            client.send(GET)
            assert scripts[0].asked.wait(TIMEOUT_S)
            pass_time(lb)
            assert scripts[1].asked.wait(TIMEOUT_S)
            scripts[winner].say(lb, 0)
            assert client.message()[2] == b"%d%d" % (winner, winner)
            eventually(lambda: not under_way(lb, a) and not under_way(lb, b), "both are over")
            scripts[1 - winner].say(lb, 0)
            client.close()


# What is not sent to two servers


@pytest.mark.parametrize(
    ("method", "body", "methods", "count"),
    [
        ("HEAD", b"", [], 1),
        ("OPTIONS", b"", [], 1),
        ("TRACE", b"", [], 1),
        ("GET", b"x", [], 1),
        ("DELETE", b"", [], 0),
        ("PUT", b"x" * 1000, [], 0),
        ("POST", b"x" * 1000, [], 0),
        ("OWN", b"", [], 0),
        ("DELETE", b"", ["PUT", "DELETE"], 1),
        ("POST", b"x" * 1000, ["POST"], 1),
        ("OWN", b"", ["OWN"], 1),
        ("GET", b"", ["POST"], 0),
        ("OWN", b"", ["own"], 0),
    ],
)
@pytest.mark.parametrize("repeats", [False, True])
def test_methods(method: str, body: bytes, methods: list[str], count: int, repeats: bool) -> None:
    request = post(body).replace(b"POST", method.encode(), 1)
    options = {"retryNonIdempotentMethod": repeats, "hedging": {"after": AFTER, "methods": methods}}
    with recorders("a", "b") as (a, b), driven(hedged(a.url, b.url, **options)) as lb:
        held = Held(a)
        client = lb.client()
        client.send(request)
        assert held.asked.wait(TIMEOUT_S)
        pass_time(lb)
        assert [begun for begun, _ in hedges(lb, b)] == [count]
        held.opened.set()
        assert status(client.message(body=method != "HEAD")) == 200
        idle(lb, a, b)
        assert {sent[2] for sent in a.requests + b.requests} == {body}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize(("size", "count"), [(200_000, 1), (200_001, 0)])
def test_a_body_that_is_kept_goes_to_both(chunked: bool, buffered: bool, size: int, count: int) -> None:
    body = os.urandom(size)
    with recorders("a", "b") as (a, b):
        dynamic = hedged(a.url, b.url, maxRequestBodyBytes=200_000, hedging=WRITES)
        if buffered:  # has all of it, whatever its size
            dynamic["http"]["middlewares"]["whole"] = {"buffering": {}}
            dynamic["http"]["routers"]["all"]["middlewares"].append("whole")
            count = 1
        with driven(dynamic) as lb:
            held = Held(a)
            client = lb.client()
            client.send(put(body, chunked))
            assert held.asked.wait(TIMEOUT_S)
            pass_time(lb)
            if count:
                assert client.message()[2] == b"b"
                held.opened.set()
            else:
                held.opened.set()
                assert client.message()[2] == b"a"
            idle(lb, a, b)
            assert [sent[2] for sent in a.requests + b.requests] == [body] * (1 + count)
            assert lb.proxy._region.body_memory == 0  # type: ignore[union-attr]


def test_the_time_begins_when_the_server_has_the_whole_request() -> None:
    body = os.urandom(50_000)
    with recorders("a", "b") as (a, b), driven(hedged(a.url, b.url, hedging=WRITES)) as lb:
        held = Held(a)
        client = lb.client()
        request = put(body)
        client.send(request[:-1])
        eventually(lambda: under_way(lb, a) == 1, "it is asked")
        pass_time(lb, 20_000)
        assert hedges(lb, b) == [(0, 0)]
        client.send(request[-1:])
        assert held.asked.wait(TIMEOUT_S)
        pass_time(lb, 990)
        assert hedges(lb, b) == [(0, 0)], "too early"
        pass_time(lb, 200)
        assert client.message()[2] == b"b"
        held.opened.set()
        idle(lb, a, b)


@pytest.mark.parametrize("first_one", ["speaks", "fails", "wins"])
def test_a_body_goes_on_to_the_later_server_whatever_the_first_one_does(first_one: str) -> None:
    body = os.urandom(7_000_000)
    parts = {"speaks": [b"HTTP/1.1 200 "], "fails": [b"no HTTP\r\n\r\n"], "wins": [OK + b"aa"]}[first_one]
    first = Scripted(*parts)
    begun, reads = threading.Event(), threading.Event()

    def second(peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            peer.head()
            begun.set()
            assert reads.wait(TIMEOUT_S)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n%010d" % zlib.crc32(peer.exactly(len(body))))

    with serving(first) as a, serving(second) as b:
        with driven(hedged(a.url, b.url, maxRequestBodyBytes=8_000_000, hedging=WRITES)) as lb:
            client = lb.client()
            client.send(put(body))
            assert first.asked.wait(TIMEOUT_S)
            pass_time(lb)
            assert begun.wait(TIMEOUT_S)
            first.say(lb, 0)
            if first_one == "wins":
                assert client.message()[2] == b"aa"
                reads.set()
            else:
                reads.set()
                assert client.message()[2] == b"%010d" % zlib.crc32(body)
            eventually(lambda: not under_way(lb, a) and not under_way(lb, b), "both are over")
            eventually(lambda: lb.proxy._region.body_memory == 0, "nothing is kept")  # type: ignore[union-attr]
            client.close()


def test_a_body_to_servers_of_http2() -> None:
    body = os.urandom(300_000)
    scripts = [Silent(), Silent()]
    servers = [StrictServer(100, complete=script) for script in scripts]
    with driven(hedged(*[server.url for server in servers], hedging=WRITES)) as lb:
        client = Http2Client(lb.client().sock)
        stream = client.open()
        client.headers(stream, fields("POST"), end=False)
        client.upload(stream, body)
        eventually(lambda: scripts[0].asked, "the first server is asked")
        pass_time(lb)
        eventually(lambda: scripts[1].asked, "so is the other one")
        connection, asked = scripts[1].asked[0]
        connection.answer(asked)
        assert client.answer(stream).body == b"POST / %d %d" % (len(body), zlib.crc32(body))
        client.close()
    for server in servers:
        server.close()


@pytest.mark.parametrize("case", ["sticky", "address", "alone", "down", "full", "upgrade", "late"])
def test_what_stays_with_one_server(case: str) -> None:
    balancer: dict[str, Any] = {}
    options: dict[str, Any] = {"budget": {"ratio": 0, "minPerSecond": 1}}
    request = GET
    if case == "sticky":
        balancer = {"sticky": {"cookie": {}}}
    if case == "address":
        balancer = {"sticky": {"sourceIP": {}}}
    if case == "full":
        balancer = {"maxConnections": 1}
    if case == "late":
        options["timeout"] = "1001ms"
    if case == "upgrade":
        upgrade = b"\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n"
        request = GET.replace(b"\r\n\r\n", upgrade)
    with recorders("a", "b") as (a, b):
        urls = [a.url] if case == "alone" else [a.url, b.url]
        with driven(hedged(*urls, balancer=balancer, **options)) as lb:
            held = [Held(a), Held(b)]
            if case == "down":
                slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
                lb.proxy._region.set_up(slots[member(b)], False)  # type: ignore[union-attr]
            clients = [lb.client() for _ in range(2 if case == "full" else 1)]
            for client in clients:
                client.send(request)
            eventually(lambda: sum(each.asked.is_set() for each in held) == len(clients), "each is asked")
            if case == "late":
                pass_time(lb, 60_000)
            for _ in range(20):  # of what is not made nothing is taken from the budget
                pass_time(lb, 100)
            assert denied(lb) == 0
            assert sum(count for count, _ in hedges(lb, *([a] if case == "alone" else [a, b]))) == 0
            for each in held:
                each.opened.set()
            for client in clients:
                assert status(client.message()) == 200
            idle(lb, *(servers := [a] if case == "alone" else [a, b]))
            assert sum(len(server.requests) for server in servers) == len(clients)


def test_a_slot_of_a_server_with_a_limit_is_given_back() -> None:
    with recorders("a", "b") as servers:
        with driven(hedged(*[server.url for server in servers], balancer={"maxConnections": 1})) as lb:
            for _ in range(3):
                held = [Held(server) for server in servers]
                client = lb.client()
                client.send(GET)
                wait_for_one(held)
                pass_time(lb)
                assert all(each.asked.wait(TIMEOUT_S) for each in held)
                held[0].opened.set()
                assert client.message()[2] == b"a"
                held[1].opened.set()
                idle(lb, *servers)


# The budget


@pytest.mark.parametrize(
    ("budget", "made"),
    [
        (None, 130),  # 10 a second over ten seconds, and a fifth of 150
        ({"ratio": 0.5, "minPerSecond": 0}, 75),
        ({"ratio": 0, "minPerSecond": 0}, 0),
    ],
)
def test_a_slow_site_does_not_get_twice_its_load(budget: dict[str, Any] | None, made: int) -> None:
    scripts = [Silent(), Silent()]
    servers = [StrictServer(1000, complete=script) for script in scripts]
    options = {} if budget is None else {"budget": budget}
    with driven(hedged(*[server.url for server in servers], **options)) as lb:
        client = Http2Client(lb.client().sock)
        streams = [client.send() for _ in range(150)]
        eventually(lambda: sum(len(script.asked) for script in scripts) == 150, "all are asked")
        pass_time(lb)
        assert sum(count for count, _ in hedges(lb, *servers)) == made
        assert denied(lb) == 150 - made
        eventually(lambda: sum(len(script.asked) for script in scripts) == 150 + made, "all are asked")
        for script in scripts:
            for connection, stream in script.asked:
                connection.answer(stream)
        assert {client.answer(stream).status for stream in streams} == {200}
        client.close()
    for server in servers:
        server.close()


# Ends


@pytest.mark.parametrize("end", ["client", "drain", "deadline"])
def test_all_attempts_end_with_their_client(end: str) -> None:
    with recorders("a") as (a,), deaf() as port:
        dynamic = hedged(a.url, url := f"http://127.0.0.1:{port}")
        dynamic["http"]["middlewares"]["limit"] = {"timeout": {"after": "10s"}}
        dynamic["http"]["routers"]["all"]["middlewares"].append("limit")
        with edge(dynamic, transport={"lifeCycle": {"graceTimeOut": "200ms"}}) as lb:
            lb.drive()
            held = Held(a)
            client = lb.client(stays=end == "drain")
            client.send(GET)
            assert held.asked.wait(TIMEOUT_S)
            pass_time(lb)
            assert (under_way(lb, a), under_way(lb, url)) == (1, 1)
            if end == "deadline":
                pass_time(lb, 10_000)
                assert status(client.message()) == 504
            if end != "drain":
                client.close()
                pass_time(lb)  # it might have ended its sending side alone
                idle(lb, a)
                eventually(lambda: under_way(lb, url) == 0, "no slot is taken")
        held.opened.set()
        if end == "drain":
            client.to_the_end()
            client.close()


def test_a_drain_waits_for_the_answer() -> None:
    with recorders("a", "b") as (a, b):
        with edge(hedged(a.url, b.url, hedging={"after": "20ms"})) as lb:
            held = [Held(a), Held(b)]
            client = lb.client(stays=True)
            client.send(GET)
            assert all(each.asked.wait(TIMEOUT_S) for each in held)
            threading.Timer(0.3, held[1].opened.set).start()
        assert client.message()[2] == b"b"
        held[0].opened.set()
        client.close()


# What else is on the way


def test_a_beaten_server_has_not_failed_but_is_known_to_be_slow() -> None:
    ejecting = {"passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "1h"}, "strategy": "peakewma"}
    with recorders("a", "b") as servers:
        with driven(hedged(*[server.url for server in servers], balancer=ejecting)) as lb:
            for _ in range(4):
                lb.ask(GET)
            counts = [len(server.requests) for server in servers]
            held = [Held(server) for server in servers]
            client = lb.client()
            client.send(GET)
            wait_for_one(held)
            slow = 0 if held[0].asked.is_set() else 1
            # Latencies are of the real time, in which more has to pass than an answer takes.
            held[1 - slow].opened.wait(0.3)
            pass_time(lb)
            held[1 - slow].opened.set()
            assert client.message()[2] == servers[1 - slow].name
            idle(lb, *servers)
            held[slow].opened.set()
            for server in servers:
                answers(server)
            for _ in range(4):
                lb.ask(GET)
            assert len(servers[slow].requests) == counts[slow] + 1, "the others went to the fast one"
            slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
            assert all(lb.proxy._region.is_up(slots[member(server)]) for server in servers)  # type: ignore[union-attr]


def test_mirrors_gates_limits_and_breakers_see_one_request() -> None:
    with recorders("a", "b", "copy") as (a, b, copy):
        dynamic = hedged(a.url, b.url)
        services = dynamic["http"]["services"]
        services["main"] = {**services.pop("all"), "middlewares": ["once"]}
        services.update(mirrored(("copy", 100)))
        services["copy"] = {"loadBalancer": {"servers": [{"url": copy.url}]}}
        services["all"]["middlewares"] = ["breaker"]
        middlewares = dynamic["http"]["middlewares"]
        middlewares["once"] = {"rateLimit": {"average": 1, "period": "1h", "burst": 1}}
        middlewares["breaker"] = {"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0"}}
        middlewares["room"] = {"inFlightReq": {"amount": 1}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["again", "room"]
        with driven(dynamic) as lb:
            held = Held(a)
            b.answer = lambda *request: (200, b"b")
            client = lb.client()
            client.send(GET)
            assert held.asked.wait(TIMEOUT_S)
            pass_time(lb)
            assert client.message()[2] == b"b"
            held.opened.set()
            eventually(lambda: len(copy.requests) == 1, "the copy")
            assert status(client.ask(GET)) == 429  # of `once`: the slot of `room` is free
            assert (len(a.requests), len(b.requests)) == (1, 1)


@pytest.mark.parametrize("kind", ["sessions", "no hedging"])
def test_the_time_ends_with_the_attempt(kind: str) -> None:
    """Where a fallback is not hedged, the time that ran for the main service does not come to it."""
    with recorders("main", "twin", "spare", "other") as (main, twin, spare, other):
        dynamic = hedged(main.url, twin.url)
        services = dynamic["http"]["services"]
        services["main"] = services.pop("all")
        services["spare"] = {"loadBalancer": {"servers": [{"url": each.url} for each in (spare, other)]}}
        services["all"] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}
        if kind == "sessions":
            services["spare"]["loadBalancer"]["sticky"] = {"cookie": {"name": "s"}}
        else:
            dynamic["http"]["middlewares"]["plain"] = {"retry": {"attempts": 2}}
            services["spare"]["middlewares"] = ["plain"]
        with driven(dynamic) as lb:
            mains, spares = [Held(each, 503) for each in (main, twin)], [Held(each) for each in (spare, other)]
            client = lb.client()
            client.send(GET)
            eventually(lambda: any(each.asked.is_set() for each in mains), "the main service is asked")
            for each in mains:
                each.opened.set()
            eventually(lambda: any(each.asked.is_set() for each in spares), "the fallback is asked")
            pass_time(lb)
            for each in spares:
                each.opened.set()
            assert status(client.message()) == 200
            assert [counters(lb, f"spare@file|{each.url}").hedges for each in (spare, other)] == [0, 0]


def test_a_page_of_errors_and_a_fallback_come_after_the_last_attempt() -> None:
    with recorders("a", "b", "spare", "page") as (a, b, spare, page):
        dynamic = hedged(a.url, b.url)
        services = dynamic["http"]["services"]
        services["main"] = services.pop("all")
        services["spare"] = {"loadBalancer": {"servers": [{"url": spare.url}]}}
        services["pages"] = {"loadBalancer": {"servers": [{"url": page.url}]}}
        services["all"] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}
        middlewares = dynamic["http"]["middlewares"]
        middlewares["pretty"] = {"errors": {"status": ["502"], "service": "pages", "query": "/"}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["pretty", "again"]
        with driven(dynamic) as lb:
            client = lb.client()
            for given, found in ((503, b"spare"), (502, b"page")):
                held = [Held(a, given), Held(b, given)]
                client.send(GET)
                wait_for_one(held)
                pass_time(lb)
                assert all(each.asked.wait(TIMEOUT_S) for each in held)
                for each in held:
                    each.opened.set()
                assert client.message()[2] == found


def test_buffering_of_the_answer_and_of_a_middleware_that_holds_the_head() -> None:
    with recorders("a", "b") as (a, b):
        dynamic = hedged(a.url, b.url)
        dynamic["http"]["middlewares"] |= {"whole": {"buffering": {}}, "small": {"compress": {}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["small", "whole", "again"]
        with driven(dynamic) as lb:
            held = Held(a)
            b.answer = lambda *request: (200, b"b" * 100_000)
            client = lb.client()
            client.send(GET)
            assert held.asked.wait(TIMEOUT_S)
            pass_time(lb)
            assert client.message()[2] == b"b" * 100_000
            held.opened.set()
            idle(lb, a, b)


# What is told


def test_metrics_log_and_explanation_tell_of_it(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with recorders("a", "b") as (a, b):
        log = {"accessLog": {"filePath": str(path), "format": "json"}, "metrics": {"prometheus": {}}}
        with watched(hedged(a.url, b.url), **log) as lb:
            lb.drive()
            assert metric(lb, "lbcore_service_hedges_total") == 0
            held = Held(a)
            client = lb.client()
            client.send(GET)
            assert held.asked.wait(TIMEOUT_S)
            pass_time(lb)
            assert client.message()[2] == b"b"
            for result in ("begun", "won"):
                assert metric(lb, "lbcore_service_hedges_total", service="all@file", result=result) == 1
            assert metric(lb, "lbcore_service_retries_total", service="all@file") == 1
            eventually(lambda: path.exists() and path.read_text().count("\n") == 1, "a line")
            found = json.loads(path.read_text())
            assert (found["RetryAttempts"], found["ServiceURL"]) == (1, b.url)
            held.opened.set()
        with edge(hedged(a.url, b.url, hedging={"after": "20ms"}), static=EXPLAINS) as lb:
            held = Held(a)
            answers(b)
            _, _, found = explained(lb)
            assert found["server"] == b.url and found["hedge"] is True and found["retries"] == 1
            assert found["attempts"] == [{"server": a.url, "abandoned": True}]
            assert "failed" not in found and len(found["services"]) == 1
            held.opened.set()


def test_each_attempt_has_a_span_and_its_request_names_that(files: tuple[Files, Files]) -> None:
    """Also one that is sent after another attempt was begun, because its connection was not there before."""
    script = Scripted(OK + b"00")
    connects = threading.Event()
    context = context_of(files[1])
    seen: list[str] = []

    def late(peer: Peer) -> None:
        assert connects.wait(TIMEOUT_S)
        with contextlib.suppress(OSError, ssl.SSLEOFError):
            peer.sock = context.wrap_socket(peer.sock, server_side=True)
            _, headers = peer.head()
            seen.append(headers["traceparent"])
            peer.to_the_end()

    with http_collector() as collector, serving(late) as a, secure_serving(files[1], script) as b:
        dynamic = trusting(hedged(url := a.url.replace("http:", "https:"), b.url), files[0])
        with traced(collector, dynamic) as lb:
            lb.drive()
            client = lb.client()
            client.send(GET)
            eventually(lambda: under_way(lb, url) == 1, "it is being connected to")
            pass_time(lb)
            assert script.asked.wait(TIMEOUT_S)
            connects.set()
            eventually(lambda: seen, "the first one is asked, too")
            script.say(lb, 0)
            assert client.message()[2] == b"00"
            spans = collector.wait(3)
            client.close()
        request = one(spans, "GET")
        first, second = sorted((span for span in spans if span is not request), key=lambda span: span.start)
        assert first.attributes["url.full"].startswith(url) and second.attributes["url.full"].startswith(b.url)
        assert seen[0].split("-")[2] == first.id
        assert [span.attributes["http.response.status_code"] for span in (first, second)] == [499, 200]
        assert [span.attributes.get("http.request.resend_count") for span in (first, second)] == [None, 1]
        assert {first.parent, second.parent} == {request.id}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"attempts": 2, "hedging": {}}, "retry.hedging: hedging cannot be a standalone element"),
        ({"attempts": 2, "hedging": {"after": "0s"}}, "at least 1ms is needed"),
        ({"attempts": 2, "hedging": {"after": "-1s"}}, "negative"),
        ({"attempts": 2, "hedging": {"after": "30d"}}, "is not a duration"),
        ({"attempts": 2, "hedging": {"afterwards": "1s"}}, "afterwards"),
        ({"attempts": 2, "hedging": {"after": "1s", "methods": ["GET POST"]}}, "'GET POST' is no method"),
        ({"attempts": 1, "hedging": {"after": "1s"}}, "needs attempts: 2 or more"),
        ({"hedging": {"after": "1s"}}, "incorrect (or empty) value for attempt (0)"),
        ({"attempts": 2, "timeout": "1s", "hedging": {"after": "1s"}}, "shorter than timeout"),
        ({"attempts": 2, "hedging": {"after": "1s"}, "budget": {"ratio": -1}}, "ratio"),
    ],
)
def test_what_is_refused(options: dict[str, Any], problem: str) -> None:
    errors = errors_of({"retry": options})
    assert any(problem in error for error in errors)
    if "attempts" in options:  # else it is a mistake of Traefik's, too, with Traefik's text
        assert all(error.startswith("dynamic.yml:") for error in errors), "the line"


def test_without_retries_after_failures_hedging_is_left() -> None:
    found = errors_of({"retry": {"attempts": 2, "disableRetryOnNetworkError": True, "hedging": {"after": "1s"}}})
    assert found == []
