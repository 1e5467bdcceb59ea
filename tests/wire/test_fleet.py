"""Instances that share a store: requests under way, parts of limits, weights, opinions; and what counts without it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.fleet import board
from lbcore.fleet.board import EXCHANGE, GET, RESTORE, SET, said_of
from lbcore.store import holds
from lbcore.store.holds import HOLD, RELEASE, RENEW
from tests.support.instance import becomes_true, eventually
from tests.support.ports import free_port
from tests.support.problems import errors_of
from tests.support.recorder import Held, recorders, through
from tests.support.redis_servers import StoreServer
from tests.support.valve import Valve
from tests.support.wire import Edge, config_for, edge
from tests.wire.test_in_flight_req import get, limited, status

TOKEN = "open sesame, please"
KEY = "inflight:few@file:all@file:a.test"


def missed(lb: Edge) -> int:
    assert lb.proxy._region is not None
    return lb.proxy._region.stores_missed


def instances(lb: Edge) -> int:
    assert lb.proxy._region is not None
    return lb.proxy._region.instances


@contextlib.contextmanager
def edges(count: int, dynamic: dict[str, Any], static: dict[str, Any] | None = None) -> Iterator[list[Edge]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(edge(dynamic, static=static)) for _ in range(count)]


def shared(store: StoreServer, **more: Any) -> dict[str, Any]:
    """The static configuration of an instance of a fleet."""
    api = {"api": {"insecure": True, "token": TOKEN}}
    return {**api, "fleet": {"redis": {"endpoints": [store.endpoint]}, "interval": "100ms", **more}}


# Requests under way


def test_instances_count_requests_under_way_together(store: StoreServer) -> None:
    with recorders("a") as (a,):
        dynamic = limited(a.url, amount=2, redis={"endpoints": [store.endpoint]})
        with edges(3, dynamic) as found:
            held = Held(a)
            clients = [lb.client() for lb in found[:2]]
            for number, client in enumerate(clients, 1):
                client.send(get())
                eventually(lambda number=number: len(a.requests) == number, "it is under way")
            for lb in found:
                line, _, text = lb.ask(get())
                assert (line.split()[1], text) == ("429", b"max connections reached: 2")
            held.opened.set()
            assert all(" 200 " in client.message()[0] for client in clients)
            eventually(lambda: not store.client.keys("inflight:*"), "all are given back")
            assert [status(lb, get()) for lb in found] == ["200"] * 3
            assert [missed(lb) for lb in found] == [0, 0, 0]


def test_a_client_that_goes_gives_its_place_back(store: StoreServer) -> None:
    with recorders("a") as (a,), edge(limited(a.url, amount=1, redis={"endpoints": [store.endpoint]})) as lb:
        held = Held(a)
        client = lb.client()
        client.send(get())
        eventually(lambda: len(a.requests) == 1, "it is under way")
        assert status(lb, get()) == "429"
        client.close()
        eventually(lambda: not store.client.keys("inflight:*"), "it is given back")
        held.opened.set()
        assert status(lb, get()) == "200"


def test_a_client_that_goes_while_the_store_is_asked_gives_its_place_back(store: StoreServer) -> None:
    options = {"endpoints": [store.endpoint], "maxWait": "60s", "readTimeout": "60s"}
    with recorders("a") as (a,), edge(limited(a.url, amount=1, redis=options)) as lb:
        assert status(lb, get()) == "200"
        eventually(lambda: not store.client.keys("inflight:*"), "it is given back")
        store.client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
        client = lb.client()
        client.send(get())
        lb.settle()
        client.close()
        eventually(lambda: lb.open_connections == 0, "the client has gone")
        store.client.execute_command("CLIENT", "UNPAUSE")
        eventually(lambda: status(lb, get()) == "200", "the place that came too late is given back")
        assert len(a.requests) >= 2 and missed(lb) == 0


def test_what_an_instance_held_that_has_died_is_given_back(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a living one holds is not, however long a request takes."""
    monkeypatch.setattr(holds, "LEASE_S", 0.6)
    monkeypatch.setattr(holds, "RENEW_S", 0.2)
    store.client.zadd(KEY, {"dead": 1})
    with recorders("a") as (a,), edge(limited(a.url, amount=1, redis={"endpoints": [store.endpoint]})) as lb:
        held = Held(a)
        client = lb.client()
        client.send(get())
        eventually(lambda: len(a.requests) == 1, "the dead one's place is free")
        began_s = time.monotonic()
        while time.monotonic() - began_s < 1.8:  # three times as long as what is not renewed counts
            assert status(lb, get()) == "429"
        held.opened.set()
        assert " 200 " in client.message()[0]


