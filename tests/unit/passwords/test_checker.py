"""Checks of passwords by a process of their own: what is asked, shared, refused, given up, and lost."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from lbcore.passwords import checker as module
from lbcore.passwords.checker import Checker

STORED = b"{SHA}" + base64.b64encode(hashlib.sha1(b"right").digest())


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


async def ask(checker: Checker, password: bytes, stored: bytes = STORED) -> bool | None:
    future: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
    assert checker.check(b"ann", stored, password, future.set_result) is not None
    return await future


def test_right_and_wrong_in_order() -> None:
    async def body() -> None:
        checker = Checker()
        assert await asyncio.gather(
            *(ask(checker, word) for word in (b"right", b"wrong", b"", b"right", b"\0" * 500))
        ) == [
            True,
            False,
            False,
            True,
            False,
        ]
        checker.close()
        assert await ask(checker, b"right") is True  # by another process
        checker.close()

    run(body)


def test_texts_of_any_length_are_asked() -> None:
    async def body() -> None:
        checker = Checker()
        long = b"x" * 70_000
        assert await asyncio.gather(
            ask(checker, b"right", STORED + long), ask(checker, long), ask(checker, long, long), ask(checker, b"right")
        ) == [False, False, False, True]
        checker.close()

    run(body)


SILENT = (sys.executable, "-c", "import sys; sys.stdin.buffer.read()")  # it never answers


def test_one_more_than_the_queue_is_refused() -> None:
    async def body() -> None:
        checker = Checker(SILENT)
        jobs = [checker.check(b"ann", STORED, b"%d" % i, lambda result: None) for i in range(module.MOST_WAITING + 1)]
        assert None not in jobs
        assert checker.check(b"ann", STORED, b"one more", lambda result: None) is None
        assert checker.check(b"bob", STORED, b"0", lambda result: None) is None
        # The same password of the same user as one that waits costs nothing.
        assert checker.check(b"ann", STORED, b"0", lambda result: None) is jobs[0]
        checker.close()

    run(body)


def test_what_is_given_up_is_not_asked() -> None:
    async def body() -> None:
        checker = Checker(SILENT)
        seen: list[bool | None] = []
        first = checker.check(b"ann", STORED, b"1", seen.append)
        await asyncio.sleep(0)
        second = checker.check(b"ann", STORED, b"2", seen.append)
        assert first is not None and second is not None
        checker.forget(second, seen.append)
        assert checker.waiting == 1
        checker.forget(first, seen.append)
        assert checker.waiting == 1  # the process is at it
        checker.close()

    run(body)


def test_a_process_that_ends_or_cannot_be_started_fails_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 3600.0)

    async def body() -> None:
        for command in ((sys.executable, "-c", "raise SystemExit"), ("/nowhere/at/all",)):
            checker = Checker(command)
            assert await asyncio.gather(ask(checker, b"1"), ask(checker, b"2")) == [None, None]
            assert await ask(checker, b"3") is None  # it is not tried again at once
            assert checker.waiting == 0

    run(body)


def test_the_process_ends_when_it_is_idle_and_with_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.01)

    async def body() -> None:
        checker = Checker()
        assert await ask(checker, b"right")
        process = checker._process
        assert process is not None
        while checker._process is not None:
            await asyncio.sleep(0.01)
        assert process.returncode is not None
        monkeypatch.setattr(module, "IDLE_S", 3600.0)
        assert await ask(checker, b"right")
        process = checker._process
        assert process is not None
        del checker
        gc.collect()
        while process.returncode is None:
            await asyncio.sleep(0.01)

    run(body)


def test_the_process_is_nicer_than_the_worker() -> None:
    async def body() -> None:
        checker = Checker()
        assert await ask(checker, b"right")
        assert checker._process is not None
        nice = int(Path(f"/proc/{checker._process.pid}/stat").read_text().rpartition(")")[2].split()[16])
        assert nice >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        checker.close()

    run(body)
