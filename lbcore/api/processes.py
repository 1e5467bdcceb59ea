"""What each process of an instance uses, by the names that client libraries of Prometheus have. I/O: /proc."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lbcore.api.cpu import used_s
from lbcore.api.runtime import Runtime

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
# Where /proc/stat cannot be read (`ProcSubset=pid` of systemd); once, because the two clocks drift apart.
BOOTED_S = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
LIMIT = re.compile(rb"^Max open files +(\d+)", re.MULTILINE)


class ProcessCollector(Collector):
    """The supervisor, and each worker. Costs O(open descriptors) per scrape, and nothing otherwise."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def describe(self) -> list[Metric]:
        """No metrics, because a registry would otherwise collect everything once to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        workers = [(f"worker {each.index}", each.pid) for each in self._runtime.workers()]
        yield from _metrics([("supervisor", os.getpid()), *workers])


def _metrics(processes: Iterable[tuple[str, int]]) -> Iterator[Metric]:
    """The metrics of processes, by name and pid; those that have ended have none."""
    cpu = CounterMetricFamily("process_cpu_seconds", "User and system CPU time", labels=["process"])
    gauges = {
        name: GaugeMetricFamily(f"process_{name}", text, labels=["process"])
        for name, text in (
            ("resident_memory_bytes", "Memory in use, with what processes share"),
            ("virtual_memory_bytes", "Addresses in use"),
            ("open_fds", "Open file descriptors"),
            ("max_fds", "Most file descriptors that may be open"),
            ("start_time_seconds", "Start of the process, in Unix time"),
        )
    }
    booted_s = _booted_s()
    for name, pid in processes:
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            found = _of(pid, booted_s)
            cpu.add_metric([name], used_s(pid))
            for key, value in found.items():
                gauges[key].add_metric([name], value)
    yield from (cpu, *gauges.values())


def _of(pid: int, booted_s: float) -> dict[str, float]:
    """The values of one process. Raises OSError."""
    virtual, resident = map(int, _read(pid, "statm").split()[:2])
    started = int(_read(pid, "stat").rpartition(b")")[2].split()[19]) / TICKS
    found = {
        "resident_memory_bytes": float(resident * PAGE),
        "virtual_memory_bytes": float(virtual * PAGE),
        "open_fds": float(len(os.listdir(f"/proc/{pid}/fd"))),
        "start_time_seconds": booted_s + started,
    }
    if limit := LIMIT.search(_read(pid, "limits")):
        found["max_fds"] = float(limit[1])
    return found


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _booted_s() -> float:
    """The Unix time at which the machine has started."""
    with contextlib.suppress(OSError), open("/proc/stat", "rb") as file:
        if found := re.search(rb"^btime (\d+)", file.read(), re.MULTILINE):
            return float(found[1])
    return BOOTED_S