def test_scripts_keep_count(store: StoreServer) -> None:
    """By the store alone: a call that comes twice counts once, a place ends with its time, a lost one comes back."""

    def run(script: Any, *parts: Any) -> int:
        return int(store.client.eval(script.text, 1, "k", *parts))

    def hold(place: str, lease_ms: int = 60_000) -> int:
        return run(HOLD, place, lease_ms, 3)

    assert [hold(place) for place in "aabcd"] == [1, 1, 1, 1, 0]
    assert store.client.zcard("k") == 3
    assert [run(RELEASE, "a", "b"), run(RELEASE, "a"), run(RELEASE, "c")] == [2, 0, 1]
    assert not store.client.exists("k")
    run(RENEW, 60_000, "a", "b")
    assert [hold("c"), hold("d")] == [1, 0]
    assert run(RELEASE, "c") == 1 and hold("short", 50) == 1
    eventually(lambda: hold("long") == 1, "its time is over")
    assert sorted(store.client.zrange("k", 0, -1)) == [b"a", b"b", b"long"]
    assert 0 < store.client.pttl("k") <= 60_000


def test_places_come_back_to_a_store_that_has_lost_them(store: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "RENEW_S", 0.1)
    with recorders("a") as (a,), edges(2, limited(a.url, amount=1, redis={"endpoints": [store.endpoint]})) as found:
        held = Held(a)
        client = found[0].client()
        client.send(get())
        eventually(lambda: len(a.requests) == 1, "it is under way")
        store.client.flushall()
        eventually(lambda: store.client.exists(KEY), "the place is there again")
        assert status(found[1], get()) == "429"
        held.opened.set()
        assert " 200 " in client.message()[0]
        eventually(lambda: not store.client.keys("inflight:*"), "it is given back")
        assert status(found[1], get()) == "200"


