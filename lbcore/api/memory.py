"""The memory of the processes of an instance, and of what lbcore bounds in it. I/O: /proc, when it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from lbcore.api.runtime import Runtime
from lbcore.api.shape import View, instant
from lbcore.api.used import SUMS, own, used_by

FRESH_S = 1.0  # within this time those who ask get the same report: the kernel walks through all pages for it
MOST_OTHERS = 1000  # processes below the supervisor that are no workers


def others(known: set[int]) -> Iterator[View]:
    """The processes below this one, without those of `known`."""
    below, seen = [os.getpid()], 0
    while below and seen < MOST_OTHERS:
        parent = below.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has ended
                below += map(int, task.read_text().split())
        if parent in known:
            continue
        seen += 1
        with contextlib.suppress(OSError, ValueError):
            name = Path(f"/proc/{parent}/comm").read_text().strip()
            yield {"name": name, "pid": parent, **used_by(parent)}


class MemoryReader:
    """Reports of the memory, made when somebody asks, one at a time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn = asyncio.Lock()
        self._made_s = 0.0
        self._last: View = {}

    async def report(self) -> View:
        """The memory now, or that of FRESH_S ago."""
        async with self._turn:
            if not self._last or time.monotonic() - self._made_s > FRESH_S:
                told = await self._runtime.ask_memory()
                self._last = await asyncio.to_thread(self._made, told)
                self._made_s = time.monotonic()
            return self._last

    def _made(self, told: Mapping[int, View]) -> View:
        runtime = self._runtime
        processes: list[View] = [{"name": "supervisor", **own()}]
        for worker in runtime.workers():
            view: View = {"name": f"worker {worker.index}", "pid": worker.pid, "state": worker.state}
            if (report := told.get(worker.index)) is not None and report.get("pid") == worker.pid:
                processes.append(view | report)
                continue
            try:
                used = used_by(worker.pid) if worker.pid else None
            except OSError:
                used = None
            problem = "it does not answer" if used is not None else "it has ended"
            processes.append(view | (used or dict.fromkeys(SUMS)) | {"problem": problem})
        if not runtime.workers() and 0 in told:  # the only process has the data plane
            processes[0] |= told[0]
        processes += others({os.getpid(), *(worker.pid for worker in runtime.workers())})
        parts = [each["proportionalBytes"] for each in processes]
        return {
            "time": instant(time.time()),
            "totalBytes": sum(parts) if None not in parts else None,
            "processes": processes,
            "shared": shared(runtime),
            "configuration": configuration(runtime),
            "queues": queues(runtime),
        }


def shared(runtime: Runtime) -> View:
    """The memory that all processes of an instance share: how much of it there is, and what is used of it."""
    region, slots = runtime.region, runtime.slots
    status = os.fstat(region.fd)
    over_time, held = region.keys_used
    return {
        "mappedBytes": status.st_size,
        "residentBytes": status.st_blocks * 512,
        "services": {"used": len(slots.services), "most": region.services},
        "servers": {"used": len(slots.servers), "most": region.servers},
        "keys": {"overTime": over_time, "held": held},
        "bodies": {"usedBytes": region.body_memory, "mostBytes": region.body_memory_limit},
    }


def configuration(runtime: Runtime) -> View:
    """How many objects each process has in its tables."""
    http, tcp, udp = runtime.dynamic.http, runtime.dynamic.tcp, runtime.dynamic.udp
    return {
        "generation": runtime.reload.generation,
        "routers": len(http.routers) + len(tcp.routers) + len(udp.routers),
        "services": len(http.services) + len(tcp.services) + len(udp.services),
        "middlewares": len(http.middlewares) + len(tcp.middlewares),
        "servers": runtime.servers,
    }


def queues(runtime: Runtime) -> View:
    """The queues of all services: how many there are, how many requests wait in them, and how many may."""
    table = runtime.table
    queued = [table.balancers[name].queue for name in table.queued if name in table.balancers] if table else []
    found = [queue for queue in queued if queue is not None]
    return {
        "count": len(found),
        "waiting": sum(runtime.region.queue_counters(queue.slot).waiting for queue in found),
        "most": sum(queue.max_requests for queue in found),
    }
