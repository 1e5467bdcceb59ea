"""Calls that may never return: given up after a time, not repeated, bounded, with what they raise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from lbcore.config import blocking
from lbcore.config.blocking import BlockedError, BlockingCalls
from tests.support.instance import eventually

Call = Callable[[BlockingCalls, str, float, Callable[[], object]], object]


def run(calls: BlockingCalls, key: str, seconds: float, call: Callable[[], object]) -> object:
    return asyncio.run(calls.run(key, seconds, call))


def fail() -> None:
    raise TimeoutError("its own")


@pytest.mark.parametrize("make", [run, BlockingCalls.wait])
def test_a_call_that_never_returns_is_given_up_and_not_repeated(make: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, stop = BlockingCalls(), threading.Event()
    with pytest.raises(BlockedError, match=r"0\.05 s"):
        make(calls, "a", 0.05, stop.wait)
    with pytest.raises(BlockedError, match="does not answer"):
        make(calls, "a", 10, stop.wait)
    assert make(calls, "b", 60, lambda: 3) == 3
    assert calls.stuck == {"a"}
    monkeypatch.setattr(blocking, "MOST_STUCK", 1)
    with pytest.raises(BlockedError, match="does not answer"):
        make(calls, "b", 60, lambda: 3)
    stop.set()
    eventually(lambda: not calls.stuck, "it has returned")
    assert make(calls, "a", 60, lambda: 4) == 4


@pytest.mark.parametrize("make", [run, BlockingCalls.wait])
def test_what_a_call_raises_is_raised(make: Call) -> None:
    calls = BlockingCalls()
    with pytest.raises(TimeoutError, match="its own"):
        make(calls, "a", 60, fail)
    with pytest.raises(KeyError):
        make(calls, "a", 60, lambda: {}[0])
    assert not calls.stuck


def test_a_call_whose_caller_is_gone_is_not_repeated_before_it_returns() -> None:
    calls, stop = BlockingCalls(), threading.Event()

    async def leave() -> None:
        task = asyncio.create_task(calls.run("a", 60, stop.wait))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(leave())
    assert calls.stuck == {"a"}
    stop.set()
    eventually(lambda: not calls.stuck, "it has returned")