def test_a_store_that_is_slow_holds_nobody_up_and_keeps_no_places(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places of replies that come too late are given back, and so are those of replies that never come."""
    monkeypatch.setattr(holds, "RENEW_S", 0.1)
    valve = Valve(store.port)
    options = {"endpoints": [valve.endpoint], "maxWait": "100ms", "readTimeout": "60s"}
    with recorders("a") as (a,), edge(limited(a.url, amount=1, redis=options)) as lb:
        for lose in (valve.open, valve.cut):
            assert status(lb, get()) == "200"
            eventually(lambda: not store.client.keys("inflight:*"), "it is given back")
            valve.shut()
            before = missed(lb)
            assert [status(lb, get()) for _ in range(5)] == ["200"] * 5
            assert missed(lb) == before + 5
            lose()
            valve.open()

            def counts() -> bool:
                before = missed(lb)
                return status(lb, get()) == "200" and missed(lb) == before

            eventually(counts, "the store is asked again")
            eventually(lambda: not store.client.keys("inflight:*"), "no place is kept")
    valve.close()


def test_a_place_whose_reply_was_lost_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may have given it: no request has it, and it would count until its time is over."""
    monkeypatch.setattr(holds, "RENEW_S", 0.01)
    calls: list[tuple[Any, tuple[bytes, ...]]] = []

    class Forgetful:
        """Replies to all but HOLD."""

        def run(self, script: Any, key: bytes, parts: tuple[bytes, ...], done: Any) -> object:
            calls.append((script, parts))
            asyncio.get_running_loop().call_soon(done, None if script is HOLD else 1)
            return self

    async def ask() -> None:
        results: list[int | None] = []
        place = holds.Holds(Forgetful()).ask(b"k", 1, results.append)  # type: ignore[arg-type]
        await becomes_true(lambda: (RELEASE, (place,)) in calls)
        assert results == [None]

    asyncio.run(ask())


AWAY = {"local": ["200", "429"], "pass": ["200", "200"], "refuse": ["503", "503"]}


@pytest.mark.parametrize("when_away", AWAY)
def test_a_store_of_requests_under_way_that_is_away(when_away: str) -> None:
    options = {"endpoints": [f"127.0.0.1:{free_port()}"], "whenAway": when_away}
    with recorders("a") as (a,), edge(limited(a.url, amount=1, redis=options)) as lb:
        held = Held(a)
        clients = [lb.client(), lb.client()]
        for number, client in enumerate(clients, 1):
            client.send(get())
            eventually(lambda number=number: missed(lb) == number, "it goes on without the store")
        held.opened.set()
        answers = [client.message()[0].split()[1] for client in clients]
        assert answers == AWAY[when_away]
        assert missed(lb) == 2


# Parts of limits


def test_limits_are_divided_by_the_instances_that_live(store: StoreServer) -> None:
    with recorders("a") as (a,):
        rate = {"rateLimit": {"average": 1, "period": "1h", "burst": 6, "fleetWide": True}}
        dynamic = through(a.url, rate)
        alone = through(a.url, {"rateLimit": {"average": 1, "period": "1h", "burst": 6}})
        with edge(dynamic, static=shared(store)) as first, edge(dynamic, static=shared(store)) as second:
            eventually(lambda: instances(first) == instances(second) == 2, "they know of each other")
            for lb in (first, second):
                assert [status(lb, get()) for _ in range(5)] == ["200"] * 3 + ["429"] * 2
            with edge(alone, static=shared(store)) as third:
                eventually(lambda: instances(third) == 3, "it knows of them")
                assert [status(third, get()) for _ in range(8)] == ["200"] * 6 + ["429"] * 2
        with edge(dynamic, static=shared(store)) as lb:
            eventually(lambda: instances(lb) == 1, "the others have gone")
            assert [status(lb, get()) for _ in range(8)] == ["200"] * 6 + ["429"] * 2


def test_requests_under_way_are_divided_too(store: StoreServer) -> None:
    with recorders("a") as (a,):
        with edges(2, limited(a.url, amount=3, fleetWide=True), shared(store)) as found:
            eventually(lambda: all(instances(lb) == 2 for lb in found), "they know of each other")
            held = Held(a)
            for number, lb in enumerate(found, 1):
                client = lb.client()
                client.send(get())
                eventually(lambda number=number: len(a.requests) == number, "it is under way")
                assert status(lb, get()) == "429"
            held.opened.set()


def test_a_store_that_dies_leaves_the_number_as_it_was(tmp_path: Path) -> None:
    own = StoreServer(tmp_path, "redis")
    with recorders("a") as (a,), edges(3, config_for(a.url), shared(own)) as found:
        eventually(lambda: all(instances(lb) == 3 for lb in found), "they know of each other")
        own.stop()
        eventually(lambda: all(state(lb)["problem"] for lb in found), "they are alone")
        assert [instances(lb) for lb in found] == [3, 3, 3]
        assert status(found[0], get()) == "200"
        own.start()
        eventually(lambda: not any(state(lb)["problem"] for lb in found), "they are together again")
    own.stop()


def test_the_number_does_not_fall_because_the_store_has_lost_it(store: StoreServer) -> None:
    with recorders("a") as (a,), edges(3, config_for(a.url), shared(store)) as found:
        eventually(lambda: all(instances(lb) == 3 for lb in found), "they know of each other")
        seen = set()
        for _ in range(3):
            store.client.flushall()

            def all_are_back() -> bool:
                seen.update(instances(lb) for lb in found)
                return len(said(store)) == 3

            eventually(all_are_back, "all have spoken again")
        assert seen == {3}


def test_an_instance_lives_for_as_long_as_it_says(store: StoreServer) -> None:
    """By the store's clock alone, whatever its interval, and not for much longer when that clock jumps."""

    def look() -> list[bytes]:
        found: list[bytes] = store.client.eval(EXCHANGE.text, 1, "k", "me", "{}", 3000)
        return found

    now_s, micros = store.client.time()
    now = now_s * 1000 + micros // 1000
    for name, at, life in (("slow", now - 10_000, 50_000), ("gone", now - 10_000, 3000), ("later", now + 10**9, 3000)):
        store.client.hset("k", name, f"{at} {life} {name}")
    assert look()[::2][0] == 0  # it was not known
    known, age, text = look()
    assert (known, text) == (1, b"slow") and 10_000 <= int(age) < 60_000
    assert sorted(store.client.hkeys("k")) == [b"me", b"slow"]
    assert 3000 < store.client.pttl("k") <= 50_000


def test_an_instance_of_both_families_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from lbcore.fleet import peers

    four, six = socket.AF_INET, socket.AF_INET6
    places = [(four, "10.0.0.1"), (six, "fd::1"), (six, "fd::2"), (four, "10.0.0.2"), (six, "fd::2")]
    found = [(family, socket.SOCK_STREAM, 0, "", (host, 0)) for family, host in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *rest, **more: found)
    assert peers._named("a.test") == 2


def test_peers_by_their_addresses_and_by_a_name(tmp_path: Path) -> None:
    with recorders("a", "b", "c") as (a, b, c):
        c.answer = lambda first, headers, body: (503, b"") if first.startswith("GET /ping ") else (200, b"")
        addresses = [f"{each.url}/ping" for each in (a, b, c)] + [f"http://127.0.0.1:{free_port()}/ping"]
        static = {"fleet": {"peers": {"addresses": addresses}, "interval": "100ms"}}
        with edge(config_for(a.url), static=static) as lb:
            eventually(lambda: instances(lb) == 3, "two of four serve, and this one")
            b.close()
            eventually(lambda: instances(lb) == 2, "one has gone")
    static = {"fleet": {"peers": {"dns": "localhost"}, "interval": "100ms"}, "api": {"insecure": True}}
    with recorders("a") as (a,), edge(config_for(a.url), static=static) as lb:
        eventually(lambda: (instances(lb), state(lb)["problem"]) == (1, ""), "a name is resolved")
    static = {"fleet": {"peers": {"dns": "nowhere.invalid"}, "interval": "100ms"}, "api": {"insecure": True}}
    with recorders("a") as (a,), edge(config_for(a.url), static=static) as lb:
        eventually(lambda: "peers: " in state(lb)["problem"], "it is said why not")
        assert instances(lb) == 1


# Weights


def asked(lb: Edge, path: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    url = f"{lb.proxy.url('traefik')}{path}"
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {TOKEN}"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def state(lb: Edge) -> dict[str, Any]:
    found: dict[str, Any] = asked(lb, "/api/state")["fleet"]
    return found


def weight(lb: Edge, member: str) -> int | None:
    assert lb.proxy._region is not None and lb.proxy._runtime is not None
    found: int | None = lb.proxy._region.weight_override(lb.proxy._runtime.slots.servers[f"all@file|{member}"])
    return found


def two_members(*urls: str) -> dict[str, Any]:
    dynamic = config_for(urls[0])
    dynamic["http"]["services"]["all"] = {"loadBalancer": {"servers": [{"url": url} for url in urls]}}
    return dynamic


def test_weights_hold_for_all_instances_and_for_those_that_come(tmp_path: Path) -> None:
    own = StoreServer(tmp_path, "redis")
    path = "/api/http/services/all@file/weights"
    with recorders("a", "b") as (a, b):
        dynamic = two_members(a.url, b.url)
        with edge(dynamic, static=shared(own)) as first, edge(dynamic, static=shared(own)) as second:
            asked(first, path, "PUT", {a.url: 9, b.url: 0})
            assert (weight(first, a.url), weight(first, b.url)) == (9, 0)
            eventually(lambda: (weight(second, a.url), weight(second, b.url)) == (9, 0), "they hold elsewhere")
            second.apply(two_members(a.url))
            second.apply(dynamic)
            assert weight(second, b.url) == 0
            with edge(dynamic, static=shared(own)) as third:
                eventually(lambda: (weight(third, a.url), weight(third, b.url)) == (9, 0), "and for one that comes")
                asked(third, path, "DELETE")
                eventually(lambda: weight(first, a.url) is weight(second, b.url) is None, "they have ended")
            own.stop()
            asked(first, path, "PUT", {a.url: 4})
            assert weight(first, a.url) == 4  # here it holds at once
            own.start()  # and has lost what it knew
            eventually(lambda: weight(second, a.url) == 4, "it holds elsewhere when the store is back")
    own.stop()


def test_scripts_keep_weights(store: StoreServer) -> None:
    """The later one holds, also against what comes back; of too many the oldest are dropped, ended ones first."""

    def run(script: Any, *parts: Any) -> list[Any]:
        found: list[Any] = store.client.eval(script.text, 1, "k", *parts)
        return found

    def get(since: int, epoch: bytes) -> tuple[bytes, bytes, bytes, bool, dict[bytes, bytes]]:
        version, now, cut, whole, *rest = run(GET, since, epoch)
        return version, now, cut, bool(whole), dict(zip(rest[::3], rest[2::3], strict=True))

    first, shed = run(SET, 4, "one", 0, "a|x", 1, "b|x", 2)
    now_s = store.client.time()[0]
    assert now_s * 1000 - 60_000 < int(first) < now_s * 1000 + 60_000 and shed == 0
    assert get(0, b"") == (first, b"one", b"0", True, {b"a|x": b"1", b"b|x": b"2"})
    assert get(int(first), b"one") == (first, b"one", b"0", False, {})
    later = int(first) + 10**9  # known from a store whose clock was ahead
    second, _ = run(SET, 4, "two", later, "a|x", "-")
    assert int(second) == later + 1
    assert get(int(first), b"one") == (second, b"one", b"0", False, {b"a|x": b"-"})
    assert run(RESTORE, 4, "three", "a|x", int(second) - 1, 9, "b|x", 1, 9) == [0]
    assert get(int(second), b"one")[1] == b"one"  # nothing has changed
    assert run(RESTORE, 4, "three", "c|x", 7, 3) == [0]
    assert get(int(second), b"one") == (second, b"three", b"0", True, {b"a|x": b"-", b"b|x": b"2", b"c|x": b"3"})
    _, shed = run(SET, 4, "four", 0, "d|x", 1, "e|x", 1)
    _, epoch, cut, whole, found = get(int(first), b"three")
    assert (shed, cut, whole, sorted(found)) == (1, second, True, [b"b|x", b"d|x", b"e|x"])
    assert run(RESTORE, 4, "five", "c|x", 7, 3) == [0] and get(0, epoch)[4].keys() == found.keys()


def test_weights_come_back_to_a_store_that_has_lost_them(store: StoreServer) -> None:
    """Those that hold, and the end of those that have ended, but for what was set meanwhile."""
    path = "/api/http/services/all@file/weights"
    with recorders("a", "b") as (a, b):
        dynamic = two_members(a.url, b.url)
        with edges(2, dynamic, shared(store)) as (first, second):
            asked(first, path, "PUT", {a.url: 9, b.url: 5})
            eventually(lambda: (weight(second, a.url), weight(second, b.url)) == (9, 5), "they hold elsewhere")
            store.client.flushall()
            asked(second, path, "PUT", {b.url: 7})
            eventually(lambda: weight(first, b.url) == 7, "the new one holds elsewhere")
            with edge(dynamic, static=shared(store)) as third:
                eventually(lambda: (weight(third, a.url), weight(third, b.url)) == (9, 7), "and all are known again")
                assert [weight(lb, b.url) for lb in (first, second)] == [7, 7]


def test_a_store_that_hangs_delays_no_weights_here_and_loses_none(
    store: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "LEAST_LIFE_S", 1.0)
    path = "/api/http/services/all@file/weights"
    valve = Valve(store.port)
    cut_off = shared(store)
    cut_off["fleet"] = {"redis": {"endpoints": [valve.endpoint], "maxWait": "200ms"}, "interval": "100ms"}
    with recorders("a", "b") as (a, b):
        dynamic = two_members(a.url, b.url)
        with edge(dynamic, static=cut_off) as first, edge(dynamic, static=shared(store)) as second:
            eventually(lambda: instances(first) == instances(second) == 2, "they know of each other")
            valve.shut()
            eventually(lambda: state(first)["problem"], "the store does not reply")
            asked(first, path, "PUT", {b.url: 0})
            assert weight(first, b.url) == 0 and instances(first) == 2
            assert {first.ask(get())[2] for _ in range(4)} == {b"a"}
            eventually(lambda: instances(second) == 1, "it counts as gone")
            assert weight(second, b.url) is None
            valve.open()
            eventually(lambda: weight(second, b.url) == 0, "it holds elsewhere when the store replies")
            eventually(lambda: instances(second) == 2, "it is back")
    valve.close()


def test_a_canary_is_rolled_out_over_a_fleet(store: StoreServer) -> None:
    """One step on one instance changes the shares of all, and so does going back."""
    path = "/api/http/services/shop@file/weights"
    with recorders("old", "new") as (old, new):
        dynamic = config_for(old.url)
        dynamic["http"]["services"] = {
            "shop": {"weighted": {"services": [{"name": "old", "weight": 1}, {"name": "new", "weight": 0}]}},
            "old": {"loadBalancer": {"servers": [{"url": old.url}]}},
            "new": {"loadBalancer": {"servers": [{"url": new.url}]}},
        }
        dynamic["http"]["routers"]["all"]["service"] = "shop"

        def shares(lb: Edge) -> tuple[int, int]:
            answers = [lb.ask(get())[2] for _ in range(20)]
            return answers.count(b"old"), answers.count(b"new")

        with edges(3, dynamic, shared(store)) as found:
            assert [shares(lb) for lb in found] == [(20, 0)] * 3
            for step, wanted in ({"old": 9, "new": 1}, (18, 2)), ({"old": 1, "new": 1}, (10, 10)):
                asked(found[0], path, "PUT", step)
                for lb in found:
                    eventually(lambda lb=lb, wanted=wanted: shares(lb) == wanted, f"the shares are {wanted}")
            with edge(dynamic, static=shared(store)) as late:
                eventually(lambda: shares(late) == (10, 10), "one that starts later takes part")
            asked(found[2], path, "DELETE")  # by whichever
            for lb in found:
                eventually(lambda lb=lb: shares(lb) == (20, 0), "all are as configured")


# Opinions


def test_a_server_that_others_have_ejected_is_ejected_at_its_next_failure(store: StoreServer) -> None:
    with recorders("a", "b") as (a, b):
        dynamic = two_members(a.url, b.url)
        passive = {"maxFailedAttempts": 3, "failureWindow": "1h", "maxEjectionPercent": 50}
        dynamic["http"]["services"]["all"]["loadBalancer"]["passiveHealthCheck"] = passive
        with edges(2, dynamic, shared(store)) as (first, second):
            eventually(lambda: instances(first) == instances(second) == 2, "they know of each other")
            b.answer = lambda request, headers, body: (500, b"")
            for _ in range(6):
                first.ask(get())
            eventually(lambda: not is_up(first, b.url), "it is ejected where it has failed three times")
            eventually(lambda: hinted(second), "the other one has heard of it")
            assert is_up(second, b.url) and is_up(second, a.url)
            answers = {status(second, get()) for _ in range(2)}
            assert answers == {"200", "500"}
            eventually(lambda: not is_up(second, b.url), "one failure is enough")
            assert is_up(second, a.url)
            assert not second.proxy._health.ejections.found_out()  # it has not found that out itself
            assert first.proxy._health.ejections.found_out() == [f"all@file|{b.url}"]


def test_a_reload_while_a_server_is_ejected_loses_no_opinion(store: StoreServer) -> None:
    with recorders("a", "b") as (a, b):
        dynamic = two_members(a.url, b.url)
        passive = {"maxFailedAttempts": 1, "failureWindow": "1h", "maxEjectionPercent": 50}
        dynamic["http"]["services"]["all"]["loadBalancer"]["passiveHealthCheck"] = passive
        with edge(dynamic, static=shared(store)) as lb:
            b.answer = lambda request, headers, body: (500, b"")
            eventually(lambda: lb.ask(get()) and not is_up(lb, b.url), "it is ejected")
            eventually(lambda: ejected(lb) == [f"all@file|{b.url}"], "it is found out here")
            lb.apply(two_members(a.url))
            assert ejected(lb) == []
            lb.apply(dynamic)
            eventually(lambda: state(lb)["problem"] == "", "it goes on")


def ejected(lb: Edge) -> list[str]:
    found: list[str] = lb.proxy._health.ejections.found_out()
    return found


def slot_of(lb: Edge, member: str) -> int:
    assert lb.proxy._runtime is not None
    return lb.proxy._runtime.slots.servers[f"all@file|{member}"]


def is_up(lb: Edge, member: str) -> bool:
    assert lb.proxy._region is not None
    return lb.proxy._region.is_up(slot_of(lb, member))


def hinted(lb: Edge) -> bool:
    return bool(lb.proxy._health.ejections._hinted)


def test_a_breaker_opens_when_most_others_have_opened_theirs(store: StoreServer) -> None:
    expression = "ResponseCodeRatio(500, 600, 0, 600) > 0.5"
    breaker = {"expression": expression, "checkPeriod": "1ms", "fallbackDuration": "1h"}
    with recorders("a") as (a,):
        dynamic = through(a.url, {"circuitBreaker": breaker})
        with edges(3, dynamic, shared(store)) as found:
            eventually(lambda: all(instances(lb) == 3 for lb in found), "they know of each other")
            a.answer = lambda request, headers, body: (500, b"")
            eventually(lambda: status(found[0], get()) == "503", "the first one is open")
            eventually(lambda: tells(store) == 1, "it says so")
            a.answer = lambda request, headers, body: (200, b"")
            for _ in range(3):
                before = said(store)
                eventually(lambda before=before: changed(store, before) == 3, "all have spoken again")
            assert status(found[2], get()) == "200"  # one of three is no more than half
            a.answer = lambda request, headers, body: (500, b"")
            eventually(lambda: status(found[1], get()) == "503", "the second one is open")
            a.answer = lambda request, headers, body: (200, b"")
            eventually(lambda: status(found[2], get()) == "503", "the third one follows")
            for _ in range(3):
                before = store.client.hgetall("lbcore/fleet/default")
                eventually(lambda before=before: changed(store, before) == 3, "all have spoken again")
            assert tells(store) == 2  # the third one has no opinion of its own


def test_one_of_two_does_not_open_the_breaker_of_the_other(store: StoreServer) -> None:
    expression = "ResponseCodeRatio(500, 600, 0, 600) > 0.5"
    breaker = {"expression": expression, "checkPeriod": "1ms", "fallbackDuration": "1h"}
    with recorders("a") as (a,):
        with edges(2, through(a.url, {"circuitBreaker": breaker}), shared(store)) as (first, second):
            eventually(lambda: instances(first) == instances(second) == 2, "they know of each other")
            a.answer = lambda request, headers, body: (500, b"")
            eventually(lambda: status(first, get()) == "503", "it is open")
            a.answer = lambda request, headers, body: (200, b"")
            eventually(lambda: tells(store) == 1, "it says so")
            for _ in range(3):
                before = said(store)
                eventually(lambda before=before: changed(store, before) == 2, "both have spoken again")
            assert status(second, get()) == "200"


def test_what_cannot_be_understood_is_nothing() -> None:
    long = "1" * 5000
    odd = ('{"ejected": 7, "breakers": {}}', '{"ejected": [], "breakers": []}')
    for text in ("[" * 100_000, "{}", "[]", "null", *odd):
        assert said_of(text.encode(), 0) == board.Said()
    for value in ("NaN", "Infinity", "-1", "1e400", long, '"x"', "null", "[]", "1e9"):
        assert not said_of(f'{{"ejected": [], "breakers": {{"a": {value}}}}}'.encode(), 0).breakers
    found = said_of(b'{"ejected": ["x"], "breakers": {"a": 3, "b": 1}}', 2)
    assert (found.ejected, found.breakers) == (["x"], {"a": 1.0})  # 2 s are over since
    many = board.say([str(each) for each in range(70)], {str(each): 1.0 for each in range(65)})
    assert (len(many.ejected), len(many.breakers), many.shed) == (64, 64, 7)


def said(store: StoreServer) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = store.client.hgetall("lbcore/fleet/default")
    return found


def tells(store: StoreServer) -> int:
    return sum(bool(json.loads(text.split(b" ", 2)[2])["breakers"]) for text in said(store).values())


def changed(store: StoreServer, before: dict[bytes, bytes]) -> int:
    return sum(text != before.get(key) for key, text in said(store).items())


def test_what_others_write_that_means_nothing_is_ignored(store: StoreServer) -> None:
    """Half-written, of other types, huge; and a weight that is none."""
    far = store.client.time()[0] * 1000
    for number, text in enumerate(('{"ejected": [', "[]", '{"ejected": 7, "breakers": {}}', "x" * 1_000_000, "")):
        store.client.hset("lbcore/fleet/default", f"odd{number}", f"{far} 9999999 {text}")
    store.client.hset("lbcore/fleet/default", "none", "gibberish")
    weights: dict[str, Any] = {"version": 3, "a": "x", "all@file|http://x": "3 -9"}
    weights["all@file|http://y"] = "9" * 400 + " 3"
    store.client.hset("lbcore/fleet/default/weights", mapping=weights)
    with recorders("a") as (a,), edge(config_for(a.url), static=shared(store)) as lb:
        eventually(lambda: instances(lb) == 6, "what lives counts, whatever it says")
        assert state(lb) == {"name": "default", "instances": 6, "problem": "", "shed": 0}
        assert weight(lb, a.url) is None and not store.client.hexists("lbcore/fleet/default", "none")
        store.client.delete("lbcore/fleet/default")
        store.client.set("lbcore/fleet/default", "of another type")
        eventually(lambda: state(lb)["problem"], "a key of another type is a store that fails")
        store.client.delete("lbcore/fleet/default")
        store.client.hset("lbcore/fleet/default/weights", "version", "1e300")
        eventually(lambda: "is no stamp" in state(lb)["problem"], "and so is a stamp that is none")
        store.client.delete("lbcore/fleet/default/weights")
        eventually(lambda: not state(lb)["problem"], "it goes on when that has gone")
        assert status(lb, get()) == "200"


def test_options_of_fleets_that_cannot_be_meant(tmp_path: Path) -> None:
    from lbcore.config.load import static_of
    from lbcore.errors import ConfigError

    for wrong, text in (
        ({"redis": {"endpoints": ["nowhere"]}}, "host:port"),
        ({"peers": {"addresses": ["10.0.0.1"]}}, "http://HOST:PORT/ping"),
        ({"interval": "1ms"}, "100ms"),
        ({"interval": "2m"}, "1m"),
        ({"redis": {"maxWait": "0s"}}, "at least 1ms"),
        ({"peers": {"timeout": "0s"}}, "at least 1ms"),
        ({"color": "red"}, "color"),
    ):
        with pytest.raises(ConfigError, match=text):
            static_of({"fleet": wrong})
    assert not errors_of({"inFlightReq": {"amount": 1, "fleetWide": True, "redis": {}}})
