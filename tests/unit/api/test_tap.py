"""Who watches single requests, as the supervisor sees it: what is granted, passed on, dropped, and given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest

from lbcore.api import tap as tap_module
from lbcore.api.live import CannotWatchError
from lbcore.api.runtime import Runtime
from lbcore.api.tap import Taps, Wanted
from lbcore.config.static import StaticConfig
from lbcore.observability.ring import TAPS, LineReader
from lbcore.observability.tap import Tap
from lbcore.state.region import Region
from tests.support.instance import becomes_true


class Instance:
    """A supervisor with two workers. `told`: of whom these have heard."""

    def __init__(self) -> None:
        static = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}, "api": {}})
        self.region = Region.create(2)
        self.workers = [Tap(static, self.region, worker) for worker in range(2)]
        self.told: list[Sequence[Mapping[str, Any]]] = []
        self.taps = Taps(Runtime(static, self.region, set_taps=self.follow))

    def follow(self, watches: Sequence[Mapping[str, Any]]) -> None:
        self.told.append(watches)
        for worker in self.workers:
            worker.follow(watches)

    def request(self, worker: int, path: bytes = b"/x") -> None:
        tap = self.workers[worker]
        tap.put(
            tap.wanted(200, None, None, None), time.monotonic_ns(), 200, "web", None, None, None, b"GET", b"a.test",
            path, None, b"192.0.2.1", (2, 0), True, 1, 0, 0, 0, 0,
        )  # fmt: skip


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def wanted(rate: int = 100, for_s: float = 0.0, **filters: Any) -> Wanted:
    return Wanted(filters, rate, for_s)


def test_requests_of_all_workers_reach_those_whom_they_fit() -> None:
    async def test() -> None:
        instance = Instance()
        all_, some = instance.taps.watch(wanted()), instance.taps.watch(wanted(path="/y"))
        for events in (all_, some):
            assert b"event: hello" in await anext(events)
            assert b"event: counts" in await anext(events)
        instance.request(0)
        instance.request(1, b"/y")
        found = b""
        while found.count(b"event: request") < 2:
            found += await anext(all_)
        assert b'"path":"/x"' in found and b'"path":"/y"' in found
        found = await anext(some)
        while b"event: request" not in found:
            found = await anext(some)
        assert b'"/y"' in found and b'"/x"' not in found
        await all_.aclose()  # type: ignore[attr-defined]
        await becomes_true(lambda: [watch["id"] for watch in instance.told[-1]] == [2])
        await some.aclose()  # type: ignore[attr-defined]
        await becomes_true(lambda: list(instance.told[-1]) == [])
        await becomes_true(lambda: instance.taps._running is None)

    run(test())


def test_one_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "MOST_QUEUED", 3)
    monkeypatch.setattr(tap_module, "COUNTS_S", 0.0)
    monkeypatch.setattr(tap_module, "POLL_S", 0.01)

    async def test() -> None:
        instance = Instance()
        events = instance.taps.watch(wanted())
        await becomes_true(lambda: not instance.taps._watchers)
        assert [event async for event in events] == []
        await becomes_true(lambda: list(instance.told[-1]) == [])

    run(test())


def test_workers_are_told_seldom_of_those_who_come_and_go_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker reads who watches in the loop that serves its clients."""
    monkeypatch.setattr(tap_module, "POLL_S", 1000.0)

    async def test() -> None:
        instance = Instance()
        stays = instance.taps.watch(wanted())
        assert b"event: hello" in await anext(stays)
        assert len(instance.told) == 1, "the first one waits for nothing"
        await asyncio.sleep(0)  # the first poll
        for _ in range(100):
            events = instance.taps.watch(wanted())
            begun = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            assert not begun.done(), "it is greeted when the workers know of it"
            begun.cancel()
            await asyncio.gather(begun, return_exceptions=True)
        assert len(instance.told) == 1
        later = instance.taps.watch(wanted())
        instance.taps._poll(LineReader(instance.region, TAPS))
        assert b"event: hello" in await anext(later)
        assert [watch["id"] for watch in instance.told[-1]] == [1, 102]
        instance.taps.close()
        assert list(instance.told[-1]) == []

    run(test())


def test_all_streams_end_with_the_instance_and_when_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped() -> None:
        instance = Instance()
        events = instance.taps.watch(wanted())
        await anext(events)
        instance.taps.close()
        assert [event async for event in events if b"counts" not in event] == []
        with pytest.raises(CannotWatchError, match="the instance stops"):
            instance.taps.watch(wanted())

    async def failed() -> None:
        instance = Instance()
        events = instance.taps.watch(wanted())
        assert len([event async for event in events]) == 1
        assert not instance.taps._watchers

    def no_reader(*arguments: object) -> None:
        raise MemoryError

    run(stopped())
    monkeypatch.setattr(tap_module, "LineReader", no_reader)
    run(failed())


def test_a_second_has_its_share_of_what_is_wanted_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]

    async def test() -> None:
        instance = Instance()
        events = instance.taps.watch(wanted(rate=4))
        assert instance.taps._running is not None
        instance.taps._running.cancel()
        (watcher,) = instance.taps._watchers.values()
        monkeypatch.setattr(tap_module.time, "monotonic", lambda: now[0])
        instance.taps._polled_s = now[0]
        reader = tap_module.LineReader(instance.region, tap_module.TAPS)
        shown = []
        for _ in range(12):  # three seconds of four polls
            instance.taps._poll(reader)
            for _ in range(10):
                instance.request(0)
            instance.taps._poll(reader)
            shown.append(watcher.shown)
            now[0] += 0.25
        assert shown[0] == 4, "at first as many as in a second"
        assert shown[-1] - shown[0] == 11
        instance.taps._poll(reader)
        assert watcher.skipped == 120 - watcher.shown
        await events.aclose()  # type: ignore[attr-defined]

    run(test())
