"""Outlier detection against Envoy's definitions, on a clock of the test's."""

from __future__ import annotations

import asyncio
import copy
import json
from functools import partial
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import OutlierDetector, SmoothWRR
from tests.support.threads import together
from tests.unit.selection.test_slow_start import Clock


def detector(servers: int = 10, **settings: Any) -> tuple[OutlierDetector[int], Clock]:
    clock = Clock()
    return OutlierDetector(SmoothWRR(range(servers)), clock=clock, **settings), clock


def tell(lb: OutlierDetector[int], server: int, good: int, bad: int) -> None:
    for number in range(max(good, bad)):  # mixed, so that few fail one after the other
        if number < bad:
            lb.report(server, ok=False)
        if number < good:
            lb.report(server)
    lb.report(server)


def seen(lb: OutlierDetector[int]) -> set[int]:
    return {lb.pick() for _ in range(50)}


def test_failures_in_a_row() -> None:
    lb, clock = detector()
    for _ in range(4):
        lb.report(3, ok=False)
    lb.report(3)
    for _ in range(4):
        lb.report(3, ok=False)
    assert lb.ejected == {}
    lb.report(3, ok=False)
    assert lb.ejected == {3: "consecutive failures"} and 3 not in seen(lb) and lb.is_up(3)
    clock.now += 29.9
    assert 3 in lb.ejected
    clock.now += 0.2
    assert 3 in seen(lb) and lb.ejected == {}


def test_gateway_failures_are_a_series_of_their_own() -> None:
    lb, _ = detector(consecutive_gateway=3, consecutive_failures=None)
    for kind in ("gateway", "local", "error", "gateway", "local"):
        lb.report(1, ok=False, kind=kind)
    assert lb.ejected == {}
    lb.report(1, ok=False, kind="gateway")
    assert lb.ejected == {1: "consecutive gateway"}
    lb, _ = detector()  # off unless asked for, but any failure counts as one
    for _ in range(5):
        lb.report(1, ok=False, kind="gateway")
    assert lb.ejected == {1: "consecutive failures"}


def test_failures_to_get_an_answer_apart() -> None:
    lb, _ = detector(split_local=True, consecutive_local=2, consecutive_failures=3)
    for kind in ("error", "local", "error", "local"):
        lb.report(1, ok=False, kind=kind)  # an answer that is an error shows that there is a connection
    assert lb.ejected == {}
    lb.report(1, ok=False, kind="local")
    assert lb.ejected == {1: "consecutive local"}
    lb, _ = detector(split_local=True, consecutive_local=None, failure_percent=85)
    for server in range(10):
        for number in range(60):
            lb.report(server, ok=server != 4 or number % 10 == 0, kind="local")
    lb.tick(1011.0)
    assert lb.ejected == {4: "failure percentage of connections"}


def test_success_rate() -> None:
    lb, clock = detector(5, consecutive_failures=None)
    for server, rate in enumerate((100, 100, 100, 100, 50)):
        tell(lb, server, rate, 100 - rate)
    assert lb.ejected == {}
    clock.now += 10
    assert lb.ejected == {4: "success rate"}


@given(st.lists(st.integers(1, 99), min_size=3, max_size=9), st.floats(0.2, 2.5))
def test_success_rate_is_mean_less_deviations(bad: list[int], factor: float) -> None:
    lb, clock = detector(len(bad), consecutive_failures=None, max_ejection_percent=100, success_rate_factor=factor)
    for server, count in enumerate(bad):
        tell(lb, server, 100, count)
    rates = [100 * 101 / (101 + count) for count in bad]
    limit = fmean(rates) - factor * pstdev(rates)
    clock.now += 10
    wrong = {server for server, rate in enumerate(rates) if rate < limit - 1e-9}
    near = {server for server, rate in enumerate(rates) if abs(rate - limit) <= 1e-9}
    assert set(lb.ejected) - near == (wrong if len(bad) >= 5 else set())


def test_too_few_requests_or_servers_tell_nothing() -> None:
    lb, clock = detector(6, consecutive_failures=None, success_rate_hosts=6)
    for server in range(6):
        tell(lb, server, 98 if server == 3 else 100, 0 if server else 90)
    clock.now += 10
    assert lb.ejected == {}
    for server in range(6):  # counts begin again with each interval
        tell(lb, server, 60, 0 if server else 30)
    clock.now += 10
    assert lb.ejected == {}


def test_failure_percentage() -> None:
    off = {"consecutive_failures": None, "success_rate_factor": None}
    lb, clock = detector(**off, failure_percent=85, max_ejection_percent=30)
    for server in range(10):
        tell(lb, server, 9 if server < 2 else 12, 70)  # 10 of 80 and 13 of 83: 87.5 % and 84.3 %
    clock.now += 10
    assert lb.ejected == dict.fromkeys((0, 1), "failure percentage")


