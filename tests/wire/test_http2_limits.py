"""Servers of HTTP/2 that allow few streams, or none for a while, or refuse requests unseen: no request is lost."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.recorder import counters
from tests.support.strict_http2 import StrictConnection, StrictServer, told
from tests.support.wire import Edge, config_for, edge, serving

CROWD = 64  # requests at the same time
MEMBER = "all@file|{}"
CHUNKED = b"POST /1 HTTP/1.1\r\nHost: a.test\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def through(server: StrictServer, **settings: Any) -> Iterator[Edge]:
    try:
        with edge(config_for(server.url, **settings)) as lb:
            yield lb
    finally:
        server.close()


def request(number: int, body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%s /%d HTTP/1.1\r\nHost: a.test\r\n%s\r\n%s" % (b"POST" if body else b"GET", number, length, body)


def expected(number: int, body: bytes = b"") -> bytes:
    return told("POST" if body else "GET", f"/{number}", body)


def crowd(lb: Edge, *, rounds: int = 1, body: bytes = b"") -> list[str]:
    """What is wrong with the answers to CROWD requests at a time, each over a connection of its own."""

    def ask(client: int) -> list[str]:
        peer = lb.client()
        wrong = []
        for number in range(client * rounds, (client + 1) * rounds):
            first, _, text = peer.ask(request(number, body))
            if (first, text) != ("HTTP/1.1 200 OK", expected(number, body)):
                wrong.append(f"{number}: {first} {text[:60]!r}")
        peer.close()
        return wrong

    with ThreadPoolExecutor(CROWD) as pool:
        return list(itertools.chain.from_iterable(pool.map(ask, range(CROWD))))


def failures(lb: Edge, server: StrictServer) -> int:
    """What was counted as failures of the server."""
    found = counters(lb, MEMBER.format(server.url))
    return int(found.connect_errors + found.responses[0])


@pytest.mark.parametrize("body", [b"", b"x" * 1000])
@pytest.mark.parametrize("limit", [1, 2, 7])
def test_no_more_streams_are_opened_than_the_first_settings_allow(limit: int, body: bytes) -> None:
    server = StrictServer(limit)
    with through(server) as lb:
        assert crowd(lb, rounds=3, body=body) == []
        assert (server.exceeded, failures(lb, server)) == (0, 0)
        assert server.most_open <= limit
        assert len(server.answered) == 3 * CROWD


def test_requests_wait_for_the_first_settings() -> None:
    """Those that share the connection, and those that come while it is silent."""
    silent: list[StrictConnection] = []
    server = StrictServer(opens=silent.append)
    with through(server) as lb:
        peers = [lb.client() for _ in range(5)]
        for number, peer in enumerate(peers):
            peer.send(request(number))
            eventually(lambda: len(silent) == 1, "there is a connection")
        lb.settle()
        assert not silent[0].open
        silent[0].allow(2)
        for number, peer in enumerate(peers):
            if number == 2:  # two have a stream there, the others need more connections
                eventually(lambda: len(silent) == 3, "there are more connections")
                for connection in silent[1:]:
                    connection.allow(2)
            assert peer.message()[2] == expected(number)
        assert failures(lb, server) == 0


def test_a_server_that_allows_no_stream_for_a_while_is_waited_for() -> None:
    server = StrictServer(0)
    with through(server) as lb, ThreadPoolExecutor(1) as pool:
        found = pool.submit(crowd, lb, body=b"abc")
        eventually(lambda: server.connections, "a connection")
        lb.settle()
        server.limit = 100
        for connection in list(server.connections):
            connection.allow(100)
        assert found.result() == []
        assert (server.exceeded, failures(lb, server)) == (0, 0)
        assert len(server.connections) <= 3  # requests that wait share a connection


def test_a_connection_that_allows_streams_serves_what_waits_for_another_one() -> None:
    limits = iter([1, 0])
    server = StrictServer(opens=lambda connection: connection.allow(next(limits)), complete=lambda *_: None)
    with through(server) as lb:
        first, second = lb.client(), lb.client()
        first.send(request(1))
        eventually(lambda: server.connections and server.connections[0].open, "the first one is asked")
        second.send(request(2))
        eventually(lambda: len(server.connections) == 2 and not server.connections[1].unacknowledged, "one waits")
        server.connections[0].answer(1)
        assert first.message()[2] == expected(1)
        eventually(lambda: server.connections[0].open, "the second one is asked")
        server.connections[0].answer(3)
        assert second.message()[2] == expected(2)


@pytest.mark.parametrize("limits", [{"dialTimeout": "200ms"}, {"responseHeaderTimeout": "200ms"}])
def test_the_wait_for_a_stream_is_limited(limits: dict[str, str]) -> None:
    server = StrictServer(0)
    with edge(config_for(server.url, transport={"forwardingTimeouts": limits})) as lb:
        assert lb.ask(request(1))[0] == "HTTP/1.1 504 Gateway Timeout"
        server.limit = 1
        assert lb.ask(request(2))[2] == expected(2)
    server.close()


def test_while_a_server_allows_no_stream_another_one_is_asked_in_the_end() -> None:
    server = StrictServer(0)
    transport = {"forwardingTimeouts": {"dialTimeout": "100ms"}}
    with serving() as other, edge(config_for(server.url, other.url, transport=transport)) as lb:
        for number in range(4):
            assert lb.ask(request(number))[0] == "HTTP/1.1 200 OK"
    server.close()


def test_a_client_that_goes_while_its_request_waits_leaves_nothing() -> None:
    server = StrictServer(0)
    with through(server, maxConnections=1) as lb:
        for _ in range(3):
            peer = lb.client()
            peer.send(request(1))
            eventually(lambda: counters(lb, MEMBER.format(server.url)).in_flight == 1, "it waits")
            peer.close()
            eventually(lambda: counters(lb, MEMBER.format(server.url)).in_flight == 0, "it has gone")
        server.limit = 1
        assert lb.ask(request(2))[2] == expected(2)
        assert failures(lb, server) == 0


@pytest.mark.parametrize("body", [b"", b"x" * 100])
@pytest.mark.parametrize("limit", [0, 1])
def test_a_limit_that_sinks_under_load_loses_nothing(limit: int, body: bytes) -> None:
    server = StrictServer(100)
    with through(server) as lb, ThreadPoolExecutor(1) as pool:
        found = pool.submit(crowd, lb, rounds=20, body=body)
        for now in [limit, 50, limit, 100]:
            before = len(server.answered)
            eventually(lambda before=before: len(server.answered) > before + 100, "requests are answered")
            for connection in list(server.connections):
                connection.allow(now)
            if now == 0:
                threading.Timer(0.1, lambda: [connection.allow(50) for connection in list(server.connections)]).start()
        assert found.result() == []
        assert (server.exceeded, failures(lb, server)) == (0, 0)


@pytest.mark.parametrize("body", [b"", b"x" * 100])
def test_a_goaway_below_the_streams_in_flight_loses_nothing(body: bytes) -> None:
    server = StrictServer(100)
    with through(server) as lb, ThreadPoolExecutor(1) as pool:
        found = pool.submit(crowd, lb, rounds=20, body=body)
        for _ in range(5):
            before = len(server.answered)
            eventually(lambda before=before: len(server.answered) > before + 150, "requests are answered")
            for connection in list(server.connections):
                with connection.lock:
                    connection.go_away(min(connection.open, default=connection.last))
        assert found.result() == []
        assert failures(lb, server) == 0


def test_a_goaway_in_place_of_a_stream_is_no_answer() -> None:
    def opens(connection: StrictConnection) -> None:
        connection.allow(1 if len(server.connections) > 2 else 0)
        if len(server.connections) <= 2:
            connection.go_away(0)

    server = StrictServer(opens=opens)
    with through(server) as lb:
        assert lb.ask(request(1))[2] == expected(1)
        assert (len(server.connections), failures(lb, server)) == (3, 0)


def refusing(times: int) -> Callable[[StrictConnection, int], None]:
    """Refuses the first request, and every third one after it, up to so many times in a row for each path."""
    turns = itertools.count()
    refused: Counter[str] = Counter()

    def complete(connection: StrictConnection, stream: int) -> None:
        path = connection.open[stream].fields[":path"]
        if next(turns) % 3 == 0 and refused[path] < times:
            refused[path] += 1
            connection.refuse(stream)
        else:
            connection.server.later(connection, stream)

    return complete


@pytest.mark.parametrize("size", [0, 1000, 60000, 65536])
def test_requests_that_are_refused_now_and_then_are_sent_again(size: int) -> None:
    server = StrictServer(20, complete=refusing(3))
    with through(server) as lb:
        assert crowd(lb, rounds=3, body=b"x" * size) == []
        assert (server.exceeded, failures(lb, server)) == (0, 0)


def test_a_body_that_is_still_coming_goes_on_where_the_request_is_sent_again() -> None:
    server = StrictServer(20)
    with through(server) as lb:
        peer = lb.client()
        peer.send(CHUNKED + b"4\r\nabcd\r\n")
        for stream in (1, 3, 5):
            eventually(lambda stream=stream: body_at(server, stream) == b"abcd", "the beginning has come")
            server.connections[0].refuse(stream)
        eventually(lambda: body_at(server, 7) == b"abcd", "the beginning has come once more")
        peer.send(b"3\r\nefg\r\n0\r\nX-Sum: 7\r\n\r\n")
        assert peer.message()[2] == told("POST", "/1", b"abcdefg")
        assert (server.answered[0].trailers, failures(lb, server)) == ({"x-sum": "7"}, 0)


def body_at(server: StrictServer, stream: int) -> bytes | None:
    asked = server.connections[0].open.get(stream) if server.connections else None
    return None if asked is None else asked.body


def test_trailers_are_sent_again_with_the_body() -> None:
    server = StrictServer(20, complete=refusing(4))
    with through(server) as lb:
        peer = lb.client()
        peer.send(CHUNKED + b"4\r\nabcd\r\n0\r\nX-Sum: 7\r\n\r\n")
        assert peer.message()[2] == told("POST", "/1", b"abcd")
        assert server.answered[0].trailers == {"x-sum": "7"}


def test_a_refused_body_of_which_a_part_is_not_kept_is_not_sent_again() -> None:
    server = StrictServer(20, complete=refusing(1))
    with through(server) as lb:
        assert lb.ask(request(1, b"x" * 70000))[0] == "HTTP/1.1 502 Bad Gateway"
        assert lb.ask(request(2, b"x" * 70000))[2] == expected(2, b"x" * 70000)


def held(lb: Edge) -> int:
    return lb.proxy._region.body_memory


def test_what_is_kept_of_bodies_is_taken_from_the_memory_for_bodies() -> None:
    server = StrictServer(20, complete=lambda connection, stream: None)
    with through(server) as lb:
        first, second = lb.client(), lb.client()
        first.send(request(1, b"x" * 1000))
        second.send(request(2, b"x" * 500))
        eventually(lambda: held(lb) == 1500, "both are kept")
        (connection,) = server.connections
        eventually(lambda: len(connection.open) == 2 and all(connection.open[stream].body for stream in (1, 3)), "sent")
        connection.refuse(1)
        eventually(lambda: 5 in connection.open and len(connection.open[5].body) in (500, 1000), "sent once more")
        eventually(lambda: held(lb) == 1500, "what was sent once more is kept once")
        connection.answer(3)
        connection.answer(5)
        assert {peer.message()[0] for peer in (first, second)} == {"HTTP/1.1 200 OK"}
        assert (held(lb), lb.proxy._region.bodies_shed) == (0, 0)


def test_a_refused_body_for_which_there_is_no_memory_is_not_sent_again_and_counted() -> None:
    server = StrictServer(20, complete=refusing(1))
    with contextlib.closing(server), edge(config_for(server.url), static={"bodyMemoryBytes": 999}) as lb:
        assert lb.ask(request(1, b"x" * 1000))[0] == "HTTP/1.1 502 Bad Gateway"
        assert (held(lb), lb.proxy._region.bodies_shed) == (0, 1)
        assert lb.ask(request(2, b"x" * 999))[2] == expected(2, b"x" * 999)
        assert lb.ask(request(3, b"x" * 999))[2] == expected(3, b"x" * 999)
        assert lb.ask(request(4, b"x" * 999))[2] == expected(4, b"x" * 999)  # refused at first
        assert (held(lb), lb.proxy._region.bodies_shed) == (0, 1)


def test_more_than_a_connection_keeps_of_all_its_bodies_is_counted() -> None:
    count, size = 72, 60000  # 4.3 MB
    server = StrictServer(100, complete=lambda connection, stream: None)
    with through(server) as lb:
        peers = [lb.client() for _ in range(count)]
        for number, peer in enumerate(peers):
            peer.send(request(number, b"x" * size))
        eventually(lambda: sum(len(connection.open) for connection in server.connections) == count, "all have come")
        eventually(lambda: lb.proxy._region.bodies_shed > 0, "some are not kept")
        assert held(lb) <= 4 << 20
        for connection in server.connections:
            for stream in list(connection.open):
                eventually(lambda c=connection, s=stream: len(c.open[s].body) == size, "it is there")  # type: ignore[misc]
                connection.answer(stream)
        assert {peer.message()[0] for peer in peers} == {"HTTP/1.1 200 OK"}
        assert held(lb) == 0


def test_a_body_that_a_middleware_of_the_service_has_changed_is_sent_again_behind_it() -> None:
    server = StrictServer(20, complete=refusing(4))
    dynamic = config_for(server.url)
    dynamic["http"]["services"]["all"]["middlewares"] = ["whole"]
    dynamic["http"]["middlewares"] = {"whole": {"buffering": {"maxRequestBodyBytes": 100000}}}
    with edge(dynamic) as lb:
        assert crowd(lb, body=b"x" * 1000) == []
    server.close()


def test_a_server_that_refuses_everything_has_failed_in_the_end() -> None:
    server = StrictServer(20, complete=lambda connection, stream: connection.refuse(stream))
    with through(server) as lb:
        assert lb.ask(request(1, b"abc"))[0] == "HTTP/1.1 502 Bad Gateway"
        assert 2 < len({connection.last for connection in server.connections}) + server.connections[0].last // 2 < 12
        assert counters(lb, MEMBER.format(server.url)).in_flight == 0


def test_a_server_that_refuses_everything_leaves_its_requests_to_others() -> None:
    server = StrictServer(20, complete=lambda connection, stream: connection.refuse(stream))
    other = StrictServer(20)
    with edge(config_for(server.url, other.url)) as lb:
        assert crowd(lb, rounds=3, body=b"abc") == []
        assert failures(lb, server) == 0
    server.close()
    other.close()


@pytest.mark.parametrize("limits", [{"maxConnections": 3}, {"strategy": "p2c", "maxConnections": 10}])
def test_the_limits_of_the_service_hold_over_refusals(limits: dict[str, Any]) -> None:
    refuses = refusing(3)
    most: list[int] = []

    def complete(connection: StrictConnection, stream: int) -> None:
        most.append(sum(len(each.open) for each in list(server.connections)))
        refuses(connection, stream)

    server = StrictServer(2, complete=complete)
    queue = {"queue": {"maxRequests": 1000, "timeout": "20s"}}
    with through(server, **limits, **queue) as lb:
        assert crowd(lb, rounds=3, body=b"abc") == []
        assert max(most) <= limits["maxConnections"]
        assert counters(lb, MEMBER.format(server.url)).in_flight == 0


def test_with_retries_and_failover_a_refused_request_is_answered_once() -> None:
    server = StrictServer(3, complete=refusing(3))
    with serving() as fallback:
        dynamic = {
            "http": {
                "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "either", "middlewares": ["again"]}},
                "middlewares": {"again": {"retry": {"attempts": 3, "initialInterval": "1ms"}}},
                "services": {
                    "either": {"failover": {"service": "all", "fallback": "other"}},
                    "all": {"loadBalancer": {"servers": [{"url": server.url}]}},
                    "other": {"loadBalancer": {"servers": [{"url": fallback.url}]}},
                },
            }
        }
        with edge(dynamic) as lb:
            assert crowd(lb, rounds=3, body=b"abc") == []
        assert len(server.answered) == 3 * CROWD
    server.close()
