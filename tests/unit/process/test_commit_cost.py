"""What a worker's loop waits for when a configuration comes into force is what is new in it, however large it is."""

from __future__ import annotations

import asyncio
import time

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.process.plane import DataPlane
from lbcore.process.snapshot import Publisher
from lbcore.state.region import Region

STATIC = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})


def configuration(count: int, port: int, limit: int) -> DynamicConfig:
    routers = {f"r{n}@file": {"rule": f"Host(`h{n}`)", "service": f"s{n}"} for n in range(count)}
    server = f"http://127.0.0.1:{port}"
    balancer = {"servers": [{"url": server}], "maxConnections": limit}
    services = {f"s{n}@file": {"loadBalancer": balancer} for n in range(count)}
    return DynamicConfig.model_validate({"http": {"routers": routers, "services": services}})


def least_s(count: int, limit: int, changes: int = 8) -> float:
    """CPU time of the quickest of several commits that each exchange one service."""

    async def run() -> float:
        plane = DataPlane(asyncio.get_running_loop(), STATIC, region := Region.create(1), 0)
        publisher, config, found = Publisher(region), configuration(count, 1, limit), []
        try:
            for number in range(changes):
                other = configuration(1, number + 2, limit).http.services["s0@file"]
                http = config.http.model_copy(update={"services": {**config.http.services, "s0@file": other}})
                config = config.model_copy(update={"http": http})
                snapshot = publisher.publish(config)
                table = plane.prepare(snapshot.dynamic, snapshot.slots)
                began = time.thread_time()
                plane.commit(table)
                found.append(time.thread_time() - began)
                new = [server.name for server in table.joined]
                assert len(new) == count if number == 0 else new == [f"s0@file|http://127.0.0.1:{number + 2}"]
                assert len(table.left) == (1 if number else 0) and len(table.servers) == count
        finally:
            plane.close()
        return min(found)

    return asyncio.run(run())


@pytest.mark.parametrize("limit", [0, 10], ids=["plain", "queues"])
def test_a_commit_costs_what_is_new(limit: int) -> None:
    # A hundred times the servers: what was linear took 25 to 50 times as long. What is left, about 9 times, is memory
    # that is not in the caches.
    assert least_s(6000, limit) < 20 * least_s(60, limit)
