"""Connections to a store: limits of time, what is sent once more, and that nobody waits for a store that is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

import lbcore.store.redis as redis
from lbcore.store.redis import Script, Settings, Store
from tests.support.instance import becomes_true

SCRIPT = Script(b"return 1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    """A server that is no Redis, on a port. Its connections end with it."""
    writers: list[asyncio.StreamWriter] = []

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.CancelledError):
            await serve(reader, writer)

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    parts = []
    for _ in range(int((await reader.readline())[1:])):
        size = int((await reader.readline())[1:])
        parts.append((await reader.readexactly(size + 2))[:-2])
    return parts


async def calm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Replies 7 to each script."""
    while parts := await read_command(reader):
        writer.write(b"+PONG\r\n" if parts == [b"PING"] else b":7\r\n")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def in_loop(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def store_at(*ports: int, **settings: Any) -> Store:
    return Store(Settings(tuple(("127.0.0.1", port) for port in ports), **{"most": 4, **settings}))


async def result_of(store: Store, key: bytes = b"k", *parts: bytes) -> int | str | None:
    """What a call results in; `away`: it is not even sent."""
    found: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
    if store.run(SCRIPT, key, parts, found.set_result) is None:
        return "away"
    async with asyncio.timeout(30):
        return await found


async def unused_port() -> int:
    async with serving(calm) as port:
        return port


def test_calls_share_a_connection_and_more_are_opened_when_there_is_much_to_do(in_loop: Any) -> None:
    async def run() -> None:
        served = 0

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            served += 1
            await calm(reader, writer)

        async with serving(count) as port:
            store = store_at(port)
            assert await asyncio.gather(*[result_of(store) for _ in range(20)]) == [7] * 20
            assert (served, store.connections) == (1, 1)
            for _ in range(3):
                assert await asyncio.gather(*[result_of(store) for _ in range(200)]) == [7] * 200
            assert 1 < served <= 4
            store.close()

    in_loop(run())


@pytest.mark.parametrize("reads", [False, True])
def test_limits_of_time(in_loop: Any, reads: bool) -> None:
    """A server that does not reply, or does not even read, is broken off; then it counts as away."""

    async def run() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_command(reader)
            writer.write(b"+PONG\r\n")
            if reads:
                while await reader.read(1 << 20):
                    pass
            else:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await writer.wait_closed()
            ended.set()

        async with serving(serve) as port:
            limit = {"read_s": 0.2, "write_s": 0.0} if reads else {"read_s": 0.0, "write_s": 0.2}
            store = store_at(port, wait_s=60.0, most=1, **limit)
            calls = [result_of(store, b"k", b"x" * 1_000_000) for _ in range(1 if reads else 16)]
            found = await asyncio.gather(*calls)
            assert set(found) <= {None, "away"} and None in found
            assert await result_of(store) == "away"
            store.close()

    in_loop(run())


def test_without_limits_of_time_it_is_waited_for(in_loop: Any) -> None:
    async def run() -> None:
        go_on = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_command(reader)
            writer.write(b"+PONG\r\n")
            await read_command(reader)
            await go_on.wait()
            writer.write(b":3\r\n")
            await calm(reader, writer)

        async with serving(serve) as port:
            store = store_at(port, read_s=0.0, wait_s=0.05, most=1)
            first = asyncio.create_task(result_of(store))
            await becomes_true(lambda: store.connections == 1)

            async def is_away() -> bool:
                return await asyncio.wait_for(result_of(store), 0.05) == "away"

            while True:  # once it has not replied for `wait_s`, nobody else waits
                with contextlib.suppress(TimeoutError):
                    if await is_away():
                        break
            go_on.set()
            assert await first == 3
            store.close()

    in_loop(run())


@pytest.mark.parametrize("silent", [False, True])
def test_a_dial_takes_a_bounded_time(in_loop: Any, silent: bool) -> None:
    """Of one that does not reply to the greeting, or closes."""

    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if silent:
                await reader.read()
            writer.close()

        async with serving(serve) as port:
            store = store_at(port, dial_s=0.1, wait_s=60.0)
            assert await result_of(store) is None
            assert await result_of(store) == "away"
            store.close()

    in_loop(run())


def test_a_call_on_a_connection_that_was_dead_is_sent_once_more(in_loop: Any) -> None:
    async def run() -> None:
        served = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            served += 1
            await read_command(reader)
            writer.write(b"+PONG\r\n")
            await read_command(reader)
            if served == 2:
                writer.close()  # without a reply
                return
            writer.write(b":%d\r\n" % served)
            await writer.drain()
            if served == 1:
                writer.close()
            await calm(reader, writer)

        async with serving(serve) as port:
            store = store_at(port)
            assert await result_of(store) == 1
            await becomes_true(lambda: store.connections == 0)
            assert await result_of(store) == 3
            store.close()

    in_loop(run())


@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_call_while_its_connection_ends_is_sent_once_more(in_loop: Any, end: str) -> None:
    async def run() -> None:
        async with serving(calm) as port:
            store = store_at(port)
            assert await result_of(store) == 7
            (node,) = store._nodes.values()
            getattr(node.links[0]._transport, end)()  # without the knowledge of its link
            assert await result_of(store) == 7
            getattr(node.links[0], end)()
            assert await result_of(store) in (7, "away")
            store.close()

    in_loop(run())


def test_a_call_is_not_sent_for_ever(in_loop: Any) -> None:
    async def run() -> None:
        served = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            served += 1
            await read_command(reader)
            writer.write(b"+PONG\r\n")
            await read_command(reader)
            writer.close()

        async with serving(serve) as port:
            store = store_at(port)
            assert await result_of(store) is None
            assert 1 < served <= 8
            store.close()

    in_loop(run())


@pytest.mark.parametrize(
    "reply",
    [b"-WRONGTYPE x\r\n", b"+seven\r\n", b"*1\r\n:7\r\n", b"-NOSCRIPT x\r\n", b"-MOVED 1 nowhere\r\n", b"-MOVED\r\n",
     b"-MOVED 1 a:99999\r\n", b"nonsense\r\n", b":1\r\n:2\r\n:3\r\n"],
    ids=["refusal", "text", "array", "noscript", "no port", "no slot", "far port", "nonsense", "too many"],
)  # fmt: skip
def test_hostile_replies(in_loop: Any, reply: bytes) -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while parts := await read_command(reader):
                writer.write(b"+PONG\r\n" if parts == [b"PING"] else reply)

        async with serving(serve) as port:
            store = store_at(port)
            for _ in range(3):
                assert await result_of(store) in (None, "away", 1)
            store.close()

    in_loop(run())


def test_another_endpoint_is_asked_when_one_is_away(in_loop: Any) -> None:
    async def run() -> None:
        dead = await unused_port()
        async with serving(calm) as port:
            store = store_at(dead, port)
            assert [await result_of(store) for _ in range(3)] == [7] * 3
            store.close()
        store = store_at(dead, dead)
        assert await result_of(store) is None
        assert await result_of(store) == "away"
        store.close()

    in_loop(run())


def test_a_store_that_comes_back_is_seen_by_dials_with_pauses(in_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "LONGEST_PAUSE_S", 0.2)

    async def run() -> None:
        port = await unused_port()
        store = store_at(port)
        assert await result_of(store) is None
        for _ in range(50):
            assert await result_of(store) == "away"
        server = await asyncio.start_server(calm, "127.0.0.1", port)
        while await result_of(store) != 7:
            await asyncio.sleep(0.01)
        store.close()
        server.close()

    in_loop(run())


def test_idle_connections_are_closed_but_for_those_that_stay(in_loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "IDLE_S", 0.05)
    monkeypatch.setattr(redis, "BUSY", 1)

    async def run() -> None:
        async with serving(calm) as port:
            for least in (2, 0):
                store = store_at(port, least=least)
                assert await asyncio.gather(*[result_of(store) for _ in range(100)]) == [7] * 100
                await becomes_true(lambda: store.connections == least)  # noqa: B023
                assert await result_of(store) == 7
                store.close()

    in_loop(run())


def test_a_store_that_nobody_has_any_more_closes_its_connections(in_loop: Any) -> None:
    async def run() -> None:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await calm(reader, writer)
            finally:
                ended.set()

        async with serving(serve) as port:
            store = store_at(port)
            assert await result_of(store) == 7
            await asyncio.to_thread(store.__del__)  # whichever thread drops it last
            async with asyncio.timeout(30):
                await ended.wait()

    in_loop(run())


def test_shares_of_workers() -> None:
    settings = Settings((("a", 1),), most=5, least=3)
    assert [(each.most, each.least) for each in map(settings.share, (1, 2, 4, 8))] == [(5, 3), (2, 2), (1, 1), (1, 1)]
    assert Settings((("a", 1),)).share(4).most == redis.MOST_CONNECTIONS
    assert settings.identity == Settings((("a", 1),), most=5, least=3).identity
    assert settings.identity != Settings((("a", 1),), most=5, least=3, password="x").identity
