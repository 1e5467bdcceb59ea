"""The cost of a limit in a store: calls of its script by lbcore's own wire and by redis-py, against one redis-server.

`python -m bench.store [CALLS]` prints the CPU of this process for a call, with 1 and with 32 of them under way.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

import redis.asyncio
import uvloop

from lbcore.store.bucket import TAKE, key_of, parts_of
from lbcore.store.redis import Settings, Store

PORT = 16379
PARTS = parts_of(1e6, 1000, 500)


def own(store: Store) -> Callable[[bytes], Awaitable[int | None]]:
    async def call(key: bytes) -> int | None:
        done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        assert store.run(TAKE, key, PARTS, done.set_result) is not None
        return await done

    return call


def library(client: redis.asyncio.Redis) -> Callable[[bytes], Awaitable[int]]:
    script = client.register_script(TAKE.text)

    async def call(key: bytes) -> int:
        return int(await script(keys=[key], args=PARTS))

    return call


async def measure(call: Callable[[bytes], Awaitable[int | None]], at_once: int, calls: int) -> float:
    """CPU for a call, in µs."""
    keys = [key_of("limit@file", b"10.0.0.%d" % number) for number in range(256)]

    async def one(number: int) -> None:
        for turn in range(calls // at_once):
            assert await call(keys[(number + turn) % 256]) is not None

    await call(keys[0])
    begun = time.process_time()
    await asyncio.gather(*[one(number) for number in range(at_once)])
    return (time.process_time() - begun) / calls * 1e6


async def main(calls: int) -> None:
    store = Store(Settings((("127.0.0.1", PORT),), most=10))
    client = redis.asyncio.Redis(port=PORT)
    for name, call in (("lbcore", own(store)), ("redis-py", library(client))):
        found = [await measure(call, at_once, calls) for at_once in (1, 32)]
        print(f"{name:10}" + "".join(f"{cost:8.1f} µs" for cost in found))
    store.close()
    await client.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(PORT), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
        finally:
            server.terminate()
            server.wait()
