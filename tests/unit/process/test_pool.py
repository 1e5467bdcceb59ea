"""The pool against workers that misbehave: silent, garbling, hanging ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.process import pool as pool_module
from lbcore.process.control import Message, encode
from lbcore.process.pool import Pool, WorkersError, heirs
from lbcore.process.publication import Prepared, RefusedError
from lbcore.process.snapshot import Snapshot
from lbcore.process.starting import Program
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap
from tests.support.instance import becomes_true

# A worker in a few lines: it says that it runs whatever configuration comes, and does `EXTRA` then. `PREPARED`:
# before it says that it could.
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
            channel.send({"type": "started"})
        elif message["type"] == "prepare":
            region.beat(index)
            PREPARED
            channel.send({"type": "prepared", "generation": message["generation"]})
        elif message["type"] == "commit":
            region.beat(index)
            channel.send({"type": "committed", "generation": message["generation"]})
            EXTRA
        elif message["type"] == "sessions":
            ASKED
        elif message["type"] == "taps":
            watches = len(message["watches"])
        elif message["type"] in ("abort", "adopt", "release"):
            pass
        else:
            return

asyncio.run(main())
"""


class Owner:
    def __init__(self, region: Region) -> None:
        self.region = region
        self.generations: list[int] = []

    def hello(self, worker: int) -> tuple[Message, list[int]]:
        return {"type": "hello", "worker": worker, "region": self.region.fd}, [self.region.fd]

    def running(self, generation: int) -> None:
        self.generations.append(generation)


def command(extra: str = "pass", prepared: str = "pass", asked: str = "pass") -> tuple[str, ...]:
    script = GOOD.replace("EXTRA", extra).replace("PREPARED", prepared).replace("ASKED", asked)
    return (sys.executable, "-c", script)


def configuration(generation: int) -> Prepared:
    message = encode({"type": "prepare", "generation": generation})
    return Prepared(Snapshot(generation, DynamicConfig(), SlotMap()), None, DynamicConfig(), {}, 0, message)  # type: ignore[arg-type]


async def publish(pool: Pool, generation: int) -> None:
    prepared = configuration(generation)
    await pool.prepare(prepared)
    pool.commit(prepared)


@contextlib.asynccontextmanager
async def pool_of(command: tuple[str, ...], workers: int = 1) -> AsyncIterator[tuple[Pool, Owner, asyncio.Task[None]]]:
    region = Region.create(workers, services=4, servers=4)
    owner = Owner(region)
    pool = Pool(region, Program(command), owner)
    task = asyncio.create_task(pool.run())
    try:
        yield pool, owner, task
    finally:
        pool.kill()
        await asyncio.gather(task, return_exceptions=True)
        assert pool.pids == []


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 40))


def test_pool_every_worker_gets_each_configuration_and_stops_on_request() -> None:
    async def test() -> None:
        async with pool_of(command(), workers=2) as (pool, owner, task):
            await publish(pool, 1)
            await becomes_true(lambda: owner.generations == [1])
            await publish(pool, 2)
            await becomes_true(lambda: owner.generations == [1, 2])
            assert len(pool.pids) == 2
            pool.drain(1)
            await asyncio.wait_for(task, 5)

    run(test())


def test_pool_worker_sending_garbage_is_killed_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        garbage = "import time; sock.setblocking(True); sock.sendall(bytes(64)); time.sleep(30)"
        async with pool_of(command(garbage)) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: len(owner.generations) >= 2)

    run(test())
    assert "sends an invalid control message" in caplog.text


def test_pool_worker_never_ready_is_given_up_at_boot(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "START_S", 0.3)
    monkeypatch.setattr(pool_module, "BACKOFF_S", (0.01, 0.01))

    async def test() -> None:
        async with pool_of((sys.executable, "-c", "import time; time.sleep(60)")) as (pool, _, task):
            pool.commit(configuration(1))
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
    monkeypatch.setattr(pool_module, "QUIET_S", 0.5)
    monkeypatch.setattr(pool_module, "HUNG_S", 2)

    async def test() -> None:
        async with pool_of(command("import time; time.sleep(60)")) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: not pool.responsive)
            await becomes_true(lambda: len(owner.generations) >= 2)

    run(test())
    assert "has not answered for 0.5 s" in caplog.text
    assert "hangs, killing it" in caplog.text


