"""timeout: the end of an exchange that takes too long, wherever it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lbcore.config.middlewares.timeout import Timeout as Config
from lbcore.middleware.timeout import Timeout
from tests.support.instance import eventually
from tests.support.recorder import GET, config, counters, post, recorders, through
from tests.support.wire import TIMEOUT_S, Edge, Peer, edge, serving

LIMIT = {"timeout": {"after": "2s"}}


def idle(lb: Edge, url: str) -> None:
    eventually(lambda: counters(lb, f"all@file|{url}").in_flight == 0, "nothing is under way")


def test_what_takes_too_long_is_answered_and_the_server_let_go() -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.message()
        assert peer.to_the_end() == b""
        ended.set()

    with serving(script) as server, edge(through(server.url, LIMIT)) as lb:
        lb.drive()
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.connections, "the server is asked")
        lb.drive(1500)
        assert not ended.wait(0.05)
        lb.drive(1500)
        first, _, text = client.message()
        assert (first.split()[1], text) == ("504", b"Gateway Timeout")
        assert ended.wait(TIMEOUT_S)
        idle(lb, server.url)


def test_an_answer_that_takes_too_long_breaks_off() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 X\r\nContent-Length: 10\r\n\r\n12345")
        peer.to_the_end()

    with serving(script) as server, edge(through(server.url, LIMIT)) as lb:
        lb.drive()
        client = lb.client()
        client.send(GET)
        client.head()
        assert client.exactly(5) == b"12345"
        lb.drive(3000)
        assert client.to_the_end() == b""
        idle(lb, server.url)


def test_a_body_that_takes_too_long() -> None:
    with recorders("a") as (a,), edge(through(a.url, LIMIT)) as lb:
        lb.drive()
        client = lb.client()
        client.send(post(b"x" * 1000)[:-1])
        eventually(lambda: a.connections, "the server is asked")
        lb.drive(3000)
        assert client.message()[0].split()[1] == "504"
        idle(lb, a.url)


def test_what_is_in_time_is_not_disturbed_later() -> None:
    with recorders("a") as (a,), edge(through(a.url, LIMIT, LIMIT)) as lb:
        lb.drive()
        client = lb.client()
        for _ in range(3):
            assert client.ask(GET)[2] == b"a"
            lb.drive(1500)
        lb.drive(10_000)
        assert client.ask(GET)[2] == b"a"
        assert a.connections == 1


def test_further_attempts_are_within_the_time_of_the_first() -> None:
    again = {"retry": {"attempts": 100, "initialInterval": "20s", "status": ["503"]}}
    with recorders("a") as (a,), edge(through(a.url, LIMIT, again)) as lb:
        a.answer = lambda *request: (503, b"no")
        lb.drive()
        client = lb.client()
        client.send(GET)
        eventually(lambda: a.requests, "the server is asked")
        lb.settle()
        lb.drive(3000)
        assert client.message()[0].split()[1] == "504"
        lb.drive(60_000)  # the pause would be over
        lb.settle()
        a.answer = lambda *request: (200, b"last")
        assert lb.ask(GET.replace(b"/x", b"/last"))[2] == b"last"
        assert [asked[0].split()[1] for asked in a.requests] == ["/x", "/last"]


def test_a_fallback_has_its_own_time() -> None:
    with recorders("main", "spare") as (main, spare):
        services = {
            "main": {"loadBalancer": {"servers": [{"url": main.url}]}, "middlewares": ["limit"]},
            "all": {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}},
        }
        dynamic = config(services, spare=spare.url)
        dynamic["http"]["middlewares"] = {"limit": LIMIT}
        reached, go_on = threading.Event(), threading.Event()

        def slow(*request: Any) -> tuple[int, bytes]:
            reached.set()
            assert go_on.wait(TIMEOUT_S)
            return 200, b"spare"

        main.answer = lambda *request: (503, b"no")
        spare.answer = slow
        with edge(dynamic) as lb:
            lb.drive()
            client = lb.client()
            client.send(GET)
            assert reached.wait(TIMEOUT_S)
            lb.drive(60_000)
            go_on.set()
            assert client.message()[2] == b"spare"


def test_a_switch_of_protocols_has_no_end() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        peer.send(peer.exactly(3))

    with serving(script) as server, edge(through(server.url, LIMIT)) as lb:
        lb.drive()
        client = lb.client()
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
        assert client.head()[0].split()[1] == "101"
        lb.drive(10_000)
        client.send(b"abc")
        assert client.to_the_end() == b"abc"


def test_a_time_is_needed() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Timeout("limit@file", Config())


def of_service(services: dict[str, Any], **urls: str) -> dict[str, Any]:
    """`all` and its children, where `slow` has a time of its own."""
    dynamic = config(services, **urls)
    dynamic["http"]["services"]["slow"]["timeout"] = "2s"
    return dynamic


def test_a_service_has_a_time_of_its_own() -> None:
    """It counts for whatever leads there, before the service's own middlewares, and for no other service."""
    with recorders("slow", "other") as (slow, other):
        gate = threading.Event()
        slow.answer = lambda *request: (200, b"slow" if gate.wait(TIMEOUT_S) else b"")
        weighted = {"weighted": {"services": [{"name": "slow"}, {"name": "other"}]}}
        dynamic = of_service({"all": weighted}, slow=slow.url, other=other.url)
        with edge(dynamic) as lb:
            lb.drive()
            clients = [lb.client() for _ in range(4)]
            for client in clients:
                client.send(GET)
            eventually(lambda: (len(slow.requests), len(other.requests)) == (2, 2), "all are asked")
            lb.drive(1500)
            lb.settle()
            lb.drive(1000)
            found = sorted(int(client.message()[0].split()[1]) for client in clients)
            assert found == [200, 200, 504, 504]
            gate.set()
            lb.drive()
            assert {lb.ask(GET)[0].split()[1] for _ in range(4)} == {"200"}


