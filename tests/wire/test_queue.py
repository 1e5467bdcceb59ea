"""Limits of servers, and the queue in front of them: over real sockets, in one worker and in two."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lbcore.state.cells import EJECTED
from tests.support.instance import eventually
from tests.support.wire import Edge, Peer, Server, config_for, edge

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello"


class Counting(Server):
    """Answers on demand, or after `delay_s`; records its most simultaneous requests."""

    def __init__(self, delay_s: float | None = None) -> None:
        self.now = self.most = self.total = 0
        self.delay_s = delay_s
        self.go = threading.Semaphore(0)
        self.order: list[str] = []
        self.lock = threading.Lock()
        super().__init__(self.serve)

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                first, _, body = peer.message()
                with self.lock:
                    self.now += 1
                    self.total += 1
                    self.most = max(self.most, self.now)
                    self.order.append(first.split()[1])
                if self.delay_s is None:
                    self.go.acquire()
                else:
                    time.sleep(self.delay_s)
                with self.lock:
                    self.now -= 1
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body) + 1, b"." + body))


@contextlib.contextmanager
def counting(count: int = 1, delay_s: float | None = None) -> Iterator[list[Counting]]:
    servers = [Counting(delay_s) for _ in range(count)]
    try:
        yield servers
    finally:
        for server in servers:
            for _ in range(1000):
                server.go.release()
            server.close()


def limited(*servers: Server, limit: int = 1, timeout: str = "5s", room: int = 1024, **more: Any) -> dict[str, Any]:
    queue = {"maxRequests": room, "timeout": timeout}
    return config_for(*(server.url for server in servers), maxConnections=limit, queue=queue, **more)


def queue_of(lb: Edge) -> Any:
    slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
    return lb.proxy._region.queue_counters(slots.services["all@file"])


def in_flight(lb: Edge, server: Server) -> int:
    slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
    return lb.proxy._region.counted_in_flight(slots.servers[f"all@file|{server.url}"])


def waiting(lb: Edge, count: int) -> None:
    eventually(lambda: queue_of(lb).waiting == count, f"{count} requests wait")


def sent(lb: Edge, path: str, cookie: str = "", **options: Any) -> Peer:
    client = lb.client(**options)
    line = f"Cookie: {cookie}\r\n" if cookie else ""
    client.send(f"GET {path} HTTP/1.1\r\nHost: shop.test\r\n{line}\r\n".encode())
    return client


def test_requests_beyond_the_limit_wait_and_go_on_in_order() -> None:
    with counting() as (server,), edge(limited(server, limit=2)) as lb:
        clients = []
        for number in range(6):
            clients.append(sent(lb, f"/{number}"))
            if number < 2:
                eventually(lambda n=number: server.total == n + 1, "the server has it")  # type: ignore[misc]
            else:
                waiting(lb, number - 1)
        assert server.now == server.total == 2
        for number in range(6):
            server.go.release()
            eventually(lambda n=number: server.total == min(6, n + 3), "the next one")  # type: ignore[misc]
        for client in clients:
            assert client.message()[0] == "HTTP/1.1 200 OK"
        assert server.order == [f"/{number}" for number in range(6)]
        assert server.most == 2
        found = queue_of(lb)
        assert (found.waiting, found.queued, found.timed_out, found.rejected, found.abandoned) == (0, 4, 0, 0, 0)
        assert in_flight(lb, server) == 0


def test_who_waits_too_long_is_answered_with_503() -> None:
    with counting() as (server,), edge(limited(server, timeout="150ms")) as lb:
        first = sent(lb, "/1")
        eventually(lambda: server.total == 1, "the server is full")
        second = lb.client()
        started = time.monotonic()
        status, headers, body = second.ask(GET)
        assert 0.15 <= time.monotonic() - started < 10
        assert (status, body) == ("HTTP/1.1 503 Service Unavailable", b"no available server\n")
        assert headers["content-type"] == "text/plain; charset=utf-8"
        server.go.release()
        assert first.message()[2] == b"."
        server.go.release()
        assert second.ask(GET)[2] == b".", "the connection goes on"
        assert queue_of(lb).timed_out == 1


def test_a_full_queue_refuses_at_once() -> None:
    with counting() as (server,), edge(limited(server, room=2)) as lb:
        clients = [sent(lb, f"/{number}") for number in range(1)]
        eventually(lambda: server.total == 1, "the server is full")
        clients += [sent(lb, f"/{number}") for number in range(2)]
        waiting(lb, 2)
        started = time.monotonic()
        assert lb.ask(GET)[0] == "HTTP/1.1 503 Service Unavailable"
        assert time.monotonic() - started < 10
        assert queue_of(lb).rejected == 1
        for _ in range(3):
            server.go.release()
        assert [client.message()[2] for client in clients] == [b"."] * 3


def test_without_room_no_request_waits() -> None:
    with counting() as (server,), edge(limited(server, room=0)) as lb:
        client = sent(lb, "/1")
        eventually(lambda: server.total == 1, "the server is full")
        assert lb.ask(GET)[0] == "HTTP/1.1 503 Service Unavailable"
        server.go.release()
        assert client.message()[2] == b"."


@pytest.mark.parametrize("request_", [GET, POST, POST[:-2]], ids=["get", "post", "half a body"])
def test_a_client_that_goes_away_leaves_the_queue(request_: bytes) -> None:
    with counting() as (server,), edge(limited(server)) as lb:
        first = sent(lb, "/1")
        eventually(lambda: server.total == 1, "the server is full")
        gone = lb.client()
        gone.send(request_)
        waiting(lb, 1)
        gone.close()
        waiting(lb, 0)
        assert queue_of(lb).abandoned == 1
        server.go.release()
        assert first.message()[2] == b"."
        eventually(lambda: in_flight(lb, server) == 0, "nothing is under way")
        assert server.total == 1


def test_a_client_that_goes_away_gives_its_slot_back() -> None:
    with counting() as (server,), edge(limited(server)) as lb:
        for number in range(5):
            gone = sent(lb, "/1")
            eventually(lambda n=number: server.total == n + 1, "the server has it")  # type: ignore[misc]
            gone.close()
            eventually(lambda: in_flight(lb, server) == 0, "the slot is free")


def test_bodies_and_pipelined_requests_wait_too() -> None:
    with counting(delay_s=0.02) as (server,), edge(limited(server)) as lb:
        clients = [lb.client() for _ in range(5)]
        for client in clients:
            client.send(POST + GET + POST)
        for client in clients:
            assert [client.message()[2] for _ in range(3)] == [b".hello", b".", b".hello"]
        assert server.most == 1
        assert in_flight(lb, server) == 0


def test_a_large_body_is_not_read_while_its_request_waits() -> None:
    body = bytes(3_000_000)
    with counting() as (server,), edge(limited(server)) as lb:
        first = sent(lb, "/1")
        eventually(lambda: server.total == 1, "the server is full")
        client = lb.client()
        client.send(b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
        threading.Thread(target=client.send, args=(body,), daemon=True).start()
        waiting(lb, 1)
        server.go.release(2)
        assert first.message()[2] == b"."
        assert client.message()[2] == b"." + body


@pytest.mark.parametrize("strategy", ["wrr", "p2c", "leastconn", "leasttime", "peakewma", "hrw"])
def test_every_strategy_passes_over_a_full_server(strategy: str) -> None:
    with counting(3) as servers:
        urls = [{"url": server.url, "maxConnections": limit} for server, limit in zip(servers, (1, 2, 5), strict=True)]
        with edge(config_for(strategy=strategy) | {}) as lb:
            dynamic = config_for(strategy=strategy)
            dynamic["http"]["services"]["all"]["loadBalancer"]["servers"] = urls
            lb.apply(dynamic)
            clients = [sent(lb, f"/{number}") for number in range(10)]
            eventually(lambda: [server.now for server in servers] == [1, 2, 5], "all are full")
            waiting(lb, 2)
            for server in servers:
                for _ in range(10):
                    server.go.release()
            assert all(client.message()[2] == b"." for client in clients)
            assert [server.most <= limit for server, limit in zip(servers, (1, 2, 5), strict=True)] == [True] * 3


def test_a_server_without_a_limit_of_its_own_has_that_of_the_service_and_zero_is_none() -> None:
    with counting(2) as (one, other):
        dynamic = limited(one, other, limit=1)
        dynamic["http"]["services"]["all"]["loadBalancer"]["servers"][1]["maxConnections"] = 0
        with edge(dynamic) as lb:
            clients = [sent(lb, f"/{number}") for number in range(10)]
            eventually(lambda: (one.now, other.now) == (1, 9), "the one without a limit has the rest")
            one.go.release()
            other.go.release(9)
            assert all(client.message()[2] == b"." for client in clients)
            assert queue_of(lb).queued == 0


def test_a_session_waits_for_its_server_and_others_do_not_wait_for_it() -> None:
    with counting(2) as (one, other), edge(limited(one, other, sticky={"cookie": {"name": "s"}})) as lb:
        first = sent(lb, "/new")
        eventually(lambda: one.total == 1, "a session begins")
        one.go.release()
        cookie = first.message()[1]["set-cookie"].partition(";")[0]
        blocking = [sent(lb, "/keeps", cookie), sent(lb, "/other")]
        eventually(lambda: (one.now, other.now) == (1, 1), "both are full")
        session = sent(lb, "/session", cookie)
        waiting(lb, 1)
        late = sent(lb, "/late")
        waiting(lb, 2)
        other.go.release()
        eventually(lambda: other.order[-1] == "/late", "the one that takes any server goes on")
        other.go.release()
        assert late.message()[2] == b"."
        assert queue_of(lb).waiting == 1
        one.go.release()
        eventually(lambda: one.order[-1] == "/session", "the session has its server")
        one.go.release()
        assert "set-cookie" not in session.message()[1]
        assert [client.message()[2] for client in blocking] == [b".", b"."]


def test_a_session_goes_elsewhere_when_its_server_goes_down_meanwhile() -> None:
    with counting(2) as (one, other), edge(limited(one, other, sticky={"cookie": {"name": "s"}})) as lb:
        first = sent(lb, "/new")
        eventually(lambda: one.total == 1, "a session begins")
        one.go.release()
        cookie = first.message()[1]["set-cookie"].partition(";")[0]
        held = sent(lb, "/held", cookie)
        eventually(lambda: one.now == 1, "its server is full")
        session = sent(lb, "/session", cookie)
        waiting(lb, 1)
        slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
        lb.proxy._region.set_up(slots.servers[f"all@file|{one.url}"], False)
        eventually(lambda: other.now == 1, "it goes to the other one")
        other.go.release()
        assert "set-cookie" in session.message()[1]
        one.go.release()
        assert held.message()[2] == b"."


def test_who_waits_is_answered_when_no_server_is_left() -> None:
    with counting() as (server,), edge(limited(server, timeout="60s")) as lb:
        held = sent(lb, "/held")
        eventually(lambda: server.now == 1, "the server is full")
        client = sent(lb, "/waits")
        waiting(lb, 1)
        slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
        lb.proxy._region.set_up(slots.servers[f"all@file|{server.url}"], False)
        assert client.message()[0] == "HTTP/1.1 503 Service Unavailable"
        server.go.release()
        assert held.message()[2] == b"."


Change = Callable[[Counting, Counting], dict[str, Any]]


@pytest.mark.parametrize(
    "change",
    [
        lambda one, two: limited(one, two, limit=1),
        lambda one, two: limited(one, limit=2),
        lambda one, two: limited(two, limit=1),
        lambda one, two: config_for(one.url),
    ],
    ids=["a server more", "a higher limit", "another server", "no limit"],
)
def test_a_reload_helps_those_that_wait(change: Change) -> None:
    with counting(2) as (one, two), edge(limited(one, timeout="60s")) as lb:
        held = sent(lb, "/held")
        eventually(lambda: one.now == 1, "the server is full")
        client = sent(lb, "/waits")
        waiting(lb, 1)
        lb.apply(change(one, two))
        eventually(lambda: one.now + two.now == 2, "the one that waits goes on")
        one.go.release(2)
        two.go.release(2)
        assert [client.message()[2], held.message()[2]] == [b".", b"."]
        waiting(lb, 0)


def test_reloads_lose_no_request_and_keep_the_count() -> None:
    with counting(2, delay_s=0.005) as servers, edge(limited(*servers, limit=2, timeout="20s")) as lb:
        answers: list[bytes] = []

        def ask() -> None:
            client = lb.client()
            for _ in range(20):
                answers.append(client.ask(GET)[2])

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            lb.apply(limited(*servers, limit=2, timeout="20s", strategy="p2c"))
            lb.apply(limited(*servers, limit=2, timeout="20s"))
        for thread in threads:
            thread.join()
        assert answers == [b"."] * 240
        assert max(server.most for server in servers) == 2
        assert [in_flight(lb, server) for server in servers] == [0, 0]
        assert queue_of(lb).waiting == 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_clients_do_no_count_is_left(seed: int) -> None:
    """Clients ask, come back to their session, break off in the queue or at the server, pipeline; all amid reloads."""

    def behave(number: int) -> None:
        draw = random.Random(seed * 1000 + number)
        cookie = b""
        for _ in range(25):
            client = lb.client()
            text = draw.choice([GET, POST]).replace(b"\r\n\r\n", b"\r\n" + cookie + b"\r\n", 1)
            with contextlib.closing(client), contextlib.suppress(EOFError, ConnectionError):
                client.send(text * draw.randint(1, 3) if draw.random() < 0.3 else text)
                if draw.random() < 0.4:
                    time.sleep(draw.random() * 0.01)
                    continue
                found = client.message()[1].get("set-cookie", "")
                if found and draw.random() < 0.5:
                    cookie = b"Cookie: %s\r\n" % found.partition(";")[0].encode()

    with counting(2, delay_s=0.003) as servers:
        sticky = {"cookie": {"name": "s"}}
        with edge(limited(*servers, limit=2, timeout="100ms", room=10, sticky=sticky)) as lb:
            threads = [threading.Thread(target=behave, args=(number,), daemon=True) for number in range(16)]
            for thread in threads:
                thread.start()
            strategies = itertools.cycle(["wrr", "p2c", "leastconn"])
            while any(thread.is_alive() for thread in threads):
                more = {"strategy": next(strategies), "sticky": sticky}
                lb.apply(limited(*servers, limit=2, timeout="100ms", room=10, **more))
            eventually(lambda: queue_of(lb).waiting == 0, "no request waits")
            eventually(lambda: [in_flight(lb, server) for server in servers] == [0, 0], "nothing is under way")
            found = queue_of(lb)
            assert found.queued > found.abandoned > 0
            assert lb.ask(GET)[2] == b"."


def test_a_service_that_leaves_serves_those_that_wait() -> None:
    with counting(2) as (one, two), edge(limited(one, timeout="60s")) as lb:
        held = sent(lb, "/held")
        eventually(lambda: one.now == 1, "the server is full")
        client = sent(lb, "/waits")
        waiting(lb, 1)
        dynamic = config_for(two.url)
        dynamic["http"]["services"]["new"] = dynamic["http"]["services"].pop("all")
        dynamic["http"]["routers"]["all"]["service"] = "new"
        lb.apply(dynamic)
        one.go.release(2)
        assert [client.message()[2], held.message()[2]] == [b".", b"."]


def test_the_fallback_is_asked_when_the_queue_is_full_or_too_slow() -> None:
    with counting(2, delay_s=None) as (main, spare):
        dynamic = limited(main, room=1, timeout="100ms")
        services = dynamic["http"]["services"]
        services["main"] = services["all"]
        services["spare"] = config_for(spare.url)["http"]["services"]["all"]
        services["all"] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}
        with edge(dynamic) as lb:
            held = sent(lb, "/held")
            eventually(lambda: main.now == 1, "the main one is full")
            clients = [lb.client() for _ in range(3)]
            for client in clients:
                client.send(POST)
            eventually(lambda: spare.now == 3, "the others are at the fallback")
            spare.go.release(3)
            assert [client.message()[2] for client in clients] == [b".hello"] * 3
            main.go.release()
            assert held.message()[2] == b"."


def test_copies_are_made_of_a_request_that_waits_in_vain() -> None:
    with counting(2, delay_s=None) as (main, spare), counting(delay_s=0) as (shadow,):
        dynamic = limited(main, room=1, timeout="100ms")
        services = dynamic["http"]["services"]
        services["main"] = services["all"]
        services["spare"] = config_for(spare.url)["http"]["services"]["all"]
        services["shadow"] = config_for(shadow.url)["http"]["services"]["all"]
        services["both"] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}
        services["all"] = {"mirroring": {"service": "both", "mirrors": [{"name": "shadow", "percent": 100}]}}
        with edge(dynamic) as lb:
            held = sent(lb, "/held")
            eventually(lambda: main.now == 1, "the main one is full")
            client = lb.client()
            client.send(POST)
            eventually(lambda: spare.now == 1, "the next one is at the fallback")
            spare.go.release()
            assert client.message()[2] == b".hello"
            eventually(lambda: shadow.total == 2, "there are copies of both")
            main.go.release()
            assert held.message()[2] == b"."


def test_a_fallback_without_servers_answers_for_itself() -> None:
    with counting() as (main,):
        dynamic = limited(main, room=0)
        services = dynamic["http"]["services"]
        services["main"] = services["all"]
        services["spare"] = {"loadBalancer": {"servers": []}}
        services["all"] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}
        with edge(dynamic) as lb:
            held = sent(lb, "/held")
            eventually(lambda: main.now == 1, "the main one is full")
            for _ in range(3):
                assert lb.ask(GET)[0] == "HTTP/1.1 503 Service Unavailable"
            main.go.release()
            assert held.message()[2] == b"."


def test_a_body_that_is_refused_gives_the_slot_back() -> None:
    with counting(2) as (main, spare):
        dynamic = limited(main)
        services = dynamic["http"]["services"]
        services["main"] = services["all"]
        services["spare"] = config_for(spare.url)["http"]["services"]["all"]
        errors = {"status": ["503"], "maxRequestBodyBytes": 3}
        services["all"] = {"failover": {"service": "main", "fallback": "spare", "errors": errors}}
        with edge(dynamic) as lb:
            for _ in range(3):
                assert lb.ask(POST)[0] == "HTTP/1.1 413 Request Entity Too Large"
            main.go.release()
            assert lb.ask(GET)[2] == b"."


def test_an_open_websocket_holds_its_slot() -> None:
    def switch(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            peer.message()
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            while piece := peer.sock.recv(100):
                peer.send(piece)

    server = Server(switch)
    upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    try:
        with edge(limited(server, limit=1)) as lb:
            first, second = lb.client(), lb.client()
            assert first.ask(upgrade)[0] == "HTTP/1.1 101 Switching Protocols"
            second.send(upgrade)
            waiting(lb, 1)
            first.send(b"still here")
            assert first.exactly(10) == b"still here"
            first.close()
            assert second.message(body=False)[0] == "HTTP/1.1 101 Switching Protocols"
            second.close()
            eventually(lambda: in_flight(lb, server) == 0, "nothing is under way")
    finally:
        server.close()


def test_a_trial_whose_client_goes_away_is_not_the_last_one() -> None:
    with counting() as (server,):
        passive = {"maxFailedAttempts": 1, "failureWindow": "100ms"}
        with edge(config_for(server.url, passiveHealthCheck=passive)) as lb:
            slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
            region, slot = lb.proxy._region, slots.servers[f"all@file|{server.url}"]
            region.set_up(slot, False, EJECTED)
            eventually(lambda: region.is_up(slot), "it may be tried again")
            gone = sent(lb, "/trial")
            eventually(lambda: server.now == 1, "one tries")
            assert lb.ask(GET)[0] == "HTTP/1.1 503 Service Unavailable"
            gone.close()
            eventually(lambda: region.server_in_flight(slot) == 0, "it has gone")
            server.go.release(2)
            assert lb.ask(GET)[2] == b"."


def test_copies_are_made_of_requests_that_waited() -> None:
    with counting(2, delay_s=0.02) as (main, copy):
        dynamic = limited(main)
        services = dynamic["http"]["services"]
        services["main"] = services["all"]
        services["copy"] = config_for(copy.url)["http"]["services"]["all"]
        services["all"] = {"mirroring": {"service": "main", "mirrors": [{"name": "copy", "percent": 100}]}}
        with edge(dynamic) as lb:
            clients = [lb.client() for _ in range(4)]
            for client in clients:
                client.send(POST)
            assert [client.message()[2] for client in clients] == [b".hello"] * 4
            eventually(lambda: copy.total == 4, "all copies")
            assert main.most == 1


def test_a_server_that_cannot_be_reached_gives_its_slots_back() -> None:
    with counting(1, delay_s=0.001) as (server,):
        dead = Server()
        dead.close()
        with edge(limited(dead, server, limit=1)) as lb:
            clients = [lb.client() for _ in range(5)]
            for _ in range(10):
                for client in clients:
                    client.send(GET)
                for client in clients:
                    assert client.message()[2] == b"."
            assert (in_flight(lb, server), in_flight(lb, dead)) == (0, 0)
            assert server.most == 1


def test_a_server_that_dies_gives_its_slots_back() -> None:
    def die(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            peer.message()

    server = Server(die)
    try:
        with edge(limited(server, limit=2)) as lb:
            for _ in range(20):
                assert lb.ask(GET)[0] in ("HTTP/1.1 502 Bad Gateway", "HTTP/1.1 500 Internal Server Error")
            eventually(lambda: in_flight(lb, server) == 0, "nothing is under way")
            assert queue_of(lb).queued == 0
    finally:
        server.close()


def test_a_connection_that_died_idle_is_replaced_in_its_place() -> None:
    """The second attempt keeps the slot of the first: no waiting request takes it."""
    answers = threading.Semaphore(0)

    def once(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            peer.message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n.")
            answers.release()
            peer.message()  # of the next request, on the same connection: end it unanswered

    server = Server(once)
    try:
        with edge(limited(server, limit=1)) as lb:
            client = lb.client()
            for _ in range(10):
                assert client.ask(GET)[2] == b"."
            eventually(lambda: in_flight(lb, server) == 0, "nothing is under way")
    finally:
        server.close()


def test_draining_waits_for_those_that_wait() -> None:
    with counting(delay_s=0.05) as (server,):
        with edge(limited(server, timeout="20s")) as lb:
            clients = [sent(lb, f"/{number}", stays=True) for number in range(6)]
            waiting(lb, 5)
        assert [client.message()[2] for client in clients] == [b"."] * 6


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({"maxConnections": -1}, "greater than or equal to 0"),
        ({"maxConnections": 1, "queue": {"timeout": "0s"}}, "has to be 1ms or more"),
        ({"maxConnections": 1, "queue": {"maxRequests": -1}}, "greater than or equal to 0"),
    ],
)
def test_bad_limits_are_refused(service: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem), edge(config_for("http://127.0.0.1:1", **service)):
        pass


def test_a_queue_without_limits_is_refused() -> None:
    with edge(config_for("http://127.0.0.1:1", queue={})) as lb:
        assert [entry.kind for entry in lb.proxy.disabled] == ["router", "service"]
        assert any("queue goes with maxConnections" in error for error in lb.proxy.disabled[0].errors)
