"""What many routers in a store cost: `python -m bench.providers`. One router of many is changed, again and again.

By store and proxy, all with throttle 0 and the same keys: the time from a change in the store until a request is
answered by it; CPU time per change, of lbcore's supervisor apart; memory per router; the 99th percentile of requests
while nothing changes and while changes follow each other, at a constant rate; requests that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from bench import machine
from bench.process import LOAD_CORE, PROXY_CORE, TICK_S, ended, family, memory_bytes, pin, start, wait_until
from bench.proxies import free_ports
from bench.reload import servers_command
from bench.report import print_tables
from tests.support.stores import Etcd
from tests.support.traefik import TRAEFIK

ROUTERS = 10_000
CHANGES = 20
QUIET_S = 5.0
INTERVAL_S = 0.005  # between two requests of the constant rate
LIMIT_S = 120.0
Put = Callable[[Mapping[str, str]], None]


@dataclass
class Found:
    """The results of one proxy; times in seconds."""

    started_s: float = 0.0
    changes_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0  # per change
    supervisor_s: float = 0.0  # per change, of lbcore's first process
    memory: float = 0.0  # bytes per router
    quiet_s: list[float] = field(default_factory=list)
    changing_s: list[float] = field(default_factory=list)
    failed: int = 0


def keys(number: int, host: str, server: str) -> dict[str, str]:
    """One router with a service of its own."""
    return {
        f"traefik/http/routers/r{number}/rule": f"Host(`{host}`)",
        f"traefik/http/routers/r{number}/service": f"s{number}",
        f"traefik/http/services/s{number}/loadBalancer/servers/0/url": server,
    }


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[tuple[dict[str, Any], Put]]:
    import redis as library

    [port] = free_ports(1)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with ended(start(command, LOAD_CORE, folder)):
        client = library.Redis(port=port)

        def answers() -> bool:
            with contextlib.suppress(library.RedisError):
                return bool(client.ping())
            return False

        wait_until(answers, "redis-server answers")
        yield {"redis": {"endpoints": [f"127.0.0.1:{port}"]}}, lambda values: client.mset(dict(values))
        client.close()


@contextlib.contextmanager
def etcd(folder: Path) -> Iterator[tuple[dict[str, Any], Put]]:
    store = Etcd(folder / "etcd")
    try:
        yield {"etcd": store.settings}, store.put
    finally:
        store.close()


STORES = {"redis": redis, "etcd": etcd}


def command_of(proxy: str, folder: Path, static: Mapping[str, Any]) -> list[str]:
    file = folder / f"{proxy}.yml"
    file.write_text(yaml.safe_dump(dict(static)))
    if proxy == "traefik":
        return [str(TRAEFIK), f"--configFile={file}"]
    return [sys.executable, "-m", "lbcore", "run", "--workers", "1", "--config", str(file)]


class Client:
    """Asks on one connection, which is opened again when it has failed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def status(self, host: str) -> int:
        """The status of an answer; 0: there was none."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            self._connection.request("GET", "/", headers={"Host": host})
            answer = self._connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return 0


class Rate:
    """Asks at a constant rate; times count from when a request was due, so that none hides behind a slow one."""

    def __init__(self, port: int, host: str) -> None:
        self.times_s: list[float] = []
        self.failed = 0
        self._end = threading.Event()

        def work() -> None:
            client, due = Client(port), time.monotonic()
            while not self._end.is_set():
                if (wait_s := due - time.monotonic()) > 0:
                    time.sleep(wait_s)
                self.failed += client.status(host) != 200
                self.times_s.append(time.monotonic() - due)
                due += INTERVAL_S

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def end(self) -> list[float]:
        self._end.set()
        self._thread.join()
        return self.times_s


def spent_s(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total * TICK_S


def measured(
    proxy: str, folder: Path, settings: dict[str, Any], put: Put, routers: int, changes: int, to: str
) -> Found:
    """One proxy beside a store that has `routers` routers."""
    found = Found()
    [port] = free_ports(1)
    static = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"providersThrottleDuration": "0s", **settings},
    }
    put(keys(0, "first", to))
    with ended(start(command_of(proxy, folder, static), PROXY_CORE, folder)) as process:
        client = Client(port)
        wait_until(lambda: client.status("first") == 200, f"{proxy} serves", LIMIT_S)
        small = memory_bytes(process.pid)
        for first in range(1, routers, 5000):
            values: dict[str, str] = {}
            for number in range(first, min(first + 5000, routers)):
                values |= keys(number, f"host-{number}", to)
            put(values)
        began = time.monotonic()
        wait_until(lambda: client.status(f"host-{routers - 1}") == 200, "all routers", LIMIT_S)
        found.started_s = time.monotonic() - began
        time.sleep(1)
        rate = Rate(port, "first")
        time.sleep(QUIET_S)
        found.quiet_s, found.failed = rate.end(), rate.failed
        pids = family(process.pid)
        before, supervisor = spent_s(pids), spent_s(pids[:1])
        rate = Rate(port, "first")
        for number in range(changes):
            host = f"changed-{number}"
            began = time.monotonic()
            put({"traefik/http/routers/r1/rule": f"Host(`{host}`)"})
            while client.status(host) != 200:
                if time.monotonic() - began > LIMIT_S:
                    raise TimeoutError(f"{proxy} does not follow")
                time.sleep(0.001)
            found.changes_s.append(time.monotonic() - began)
        found.changing_s = rate.end()
        found.failed += rate.failed
        found.cpu_s = (spent_s(pids) - before) / changes
        found.supervisor_s = (spent_s(pids[:1]) - supervisor) / changes
        found.memory = (memory_bytes(process.pid) - small) / routers
    return found


def percentile(times_s: list[float], part: float) -> float:
    ordered = sorted(times_s)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routers", type=int, default=ROUTERS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--stores", default=",".join(STORES))
    parser.add_argument("--proxies", default="lbcore,traefik")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    options = parser.parse_args(arguments)
    pin(LOAD_CORE)
    changes = ("all, s", "p50, ms", "p99, ms", "CPU, ms", "supervisor, ms", "bytes/router")
    table = Table("store", "proxy", *changes, "quiet p99, ms", "changing p99, ms", "failed")
    results: dict[str, Any] = {}
    for store in options.stores.split(","):
        for proxy in options.proxies.split(","):
            with tempfile.TemporaryDirectory() as name, STORES[store](Path(name)) as (settings, put):
                folder = Path(name)
                [server] = free_ports(1)
                with ended(start(servers_command(folder, [server]), LOAD_CORE, folder)):
                    to = f"http://127.0.0.1:{server}"
                    one = measured(proxy, folder, settings, put, options.routers, options.changes, to)
            row = {
                "all_s": one.started_s,
                "p50_ms": percentile(one.changes_s, 0.5),
                "p99_ms": percentile(one.changes_s, 0.99),
                "cpu_ms": one.cpu_s * 1000,
                "supervisor_ms": one.supervisor_s * 1000,
                "bytes_per_router": one.memory,
                "quiet_p99_ms": percentile(one.quiet_s, 0.99),
                "changing_p99_ms": percentile(one.changing_s, 0.99),
                "failed": one.failed,
            }
            results[f"{store} {proxy}"] = row
            table.add_row(store, proxy, *(f"{value:.{1 if value < 100 else 0}f}" for value in row.values()))
            print(f"{store} {proxy}: {json.dumps(row)}", file=sys.stderr)
    print(f"{options.routers} routers, {options.changes} changes; {machine.processor()}")
    print_tables([table])
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, subprocess.SubprocessError):
        main()
