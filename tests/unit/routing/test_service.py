"""Weighted round robin over servers and services: exact shares, smooth order, servers that come and go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.routing.balancer import Child, LoadBalancer, Weighted
from lbcore.routing.server import Server
from lbcore.state.region import Region

weights_of = st.lists(st.integers(0, 40), min_size=1, max_size=8)


def balancer(weights: list[int], region: Region | None = None, slot: int = 0, first: int = 0) -> LoadBalancer:
    region = region or Region.create(1)
    region.reset_service(slot)
    servers = []
    for n in range(len(weights)):
        region.reset_server(first + n)
        name = f"s{slot}@file|{n}"
        servers.append(Server(name, f"http://10.0.0.1:{n + 1}", region, 0, first + n))
    return LoadBalancer(f"s{slot}@file", servers, weights, region, slot)


def ports(lb: LoadBalancer | Weighted, count: int) -> list[int]:
    """Which servers the next picks take, counted from 0; -1 for none."""
    return [server.port - 1 if (server := lb.pick()) is not None else -1 for _ in range(count)]


@given(weights_of)
def test_picks_are_exact_over_a_period(weights: list[int]) -> None:
    lb, total = balancer(weights), sum(weights)
    counts = Counter(ports(lb, total or 3))
    assert counts == ({n: weight for n, weight in enumerate(weights) if weight} if total else {-1: 3})


@settings(max_examples=150)
@given(weights_of, st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=12))
def test_only_servers_that_are_up_are_picked_whatever_happens(
    weights: list[int], events: list[tuple[int, bool]]
) -> None:
    region = Region.create(1)
    lb = balancer(weights, region)
    up = [True] * len(weights)
    for index, goes_up in events:
        if index < len(weights):
            up[index] = goes_up
            region.set_up(index, goes_up)
        eligible = {n for n, weight in enumerate(weights) if weight and up[n]}
        picked = set(ports(lb, 2 * sum(weights) + 1))
        assert picked == (eligible or {-1})


def test_weight_override_holds_until_it_ends() -> None:
    region = Region.create(1)
    lb = balancer([1, 1], region)
    region.set_weight(0, 3)
    assert Counter(ports(lb, 8)) == {0: 6, 1: 2}
    region.set_weight(0, 0)
    assert Counter(ports(lb, 4)) == {1: 4}
    region.set_weight(0, None)
    assert Counter(ports(lb, 4)) == {0: 2, 1: 2}


def test_two_workers_share_one_position() -> None:
    region = Region.create(2)
    one = balancer([3, 1], region)
    servers = [Server(f"s0@file|{n}", f"http://10.0.0.1:{n + 1}", region, 1, n) for n in range(2)]
    two = LoadBalancer("s0@file", servers, [3, 1], region, 0)
    picked = [port for _ in range(8) for port in ports(one, 1) + ports(two, 1)]
    assert Counter(picked) == {0: 12, 1: 4}
    assert picked[:4] == picked[4:8]


def test_weights_nest_and_multiply() -> None:
    region = Region.create(1)
    children = [balancer([2, 1], region, 0, 0), balancer([1], region, 1, 2)]
    region.reset_service(2)
    members = []
    for n, child in enumerate(children):
        region.reset_server(3 + n)
        members.append(Child(f"parent@file|{n}", f"s{n}", region, 0, 3 + n, child))
    parent = Weighted("parent@file", members, [3, 1], region, 2)
    picked = Counter(server.name for _ in range(12) if (server := parent.pick()) is not None)
    assert picked == {"s0@file|0": 6, "s0@file|1": 3, "s1@file|0": 3}


def test_weights_beyond_the_longest_order_are_scaled() -> None:
    counts = Counter(ports(balancer([1_000_000, 500_000, 1]), 30_000))
    assert abs(counts[0] - 20_000) <= 2
    assert abs(counts[1] - 10_000) <= 2