def test_pool_dead_worker_leaves_no_open_connection_in_the_counters() -> None:
    async def test() -> None:
        async with pool_of(command("region.set_worker_generation(index, 7); raise SystemExit(3)")) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: len(owner.generations) >= 1)
            await becomes_true(lambda: owner.region.worker_generation(0) == 0)

    run(test())


def test_pool_configuration_that_one_worker_refuses_is_given_to_no_later_one() -> None:
    async def test() -> None:
        refuse = (
            'channel.send({"type": "refused", "generation": 2, "error": "no"}) if message["generation"] == 2 else None'
        )
        async with pool_of(command(prepared=refuse), workers=2) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: owner.generations == [1])
            with pytest.raises(RefusedError, match="no"):
                await pool.prepare(configuration(2))
            pool.abort(configuration(2))
            os.kill(pool.pids[0], signal.SIGKILL)
            await becomes_true(lambda: owner.generations == [1, 1])
            assert pool.oldest_generation == 1

    run(test())


def test_pool_configuration_that_ends_every_worker_is_refused() -> None:
    async def test() -> None:
        end = 'sys.exit(9) if message["generation"] == 2 else None'
        async with pool_of(command(prepared=end), workers=2) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: owner.generations == [1])
            with pytest.raises(RefusedError, match="every worker ended"):
                await pool.prepare(configuration(2))
            await becomes_true(lambda: owner.generations == [1, 1])

    run(test())


def test_pool_worker_that_hangs_is_not_waited_for_and_passes_its_sockets_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "QUIET_S", 0.5)
    # The heart of a real worker beats beside all this.
    beat = "asyncio.get_running_loop().create_task(beating(region, index))"
    beating = (
        "async def beating(region, index):\n"
        "    while True:\n        region.beat(index)\n        await asyncio.sleep(0.05)\n\nasync def main():"
    )

    async def test() -> None:
        program = command(prepared=beat)[2].replace("async def main():", beating)
        async with pool_of((sys.executable, "-c", program), workers=2) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: owner.generations == [1])
            stopped, other = pool.statuses
            os.kill(stopped.pid, signal.SIGSTOP)
            await becomes_true(
                lambda: pool.statuses[0].state == "hanging" and pool.statuses[0].accepted_by == other.index
            )
            await publish(pool, 2)
            await becomes_true(lambda: pool.statuses[1].generation == 2)
            assert pool.oldest_generation == 1
            os.kill(stopped.pid, signal.SIGCONT)
            await becomes_true(lambda: owner.generations == [1, 2])
            await becomes_true(lambda: pool.statuses[0].accepted_by is None)
            assert pool.oldest_generation == 2

    run(test())


def test_heirs_are_other_workers_and_a_few() -> None:
    assert heirs(0, 1) == []
    assert heirs(0, 3) == [2, 1]
    assert all(index not in heirs(index, 100) and len(heirs(index, 100)) == 7 for index in range(100))


ANSWERS = 'channel.send({"type": "sessions", "number": message["number"], "found": {"found": index}})'


def test_pool_every_worker_is_asked_and_those_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ASK_S", 0.5)

    async def test(asked: str, answers: list[Message], silent: list[int]) -> None:
        async with pool_of(command(asked=asked), workers=2) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: owner.generations == [1])
            assert await pool.ask({"act": "list"}) == (answers, silent)
            assert pool._answers == {}

    run(test(ANSWERS, [{"found": 0}, {"found": 1}], []))
    run(test(f"{ANSWERS} if index else None", [{"found": 1}], [0]))
    run(test(f"{ANSWERS} if index else sys.exit(1)", [{"found": 1}], [0]))
    failing = ANSWERS.replace('{"found": index}', '{"error": "no memory"} if index else {"found": 0}')
    run(test(failing, [{"found": 0}], [1]))
    wrong = ANSWERS.replace('message["number"]', 'message["number"] + 7')
    run(test(wrong, [], [0, 1]))


def test_pool_a_worker_that_starts_hears_who_watches_requests() -> None:
    async def test() -> None:
        async with pool_of(command(asked=ANSWERS.replace("index", "watches"))) as (pool, owner, _):
            await publish(pool, 1)
            await becomes_true(lambda: owner.generations == [1])
            pool.set_taps([{"id": 1, "slot": 0}])
            assert await pool.ask({}) == ([{"found": 1}], [])
            (child,) = pool._children.values()
            child.kill()
            await becomes_true(lambda: owner.generations == [1, 1])
            assert await pool.ask({}) == ([{"found": 1}], [])

    run(test())

