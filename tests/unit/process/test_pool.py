"""The pool against workers that misbehave: silent, garbling, hanging ones."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from lbcore.process import pool as pool_module
from lbcore.process.control import Message
from lbcore.process.pool import Pool, WorkersError
from lbcore.state.region import Region

# A worker in a few lines: it says that it runs whatever configuration comes, and does `EXTRA` then.
GOOD = """
import asyncio, socket, sys
from lbcore.process.control import Channel, encode
from lbcore.state.region import Region

async def main():
    sock = socket.socket(fileno=int(sys.argv[-1]))
    channel = Channel(sock)
    async for message in channel.messages():
        if message["type"] == "hello":
            index, region = message["worker"], Region.attach(message["region"])
        elif message["type"] == "configure":
            region.beat(index)
            channel.send({"type": "applied", "generation": message["generation"], "objects": []})
            EXTRA
        else:
            return

asyncio.run(main())
"""


class Owner:
    def __init__(self, region: Region) -> None:
        self.region = region
        self.heard: list[Message] = []
        self.generations: list[int] = []

    def hello(self, worker: int) -> tuple[Message, list[int]]:
        return {"type": "hello", "worker": worker, "region": self.region.fd}, [self.region.fd]

    def applied(self, message: Message) -> None:
        self.heard.append(message)

    def running(self, generation: int) -> None:
        self.generations.append(generation)


def command(extra: str = "pass") -> tuple[str, ...]:
    return (sys.executable, "-c", GOOD.replace("EXTRA", extra))


@contextlib.asynccontextmanager
async def pool_of(command: tuple[str, ...], workers: int = 1) -> AsyncIterator[tuple[Pool, Owner, asyncio.Task[None]]]:
    region = Region.create(workers, services=4, servers=4)
    owner = Owner(region)
    pool = Pool(region, command, owner)
    task = asyncio.create_task(pool.run())
    try:
        yield pool, owner, task
    finally:
        pool.kill()
        await asyncio.gather(task, return_exceptions=True)
        assert pool.pids == []


async def eventually(probe: Callable[[], bool], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not probe():
            await asyncio.sleep(0.01)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 40))


def test_pool_every_worker_gets_each_configuration_and_goes_when_told() -> None:
    async def test() -> None:
        async with pool_of(command(), workers=2) as (pool, owner, task):
            pool.configure(1, {"type": "configure", "generation": 1})
            await eventually(lambda: owner.generations == [1])
            pool.configure(2, {"type": "configure", "generation": 2})
            await eventually(lambda: owner.generations == [1, 2])
            assert [message["generation"] for message in owner.heard] == [1, 2]
            assert len(pool.pids) == 2
            pool.drain(1)
            await asyncio.wait_for(task, 5)

    run(test())


def test_pool_worker_sending_garbage_is_killed_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        garbage = "import time; time.sleep(0.3); sock.setblocking(True); sock.sendall(bytes(64)); time.sleep(30)"
        async with pool_of(command(garbage)) as (pool, owner, _):
            pool.configure(1, {"type": "configure", "generation": 1})
            await eventually(lambda: len(owner.generations) >= 2)

    run(test())
    assert "sends what is no control message" in caplog.text


def test_pool_worker_never_ready_is_given_up_at_boot(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_S", 0.3)
    monkeypatch.setattr(pool_module, "BACKOFF_S", (0.01, 0.01))

    async def test() -> None:
        async with pool_of((sys.executable, "-c", "import time; time.sleep(60)")) as (pool, _, task):
            pool.configure(1, {"type": "configure", "generation": 1})
            with pytest.raises(WorkersError, match="worker 0 failed 3 times to start, last: signal 9"):
                await task

    run(test())
    assert caplog.text.count("is not ready after") == 3


def test_pool_program_that_is_not_there_is_given_up_at_boot() -> None:
    async def test() -> None:
        async with pool_of(("/nonexistent/python",)) as (_, _, task):
            with pytest.raises(WorkersError, match=r"cannot be started: .*No such file"):
                await task

    run(test())


def test_pool_worker_that_hangs_is_reported_then_killed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "QUIET_S", 1)
    monkeypatch.setattr(pool_module, "HUNG_S", 2)

    async def test() -> None:
        async with pool_of(command("import time; time.sleep(60)")) as (pool, owner, _):
            pool.configure(1, {"type": "configure", "generation": 1})
            await eventually(lambda: not pool.responsive)
            await eventually(lambda: len(owner.generations) >= 2)

    run(test())
    assert "has not answered for 1 s" in caplog.text
    assert "hangs, killing it" in caplog.text


def test_pool_dead_worker_leaves_no_open_connection_in_the_counters() -> None:
    async def test() -> None:
        async with pool_of(command("region.set_worker_generation(index, 7); raise SystemExit(3)")) as (pool, owner, _):
            pool.configure(1, {"type": "configure", "generation": 1})
            await eventually(lambda: len(owner.generations) >= 1)
            await eventually(lambda: owner.region.worker_generation(0) == 0)

    run(test())
