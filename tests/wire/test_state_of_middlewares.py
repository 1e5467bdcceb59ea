"""What middlewares keep beyond one exchange, over connections, places, reloads; and what is given back at its end."""

from __future__ import annotations

from typing import Any

import pytest

import lbcore.routing.compile_middlewares as compiling
from lbcore.state.keyed import KeyedTable
from tests.support.instance import eventually
from tests.support.native import native
from tests.support.recorder import GET, Held, config, recorders
from tests.support.wire import Edge, edge, serving
from tests.wire.test_waiting import idle

LIMITS = ("inflight", "rate")


@pytest.fixture(name="made")
def limits_made_anew(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The middlewares `inflight` (2 at once) and `rate` (5 in all) are made for each configuration, as others are."""
    found: list[Any] = []
    build = compiling.build

    def replaced(name: str, config: Any, state: Any) -> Any:
        short = name.partition("@")[0]
        if short not in LIMITS:
            return build(name, config, state)
        limits = native("limits")
        made = limits.InFlight(name, 2) if short == "inflight" else limits.Rate(name, 5)
        made.keep_in(state)
        found.append(made)
        return made

    monkeypatch.setattr(compiling, "build", replaced)
    return found


def limited(place: str, name: str, url: str) -> dict[str, Any]:
    dynamic = config({}, all=url)
    dynamic["http"]["middlewares"] = {name: {"addPrefix": {"prefix": "/unused"}}}
    where = dynamic["http"]["routers"]["all"] if place == "router" else dynamic["http"]["services"]["all"]
    where["middlewares"] = [name]
    return dynamic


def keyed(key: str) -> bytes:
    return GET.replace(b"\r\n\r\n", b"\r\nX-Key: %s\r\n\r\n" % key.encode())


def status(lb: Edge, key: str) -> str:
    return lb.ask(keyed(key))[0].split()[1]


@pytest.mark.parametrize("place", ["router", "service"])
def test_so_many_of_a_key_are_under_way_at_once_also_over_a_reload(made: list[Any], place: str) -> None:
    with recorders("a") as (a,), edge(limited(place, "inflight", a.url)) as lb:
        held = Held(a)
        clients = [lb.client() for _ in range(2)]
        for client in clients:
            client.send(keyed("one"))
        eventually(lambda: len(a.requests) == 2, "two are under way")
        assert status(lb, "one") == "429"
        lb.apply(limited(place, "inflight", a.url))
        assert status(lb, "one") == "429"
        clients.pop().close()
        eventually(lambda: made[-1].ended == 1, "the end was seen, by what the former configuration kept")
        other = lb.client()
        other.send(keyed("one"))
        eventually(lambda: len(a.requests) == 3, "one more has room")
        assert status(lb, "one") == "429"
        held.opened.set()
        assert [client.message()[0].split()[1] for client in (*clients, other)] == ["200", "200"]
        assert [status(lb, "one") for _ in range(3)] == ["200"] * 3
        idle(lb, a)
        assert KeyedTable(lb.proxy._region, 0).rows == 0  # type: ignore[arg-type]
    assert set(made[1].places) == {"all@file"}


def test_a_key_is_another_one_at_another_place(made: list[Any]) -> None:
    with recorders("a") as (a,):
        dynamic = limited("router", "inflight", a.url)
        routers = dynamic["http"]["routers"]
        routers["other"] = {**routers["all"], "rule": "Path(`/other`)", "priority": 99}
        with edge(dynamic) as lb:
            held = Held(a)
            clients = [lb.client() for _ in range(4)]
            for number, client in enumerate(clients):
                client.send(keyed("one").replace(b"/x", b"/other") if number < 2 else keyed("one"))
            eventually(lambda: len(a.requests) == 4, "two are under way at each")
            assert status(lb, "one") == "429"
            held.opened.set()
            assert [client.message()[0].split()[1] for client in clients] == ["200"] * 4


def test_a_tunnel_is_under_way_until_it_ends(made: list[Any]) -> None:
    def switches(peer: Any) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        peer.sock.recv(1)

    request = keyed("one").replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    with serving(switches) as server, edge(limited("router", "inflight", server.url)) as lb:
        clients = [lb.client() for _ in range(2)]
        for client in clients:
            client.send(request)
            assert client.head()[0].split()[1] == "101"
        assert lb.ask(request)[0].split()[1] == "429"
        clients[0].close()
        eventually(lambda: made[1].ended == 1, "one has ended")
        again = lb.client()
        again.send(request)
        assert again.head()[0].split()[1] == "101"


def test_what_is_used_up_stays_so_over_a_reload(made: list[Any]) -> None:
    with recorders("a") as (a,), edge(limited("router", "rate", a.url)) as lb:
        assert [status(lb, "one") for _ in range(4)] == ["200"] * 4
        lb.apply(limited("router", "rate", a.url))
        assert [status(lb, "one") for _ in range(3)] == ["200", "429", "429"]
        assert status(lb, "two") == "200"
