"""Selectors whose servers have a `__hash__` of their own: other threads come in where it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lbcore.selection import NoServerError, Selector, SmoothWRR, Tijdeman
from tests.support.threads import together


@dataclass(frozen=True)
class Server:
    number: int


@pytest.fixture(autouse=True)
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("make", [SmoothWRR, Tijdeman])
@pytest.mark.parametrize("scale", [1, 100_003])
def test_changes_are_whole(make: Callable[..., Selector[Any]], scale: int) -> None:
    lb = make({Server(number): scale + number % 3 for number in range(30)})

    def weigh() -> None:
        for turn in range(300):
            lb.set_weight(Server(turn % 10), scale + turn)
            assert lb[Server(turn % 10)] == scale + turn

    def come_and_go() -> None:
        for turn in range(300):
            lb.remove(Server(10 + turn % 10))
            assert Server(10 + turn % 10) not in lb
            lb.add(Server(10 + turn % 10), 7)

    def many() -> None:
        for _ in range(300):
            assert max(lb.pick_many(300)) < 30

    def ask() -> None:
        for turn in range(300):
            assert lb.pick(accept=lambda server: server.number >= 20).number >= 20
            with lb.lease(exclude={Server(turn % 30)}) as server:
                assert server != Server(turn % 30)

    together(weigh, come_and_go, many, ask, ask)
    assert sorted(server.number for server in lb) == list(range(30))
    assert all(lb[server] == lb.items()[lb.servers.index(server)][1] for server in lb)
    assert [lb[Server(number)] for number in range(10)] == [scale + 290 + number for number in range(10)]
    assert all(lb.in_flight(server) == 0 for server in lb)


def test_the_last_change_counts_even_while_another_thread_builds() -> None:
    lb = SmoothWRR({Server(number): 1 + number % 50 for number in range(2000)})

    def pick() -> None:
        for _ in range(100):
            lb.pick()

    def change() -> None:
        for turn in range(100):
            lb.set_up(Server(7), turn % 2 == 0)

    together(pick, change, pick)
    assert not lb.is_up(Server(7))
    assert 7 not in set(lb.pick_many(60_000))


def test_a_pick_that_never_comes_to_an_end_is_an_error() -> None:
    lb = SmoothWRR({"a": 1, "b": 1})
    with pytest.raises(RuntimeError, match="changed"):
        lb.pick(accept=lambda server: lb.set_weight("a", lb["a"] + 1))
    with pytest.raises(NoServerError):
        lb.pick(accept=lambda server: False)


class Watched:
    """A server in whose `__hash__` something else happens, once, as it may when threads switch there."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.meanwhile: Callable[[], None] | None = None

    def __hash__(self) -> int:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return self.number


def test_a_lookup_during_a_removal_finds_the_new_position() -> None:
    servers = [Watched(number) for number in range(10)]
    lb = SmoothWRR({server: 1 + server.number for server in servers})
    lease = lb.lease(accept=lambda server: server is servers[5])
    assert lb.in_flight(servers[5]) == 1
    servers[5].meanwhile = lambda: lb.remove(servers[0])
    assert lb[servers[5]] == 6
    servers[5].meanwhile = lambda: lb.remove(servers[1])
    lease.end()
    assert lb.in_flight(servers[5]) == 0
    assert [lb.in_flight(server) for server in lb] == [0] * 8
