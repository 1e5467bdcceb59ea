"""Slow start: shares while a member's weight grows, with every strategy; which members ramp up, and which do not."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.dynamic import SlowStart
from lbcore.health.slow_start import STEPS, SlowStarts, Starting, percent_at
from lbcore.http.request import Request
from lbcore.routing.balancer import Child, LoadBalancer, Weighted
from lbcore.routing.hash_key import HashKey
from lbcore.routing.picker import Consistent, LeastOf, Picker
from lbcore.routing.ramped import Ramped
from lbcore.routing.server import Server
from lbcore.state.cells import ADMIN, CHECK, EJECTED
from lbcore.state.region import Region

SECOND = 1_000_000_000


def request(path: str = "/") -> Request:
    found = Request()
    assert found.parse_bytes(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()) > 0
    return found


def pool(weights: list[int], region: Region, picker: Picker | None = None) -> LoadBalancer:
    region.reset_service(0)
    servers = []
    for n in range(len(weights)):
        region.reset_server(n)
        servers.append(Server(f"s@file|{n}", f"http://10.0.0.1:{n + 1}", region, 0, n))
    lb = LoadBalancer("s@file", servers, weights, region, 0)
    lb.use(picker)
    return lb


def shares(lb: LoadBalancer | Weighted, count: int) -> Counter[int]:
    return Counter(server.port - 1 for n in range(count) if (server := lb.pick(request(f"/{n}"))) is not None)


@given(st.floats(0.1, 10), st.integers(1, 100), st.floats(0, 2))
def test_the_share_follows_the_formula_in_steps(aggression: float, least: int, part: float) -> None:
    settings = SlowStart(duration=timedelta(seconds=100), aggression=aggression, min_weight_percent=least)
    percent = percent_at(100 * part, settings)
    if part >= 1:
        assert percent == 100
        return
    upper = max(least, 100 * part ** (1 / aggression))
    lower = max(least, 100 * max(0, part - 1 / STEPS) ** (1 / aggression) - 2)
    assert lower <= percent <= max(upper, least) + 1e-9


def test_linear_growth_goes_through_every_step_once() -> None:
    settings = SlowStart()
    seen = [percent_at(30 * n / 1000, settings) for n in range(1001)]
    assert seen == sorted(seen)
    assert sorted(set(seen)) == [10, *range(15, 100, 5), 100]


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_round_robin_gives_the_part_exactly_and_evenly(percent: int) -> None:
    region = Region.create(1)
    lb = pool([1, 1], region)
    region.set_ramp(1, percent)
    part = 128 * percent // 100
    order = [server.port - 1 for _ in range(4 * (128 + part)) if (server := lb.pick()) is not None]
    assert Counter(order) == {0: 4 * 128, 1: 4 * part}
    gaps = [at for at, index in enumerate(order) if index == 1]
    distances = {b - a for a, b in pairwise(gaps)}
    assert max(distances) - min(distances) <= 2
    assert lb.effective_weights == [1, round(part / 128, 2)]
    region.set_ramp(1, 0)
    assert shares(lb, 10) == {0: 5, 1: 5}
    assert lb.effective_weights == [1, 1]


@pytest.mark.parametrize("strategy", ["p2c", "leastconn", "leasttime", "peakewma"])
def test_strategies_by_load_give_an_idle_newcomer_its_part_and_no_more(strategy: str) -> None:
    region = Region.create(1)
    lb = pool([2, 2, 2], region, Ramped(LeastOf(strategy)))
    region.set_ramp(2, 10)
    found = shares(lb, 21_000)
    assert abs(found[2] - 1000) <= 60
    assert min(found[0], found[1]) > 5000
    region.set_ramp(2, 0)
    assert shares(lb, 3000)[2] > 800


def test_hashing_gives_the_part_and_moves_no_other_key() -> None:
    region = Region.create(1)
    keys = [f"http://10.0.0.1:{n + 1}" for n in range(4)]
    lb = pool([1] * 4, region, Consistent(HashKey("path"), keys, [1] * 4))
    paths = [f"/{n}" for n in range(8000)]
    before = {path: lb.pick(request(path)) for path in paths}
    region.set_ramp(3, 25)
    during = {path: lb.pick(request(path)) for path in paths}
    server = lb.servers[3]
    moved = [path for path in paths if before[path] is not during[path]]
    assert all(before[path] is server for path in moved)
    assert abs(sum(found is server for found in during.values()) / len(paths) - 0.25 / 3.25) < 0.02
    region.set_ramp(3, 0)
    assert {path: lb.pick(request(path)) for path in paths} == before


def test_overrides_drains_and_health_go_with_it() -> None:
    region = Region.create(1)
    lb = pool([1, 1, 0], region)
    region.set_ramp(1, 50)
    region.set_ramp(2, 50)
    assert lb.effective_weights == [1, 0.5, 0]
    region.set_weight(1, 10)
    assert lb.effective_weights == [1, 5, 0]
    region.set_weight(1, 0)
    assert lb.effective_weights == [1, 0, 0]
    region.set_weight(1, None)
    region.set_up(0, False)
    assert lb.effective_weights == [0, 0.5, 0]
    assert {server.port for _ in range(9) if (server := lb.pick()) is not None} == {2}


def test_a_part_of_a_large_weight_does_not_overflow() -> None:
    region = Region.create(1)
    lb = pool([1 << 30, 1 << 30, 1], region)
    region.set_ramp(1, 10)
    assert lb.effective_weights == [1 << 30, (1 << 30) // 10, 1]


def test_a_quorum_counts_whole_weights() -> None:
    region = Region.create(1)
    lb = pool([1, 1], region)
    lb.use(None, None, True, (0, 50, 0))
    region.set_ramp(1, 10)
    region.set_up(0, False)
    assert lb.is_up


def test_children_of_a_weighted_service_start_slowly_too() -> None:
    region = Region.create(1)
    children = []
    for n in range(2):
        region.reset_service(n)
        region.reset_server(n)
        server = Server(f"s{n}@file|a", f"http://10.0.0.1:{n + 1}", region, 0, n)
        region.reset_server(2 + n)
        lb = LoadBalancer(f"s{n}@file", [server], [1], region, n)
        children.append(Child(f"top@file|s{n}", f"s{n}", region, 0, 2 + n, lb))
    region.reset_service(2)
    top = Weighted("top@file", children, [1, 1], region, 2)
    region.set_ramp(3, 25)
    assert shares(top, 160) == {0: 128, 1: 32}


# Who begins a ramp


class Watch:
    """SlowStarts by a clock of the test's; servers of one service, `s`."""

    def __init__(self) -> None:
        self.region = Region.create(1)
        self.slots: dict[str, int] = {}
        self.now_ns = 0
        self.starts = SlowStarts(self.region, lambda: self.now_ns)
        self.settings = SlowStart(duration=timedelta(seconds=20), min_weight_percent=10)

    def slot(self, name: str) -> int:
        if name not in self.slots:
            self.slots[name] = len(self.slots)
            self.region.reset_server(self.slots[name])
        return self.slots[name]

    def apply(self, *names: str, slowly: bool = True, child: int | None = None) -> None:
        members = {self.slot(name): Starting(f"s|{name}", "s", self.settings, child) for name in names}
        self.starts.watch(members if slowly else {}, frozenset(f"s|{name}" for name in names))
        self.starts.look()

    def at(self, seconds: float) -> None:
        self.now_ns = int(seconds * SECOND)
        self.starts.look()

    def parts(self, *names: str) -> list[int]:
        return [self.region.ramp_percent(self.slots[name]) for name in names]


