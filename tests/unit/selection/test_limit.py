"""Bounds of what is in flight, and waiting for room: fair, bounded, safe to cancel, from tasks and from threads."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from lbcore.selection import (
    InFlightLimit,
    LeastConnections,
    NoServerError,
    OutlierDetector,
    Rendezvous,
    Selector,
    SlowStart,
    SmoothWRR,
)
from tests.support.threads import together
from tests.unit.selection.algorithms import ALL, Make, key

every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_lease_costs_what_it_says() -> None:
    lb = LeastConnections(["a", "b"])
    lease = lb.lease(exclude="b", cost=7)
    assert lease.cost == 7 and lb.in_flight("a") == 7
    assert {lb.lease(cost=2).server for _ in range(3)} == {"b"}
    lease.end()
    assert lb.in_flight("a") == 0
    for wrong, error in ((0, ValueError), (1 << 31, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error):
            lb.lease(cost=wrong)  # type: ignore[arg-type]


@every
def test_a_server_that_is_full_is_passed_over_by_every_pick(make: Make) -> None:
    lb: Selector[Any] = InFlightLimit(make({"a": 3, "b": 1}), 2)
    held = [lb.lease(key(lb.layer(make), n)) for n in range(4)]  # type: ignore[arg-type]
    assert sorted(lease.server for lease in held) == ["a", "a", "b", "b"]
    with pytest.raises(NoServerError, match="2 have as much in flight"):
        lb.lease(key(lb.layer(make), 9))  # type: ignore[arg-type]
    freed = held.pop().server
    for n in range(20):
        k = key(lb.layer(make), n)  # type: ignore[arg-type]
        assert lb.pick(k) == freed and lb.pick_n(k, 2) == [freed]
        found = lb.pick_many([k or ""] if k else 1)
        assert lb.servers[found[0]] == freed
    for lease in held:
        lease.end()
    assert {state.state for state in lb.stats().values()} == {"up"}


def test_limits_follow_their_servers_and_are_checked() -> None:
    lb = InFlightLimit(SmoothWRR({"a": 1, "b": 1, "c": 1}), {"a": 1, "c": 2})
    assert [lb.max_in_flight(server) for server in "abc"] == [1, None, 2]
    held = [lb.lease(exclude="bc"[n % 2]) for n in range(1)]
    assert {lb.pick() for _ in range(9)} | {held[0].server} == {"a", "b", "c"}
    lb.remove("b")
    lb.add("d")
    assert [lb.max_in_flight(server) for server in ("a", "c", "d")] == [1, 2, None]
    for twin in (copy.copy(lb), pickle.loads(pickle.dumps(lb))):
        assert twin == lb and twin.max_in_flight("c") == 2
    for wrong, error in ((0, ValueError), (True, TypeError), ({"a": 1.5}, TypeError), ({"a": -1}, ValueError)):
        with pytest.raises(error):
            InFlightLimit(SmoothWRR(["a"]), wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit already"):
        InFlightLimit(lb, 3)
    with pytest.raises(TypeError):
        InFlightLimit(SmoothWRR(["a"]), 1, max_wating=3)  # type: ignore[call-arg]


def test_first_come_first_served() -> None:
    async def run() -> None:
        lb = SlowStart(InFlightLimit(OutlierDetector(SmoothWRR(["a"])), 1))
        order: list[int] = []

        async def request(number: int) -> None:
            async with await lb.acquire() as server:
                assert server == "a" and lb.in_flight("a") == 1
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(request(number) for number in range(50)))
        assert order == list(range(50)) and lb.in_flight("a") == 0
        assert lb.layer(InFlightLimit).waiting == 0

    asyncio.run(run())


def test_no_request_overtakes_one_with_a_larger_cost() -> None:
    async def run() -> None:
        lb = InFlightLimit(SmoothWRR(["a"]), 4)
        held = [lb.lease() for _ in range(4)]
        large = asyncio.create_task(lb.acquire(cost=4))
        await settle()
        small = asyncio.create_task(lb.acquire())
        for lease in held[:3]:
            lease.end()
            await settle()
            assert not large.done() and not small.done()
            with pytest.raises(NoServerError):
                lb.lease()
        held[3].end()
        await settle()
        assert large.done() and not small.done()
        large.result().end()
        assert (await small).server == "a"
        with pytest.raises(NoServerError):
            await lb.acquire(cost=5)  # never

    asyncio.run(run())


def test_one_that_waits_for_a_certain_server_does_not_hold_up_the_others() -> None:
    async def run() -> None:
        lb = InFlightLimit(SmoothWRR(["a", "b"]), 1)
        a, b = lb.lease(exclude="b"), lb.lease()
        certain = asyncio.create_task(lb.acquire(exclude="b"))
        await settle()
        other = asyncio.create_task(lb.acquire())
        await settle()
        b.end()
        assert (await other).server == "b" and not certain.done()
        a.end()
        assert (await certain).server == "a"

    asyncio.run(run())


def test_a_cancelled_task_leaves_nothing_behind() -> None:
    async def run() -> None:
        lb = InFlightLimit(SmoothWRR(["a"]), 1)
        held = lb.lease()
        first, second, third = (asyncio.create_task(lb.acquire()) for _ in range(3))
        await settle()
        second.cancel()
        await settle()
        assert lb.waiting == 2
        held.end()  # it is the first one's, which is cancelled before it runs
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await third).server == "a"
        assert lb.in_flight("a") == 1 and lb.waiting == 0
        third.result().end()
        with lb.lease():
            pass

    asyncio.run(run())


def test_time_and_room_to_wait_are_bounded() -> None:
    async def run() -> None:
        lb = InFlightLimit(SmoothWRR(["a"]), 1, max_waiting=2)
        held = await lb.acquire(timeout=0)
        with pytest.raises(TimeoutError):
            await lb.acquire(timeout=0)
        with pytest.raises(TimeoutError):
            await lb.acquire(timeout=0.02)
        waiting = [asyncio.create_task(lb.acquire()) for _ in range(2)]
        await settle()
        with pytest.raises(NoServerError, match="2 requests wait"):
            await lb.acquire(timeout=1)
        assert (lb.waiting, lb.refused, lb.timed_out) == (2, 1, 2)
        held.end()
        for task in waiting:
            (await task).end()
        with pytest.raises(TypeError):
            await lb.acquire(timeout="1")  # type: ignore[arg-type]
        none = InFlightLimit(SmoothWRR(["a"]), 1, max_waiting=0)
        held = await none.acquire()
        with pytest.raises(NoServerError):
            await none.acquire()
        held.end()
        assert (await none.acquire()).server == "a" and none.refused == 1

    asyncio.run(run())


def test_a_wait_that_cannot_succeed_raises_and_changes_are_noticed() -> None:
    async def run() -> None:
        lb = InFlightLimit(SmoothWRR(["a"]), 1)
        lb.set_up("a", False)
        with pytest.raises(NoServerError):
            await lb.acquire()
        lb.set_up("a")
        held = lb.lease()
        vain, served = asyncio.create_task(lb.acquire(accept=lambda s: s == "a")), asyncio.create_task(lb.acquire())
        await settle()
        lb.add("b")
        assert (await served).server == "b"
        lb.remove("a")
        with pytest.raises(NoServerError):
            await vain
        held.end()
        broken = asyncio.create_task(lb.acquire(accept=lambda s: 1 / 0))
        with pytest.raises(ZeroDivisionError):
            await broken
        assert lb.waiting == 0

    asyncio.run(run())


def test_without_a_limit_no_request_waits() -> None:
    async def run() -> None:
        for lb in (SmoothWRR(["a"]), SlowStart(SmoothWRR(["a"]))):
            async with await lb.acquire(timeout=1, cost=3) as server:
                assert lb.in_flight(server) == 3
            with lb.acquire_blocking() as server:
                assert server == "a"
        with pytest.raises(TypeError):
            await Rendezvous(["a"]).acquire()

    asyncio.run(run())


def test_threads_wait_and_many_loops_share() -> None:
    lb = InFlightLimit(LeastConnections(["a", "b"]), 3)
    most: list[int] = []

    def blocked() -> None:
        for _ in range(60):
            with lb.acquire_blocking(timeout=30) as server:
                most.append(lb.in_flight(server))

    def looped() -> None:
        async def one() -> None:
            async with await lb.acquire(timeout=30) as server:
                most.append(lb.in_flight(server))
                await asyncio.sleep(0)

        async def run() -> None:
            await asyncio.gather(*(one() for _ in range(60)))

        asyncio.run(run())

    together(*(blocked, looped) * 4)
    assert len(most) == 480 and max(most) <= 3
    assert lb.in_flight("a") == lb.in_flight("b") == lb.waiting == 0
    held = [lb.lease() for _ in range(6)]
    with pytest.raises(TimeoutError):
        lb.acquire_blocking(timeout=0.02)
    held.pop().end()
    lb.acquire_blocking(timeout=0).end()
