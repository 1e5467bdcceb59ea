"""The level of the log for a time: what holds after which of several changes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from lbcore.api.operating import LogLevel, PingSwitch, Stop, level_named, ping_view, span_of
from lbcore.api.refused import RefusedError


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_the_time_of_a_change_is_over_with_the_next_change() -> None:
    """Otherwise the time of the first one would end the second one."""

    async def test() -> None:
        told: list[int | None] = []
        level = LogLevel("ERROR", told.append)
        loop, later = asyncio.get_running_loop(), asyncio.Event()
        level.set("DEBUG", timedelta(milliseconds=1), "one")
        level.set("INFO", timedelta(hours=1), "two")
        loop.call_later(0.002, later.set)  # timers fire in their order
        await later.wait()
        assert (level.level, told) == ("INFO", [10, 20])
        level.set("TRACE", timedelta(milliseconds=1), "three")
        level.set("WARN", None, "four")
        later.clear()
        loop.call_later(0.002, later.set)
        await later.wait()
        assert (level.level, level.view()["until"]) == ("WARN", None)
        level.set("TRACE", timedelta(milliseconds=1), "five")
        level.reset("six")
        later.clear()
        loop.call_later(0.002, later.set)
        await later.wait()
        assert told == [10, 20, 5, 30, 5, None]
        assert level.view() == {"level": "ERROR", "configured": "ERROR", "overridden": False, "until": None}
        before = level.state
        level.set("ERROR", timedelta(milliseconds=1), "seven")
        assert level.view()["overridden"] and level.state != before
        loop.call_later(0.002, later.set)
        later.clear()
        await later.wait()
        assert told[-1] is None and not level.view()["overridden"]

    run(test())


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("1.5m", 90), ("1h30m", 5400), (" 10m ", 600), ("720h", 2592000)]
)
def test_spans(text: str, seconds: float) -> None:
    assert span_of(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["0.5s", "720h1s", "10", "m", "1x", "-1m", "1e3s", "∞", "１０m", None, 5, 5.0, "10m; 5m"]
)
def test_spans_that_make_no_sense(text: Any) -> None:
    with pytest.raises(RefusedError, match=r"^for: "):
        span_of(text)


def test_levels() -> None:
    assert [level_named(name) for name in ("debug", " Info", "WARNING", "panic")] == ["DEBUG", "INFO", "WARN", "PANIC"]
    for wrong in ("", "debugg", None, 10, b"DEBUG", ["DEBUG"]):
        with pytest.raises(RefusedError, match="no level of the log"):
            level_named(wrong)


def test_a_ping_that_fails_by_hand_keeps_its_time_and_a_stop_stands_above_it() -> None:
    told: list[bool] = []
    ping, stops = PingSwitch(503, told.append), [False]
    stop = Stop(0.0, 10.0, lambda: None, lambda: stops[0])
    assert ping_view(PingSwitch(None, told.append), stop) is None
    ping.fail("a")
    since = ping.since_unix_s
    ping.fail("b")
    assert (ping.since_unix_s, ping.by, told) == (since, "a", [True])
    view = ping_view(ping, stop)
    assert view is not None and (view["status"], view["failedBy"]) == (503, "a")
    ping.restore("c")
    view = ping_view(ping, stop)
    assert view is not None and (view["status"], view["failsSince"]) == (200, None)
    stops[0] = True
    view = ping_view(ping, stop)
    assert view is not None and (view["status"], view["stopping"]) == (503, True)


def test_what_a_stop_says_before() -> None:
    stop = Stop(2.5, 0.0, lambda: None, lambda: False)
    cut = "then cuts requests and connections that are under way, and ends"
    assert stop.plan == f"it accepts connections for 2.5 s more, {cut}"