def test_the_time_of_a_service_ends_with_it_and_its_middlewares_are_within() -> None:
    with recorders("slow", "other") as (slow, other):
        slow.answer = lambda *request: (503, b"no")
        gate = threading.Event()
        other.answer = lambda *request: (200, b"other" if gate.wait(TIMEOUT_S) else b"")
        failover = {"failover": {"service": "slow", "fallback": "other", "errors": {"status": ["503"]}}}
        with edge(of_service({"all": failover}, slow=slow.url, other=other.url)) as lb:
            lb.drive()
            client = lb.client()
            client.send(GET)
            eventually(lambda: other.requests, "the fallback is asked")
            lb.drive(5000)
            lb.settle()
            gate.set()
            assert client.message()[2] == b"other"
        retry = {"retry": {"attempts": 2, "status": ["503"], "initialInterval": "1h"}}
        dynamic = of_service({}, slow=slow.url)
        dynamic["http"]["routers"]["all"]["service"] = "slow"
        dynamic["http"]["services"]["slow"]["middlewares"] = ["again"]
        dynamic["http"]["middlewares"] = {"again": retry}
        with edge(dynamic) as lb:
            lb.drive()
            client = lb.client()
            client.send(GET)
            eventually(lambda: len(slow.requests) == 2, "it is asked, and a pause begins")
            lb.settle()
            lb.drive(2500)
            assert client.message()[0].split()[1] == "504"


@pytest.mark.parametrize("value", ["0s", ""])
def test_a_service_without_a_time(value: str) -> None:
    with recorders("slow") as (slow,):
        dynamic = of_service({}, slow=slow.url)
        dynamic["http"]["routers"]["all"]["service"] = "slow"
        dynamic["http"]["services"]["slow"]["timeout"] = value or "0"
        with edge(dynamic) as lb:
            assert lb.ask(GET)[2] == b"slow"