def test_ejections_get_longer_and_shorter_again() -> None:
    lb, clock = detector(interval_s=10, base_ejection_s=30, max_ejection_s=100)
    lengths = []
    for _ in range(6):
        assert lb.eject(2)
        begun = clock.now
        while lb.ejected:
            clock.now += 1
        lengths.append(clock.now - begun)
        clock.now = 10 * (clock.now // 10) + 1.5  # within the interval: no credit for behaving
        lb.tick()
    assert lengths[:3] == [30, 60, 90] and lengths[3:] == [100, 100, 100]
    clock.now += 1000
    lb.tick()
    lb.eject(2)
    clock.now += 31
    assert lb.ejected == {}


@pytest.mark.parametrize(
    ("servers", "percent", "one", "most"), [(10, 10, True, 1), (10, 39, True, 3), (3, 10, True, 1), (3, 10, False, 0)]
)
def test_most_stay(servers: int, percent: int, one: bool, most: int) -> None:
    lb, _ = detector(servers, max_ejection_percent=percent, always_eject_one=one)
    for server in range(servers):
        for _ in range(5):
            lb.report(server, ok=False)
    assert len(lb.ejected) == most and len(seen(lb)) == servers - most


def test_changes_of_servers() -> None:
    lb, clock = detector(3, max_ejection_percent=100)
    lb.eject(0)
    lb.remove(0)
    assert lb.ejected == {}
    lb.add(0)
    assert 0 in seen(lb)  # another one by now
    lb.eject(1)
    lb.set_up(1, False)  # a health check's business
    clock.now += 31
    assert lb.ejected == {} and 1 not in seen(lb)
    lb.set_up(1)
    assert 1 in seen(lb)
    for wrong in (lambda: lb.report(9), lambda: lb.eject(9), lambda: lb.uneject(9)):
        with pytest.raises(KeyError):
            wrong()


def test_leases_tell() -> None:
    lb, _ = detector(1, split_local=True, consecutive_local=2, max_ejection_percent=100)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError), lb.lease() as server:
            assert server == 0 and lb.in_flight(0) == 1
            raise ConnectionRefusedError
    assert lb.ejected == {0: "consecutive local"} and lb.in_flight(0) == 0
    lb.uneject(0)

    async def cancelled() -> None:
        async with lb.lease():
            raise asyncio.CancelledError

    for _ in range(9):
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(cancelled())
    lease = lb.lease()
    for _ in range(9):
        lease.end(ok=False, kind="gateway")
    assert lb.ejected == {} and lb.in_flight(0) == 0
    lease = lb.lease()
    with pytest.raises(ValueError):
        lease.end(ok=False, kind="other")
    lb.remove(0)
    lease.end(ok=False)
    lease = lb.selector.add(0) or lb.lease()
    lb.remove(0)
    lb.add(0)  # another one
    lease.end(ok=False, kind="local")
    lb.report(0, ok=False, kind="local")
    assert lb.ejected == {}


def test_state() -> None:
    lb, clock = detector(max_ejection_percent=100, jitter_s=3, seed=4)
    lb.eject(1)
    for _ in range(4):
        lb.report(2, ok=False)
    clock.now += 5
    twin = OutlierDetector(SmoothWRR(), clock=clock, max_ejection_percent=100, jitter_s=3, seed=4)
    twin.restore(json.loads(json.dumps(lb.state())))
    for each in (twin, copy.copy(lb)):
        assert each == lb and each.ejected == {1: "by hand"}
        each.report(2, ok=False)
        assert 2 in each.ejected and 2 not in lb.ejected
    while 1 in lb.ejected:
        assert 1 in twin.ejected
        clock.now += 0.1
    assert 30 <= clock.now - 1000 < 33.2 and 1 not in twin.ejected


def test_what_is_wrong_is_refused() -> None:
    for settings in (
        {"interval_s": 0},
        {"consecutive_failures": 0},
        {"base_ejection_s": -1},
        {"max_ejection_percent": 500},
        {"failure_percent": 101},
        {"success_rate_hosts": -1},
    ):
        with pytest.raises(ValueError):
            OutlierDetector(SmoothWRR(["a", "b"]), **settings)
    for settings in (
        {"other": 1},
        {"atempts": 3},
        {"interval_s": None},
        {"failure_percent": "85"},
        {"consecutive_failures": 2.5},
        {"split_local": 1},
        {"seed": "x"},
        {"on_eject": 1},
    ):
        with pytest.raises(TypeError):
            OutlierDetector(SmoothWRR(["a", "b"]), **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gateway"):
        OutlierDetector(SmoothWRR(["a", "b"])).report("a", ok=False, kind="other")


def test_threads() -> None:
    lb = OutlierDetector(SmoothWRR(range(20)), interval_s=0.001, base_ejection_s=0.001, max_ejection_percent=50)

    def work(number: int) -> None:
        for turn in range(2000):
            if number == 0:
                lb.pick_many(500)
            elif number == 1 and turn % 20 == 0:
                lb.remove(19) if 19 in lb else lb.add(19)
            else:
                lease = lb.lease()
                lease.end(ok=turn % 3 == 0)

    together(*(partial(work, number) for number in range(4)))
    assert all(lb.in_flight(server) == 0 for server in lb)