def test_no_server_starts_slowly_at_the_start_of_the_process() -> None:
    watch = Watch()
    watch.slot("c")
    watch.region.set_up(watch.slots["c"], False, CHECK)
    watch.apply("a", "b", "c")
    assert watch.parts("a", "b", "c") == [0, 0, 0]
    watch.region.set_up(watch.slots["c"], True, CHECK)
    watch.at(1)
    assert watch.parts("a", "b", "c") == [0, 0, 0], "its first time up is no return"


def test_a_server_that_a_reload_adds_begins_a_ramp_that_later_reloads_leave_alone() -> None:
    watch = Watch()
    watch.apply("a")
    watch.apply("a", "b")
    assert watch.parts("a", "b") == [0, 10]
    watch.at(10.5)
    assert watch.parts("a", "b") == [0, 50]
    watch.apply("a", "b")
    watch.apply("b", "a")
    assert watch.parts("a", "b") == [0, 50]
    watch.at(19.9)
    assert watch.parts("a", "b") == [0, 95]
    watch.at(20.1)
    assert watch.parts("a", "b") == [0, 0]


def test_a_reload_that_replaces_all_servers_or_turns_it_on_begins_none() -> None:
    watch = Watch()
    watch.apply("a", "b")
    watch.apply("c", "d")
    assert watch.parts("c", "d") == [0, 0]
    watch = Watch()
    watch.apply("a", "b", slowly=False)
    watch.apply("a", "b")
    assert watch.parts("a", "b") == [0, 0]


def test_turning_it_off_ends_ramps() -> None:
    watch = Watch()
    watch.apply("a")
    watch.apply("a", "b")
    watch.apply("a", "b", slowly=False)
    assert watch.parts("a", "b") == [0, 0]


@pytest.mark.parametrize("reason", [CHECK, EJECTED, ADMIN])
def test_a_server_that_comes_back_begins_a_ramp(reason: int) -> None:
    watch = Watch()
    watch.apply("a", "b")
    watch.region.set_up(watch.slots["b"], False, reason)
    watch.at(0)
    assert watch.parts("a", "b") == [0, 10], "it has the least part before it is back"
    watch.region.set_up(watch.slots["b"], True, reason)
    assert watch.parts("a", "b") == [0, 10]
    watch.at(1)
    watch.at(6.5)
    assert watch.parts("a", "b") == [0, 25]
    watch.at(22)
    assert watch.parts("a", "b") == [0, 0]


def test_one_that_went_down_and_up_between_two_looks_begins_a_ramp() -> None:
    watch = Watch()
    watch.apply("a", "b")
    watch.region.set_up(watch.slots["b"], False)
    watch.region.set_up(watch.slots["b"], True)
    watch.at(0)
    assert watch.parts("a", "b") == [0, 10]


def test_a_child_service_that_is_up_again_begins_a_ramp() -> None:
    watch = Watch()
    watch.region.reset_service(0)
    watch.region.reset_server(9)
    child = LoadBalancer("c@file", [Server("c@file|u", "http://10.0.0.1:1", watch.region, 0, 9)], [1], watch.region, 0)
    child.use(None, None, True)
    assert child.is_up
    watch.apply("a", child=0)
    watch.region.set_up(9, False)
    assert not child.is_up
    watch.at(0)
    assert watch.parts("a") == [10]
    watch.region.set_up(9, True)
    assert child.is_up
    watch.at(0)
    assert list(watch.starts._ramps) == [watch.slots["a"]]
