"""What it costs to watch lbcore: `python -m bench.watching`. Viewers of the dashboard, and traces of requests.

An instance runs at full load, and short slices with and without what is measured take turns, each pair in the other
order than the one before, so that nothing else that happens on the machine hits one side alone. The figure of a pair is
the ratio of its costs, CPU time of all processes of lbcore per request; that of all pairs is their median, with the
interval in which it lies at 95 %. Viewers come to and go from one process, so that the two sides do not even differ in
where its code and data lie. What is traced needs another process: pairs with it are made in several starts.

`--only viewers` measures a part, `--pairs 5` is a look in minutes, `--write` stores what was measured, beside what was
measured of other parts before, and puts all into docs/performance.md. Run it in a quiet hour: the interval says whether
it was one.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import json
import math
import multiprocessing
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from bench import machine
from bench.fleet import written
from bench.load import LoadError, wrk
from bench.options import positive
from bench.process import LOAD_CORE, PROXY_CORE, ended, family, pin, start, wait_until
from bench.proxies import chosen, fetch, free_ports, server_command
from bench.report import print_tables
from bench.workloads import SPREAD

ROOT = Path(__file__).resolve().parents[1]
RESULT, PAGE = ROOT / "bench/results/watching.json", ROOT / "docs/performance.md"
MARK = "<!-- figures of bench.watching -->"
VIEWERS = 5
STARTS = 5  # of the processes of a part that compares two
SETTLED_S = 1.5  # after viewers have come: the first picture is not what a viewer costs
REST_S, REST_PART = 0.1, 0.05  # processes rest when they have used less than this part of a CPU for so long
CONNECTIONS = 64
START_S = 180.0


@dataclass(frozen=True, slots=True)
class Part:
    """`bound`: the ratio that is promised. `viewers` of an instance, or `rate`: the part of requests that is traced."""

    what: str
    bound: float
    routers: int = 1
    viewers: int = 0
    rate: float = 0


PARTS = {
    "viewers": Part("five viewers of the dashboard", 1.01, viewers=VIEWERS),
    "viewers1000": Part("five viewers, traffic at 1,000 routers", 1.01, routers=1000, viewers=VIEWERS),
    "traces1": Part("1 % of the requests traced", 1.02, rate=0.01),
    "traces100": Part("all requests traced", 1.25, rate=1),
}


# Processes


def spent_s(pid: int) -> float:
    """CPU seconds of a process and its descendants so far, to the nanosecond (proc_pid_schedstat)."""
    total = 0
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def rested(pid: int) -> float:
    """CPU seconds of processes so far, once they rest: what is done about requests later belongs to them."""
    before, end_s = spent_s(pid), time.monotonic() + 5
    while True:
        time.sleep(REST_S)
        now = spent_s(pid)
        if now - before < REST_S * REST_PART or time.monotonic() > end_s:
            return now
        before = now


@contextlib.contextmanager
def instance(
    folder: Path, servers: Sequence[int], count: int, traced: tuple[int, float] | None = None
) -> Iterator[tuple[int, int, int]]:
    """lbcore with one worker and `count` routers: its process, the port of its entry point, and that of its API.

    traced  the port of a collector, and the part of the requests.
    """
    folder.mkdir()
    port, api = free_ports(2)
    urls = [{"url": f"http://127.0.0.1:{server}"} for server in servers]
    routers, services = dict[str, Any](), dict[str, Any]()
    for number in range(count):
        rule = f"Host(`h{number}.test`)" if count > 1 else "PathPrefix(`/`)"
        routers[f"r{number}"] = {"rule": rule, "service": f"s{number}", "entryPoints": ["web"]}
        services[f"s{number}"] = {"loadBalancer": {"servers": urls}}
    static: dict[str, Any] = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}, "traefik": {"address": f"127.0.0.1:{api}"}},
        "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
        "serversTransport": {"maxIdleConnsPerHost": 512},
        "api": {"insecure": True},
    }
    if traced is not None:
        collector, rate = traced
        static["tracing"] = {"otlp": {"http": {"endpoint": f"http://127.0.0.1:{collector}"}}, "sampleRate": rate}
    (folder / "dynamic.yml").write_text(json.dumps({"http": {"routers": routers, "services": services}}))
    (folder / "static.yml").write_text(yaml.safe_dump(static))
    command = [sys.executable, "-m", "lbcore", "run", "--workers", "1", "--config", str(folder / "static.yml")]
    with ended(start(command, PROXY_CORE, folder, {"PYTHONPATH": str(ROOT)})) as process:
        try:
            wait_until(lambda: fetch(port, f"h{count - 1}.test"), "lbcore passes on what the servers answer", START_S)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{(folder / 'output.log').read_text()[-2000:]}") from None
        yield process.pid, port, api


class Viewers:
    """Read the stream of an instance while a block runs, in a process of their own on the core of the load."""

    def __init__(self, api: int, count: int) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_view, args=(theirs, api, count), daemon=True
        )

    def __enter__(self) -> Viewers:
        self._process.start()
        self._ours.recv()
        time.sleep(SETTLED_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._ours.send(None)
        stayed = self._ours.recv()
        self._process.join()
        if not stayed:
            raise LoadError("a viewer was dropped")


def _view(parent: Connection, api: int, count: int) -> None:
    pin(LOAD_CORE)
    readers = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", api))
        stream.sendall(b"GET /api/live HTTP/1.1\r\nHost: bench\r\n\r\n")
        while b"event: state" not in stream.recv(1 << 16):
            pass
        readers.append(threading.Thread(target=_drain, args=(stream,), daemon=True))
        readers[-1].start()
    parent.send(None)
    parent.recv()
    parent.send(all(reader.is_alive() for reader in readers))


def _drain(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while stream.recv(1 << 16):
            pass


class Taker(http.server.BaseHTTPRequestHandler):
    """Takes all that is sent, as a collector of OpenTelemetry does."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def collecting() -> Iterator[int]:
    """A collector on the core of the load: its port."""
    [port] = free_ports(1)
    process = multiprocessing.get_context("spawn").Process(target=_collect, args=(port,), daemon=True)
    process.start()
    try:
        wait_until(lambda: _is_open(port), "the collector listens")
        yield port
    finally:
        process.terminate()
        process.join()


def _collect(port: int) -> None:
    pin(LOAD_CORE)
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Taker).serve_forever()


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


# Measuring


@dataclass(frozen=True, slots=True)
class Slice:
    """CPU seconds per request, and requests per second."""

    cost_s: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two slices, one after the other."""

    without: Slice
    having: Slice


def loaded(pid: int, port: int, seconds: int, script: Path | None, read: Callable[[int], float]) -> Slice:
    """One slice at full load. `read`: CPU seconds so far."""
    before = read(pid)
    load = wrk(f"http://127.0.0.1:{port}/", seconds, CONNECTIONS, script=script)
    return Slice((read(pid) - before) / load.requests, load.per_second)


def alternating(pairs: int, without: Callable[[], Slice], having: Callable[[], Slice]) -> list[Pair]:
    """The first of one pair is the second of the next."""
    found = []
    for number in range(pairs):
        if number % 2:
            last = having()
            found.append(Pair(without(), last))
        else:
            first = without()
            found.append(Pair(first, having()))
    return found


def of_viewers(part: Part, pairs: int, seconds: int, folder: Path, servers: Sequence[int]) -> list[Pair]:
    """One instance, to which viewers come and from which they go."""
    script = folder / "hosts.lua" if part.routers > 1 else None
    if script is not None:
        script.write_text(SPREAD.format(hosts=part.routers))
    with instance(folder / "lbcore", servers, part.routers) as (pid, port, api):

        def alone() -> Slice:
            return loaded(pid, port, seconds, script, spent_s)

        def watched() -> Slice:
            with Viewers(api, part.viewers):
                return alone()

        alone(), watched()  # what is needed once is not measured
        return alternating(pairs, alone, watched)


def of_traces(part: Part, pairs: int, seconds: int, folder: Path, servers: Sequence[int]) -> list[Pair]:
    """Two instances, one of which traces, started several times."""
    found = []
    for number in range(min(STARTS, pairs)):
        with collecting() as collector, contextlib.ExitStack() as stack:
            plain, tracing = (
                stack.enter_context(instance(folder / f"{name}{number}", servers, part.routers, traced))
                for name, traced in (("plain", None), ("traced", (collector, part.rate)))
            )
            sides = [functools.partial(loaded, side[0], side[1], seconds, None, rested) for side in (plain, tracing)]
            for side in sides:
                side()
            share = pairs // STARTS + (number < pairs % STARTS)
            found += alternating(share, *sides)
    return found


def measured(part: Part, pairs: int, seconds: int) -> list[Pair]:
    """All pairs of a part, over two servers."""
    with tempfile.TemporaryDirectory(prefix="lbcore-bench-") as place:
        folder, servers = Path(place), free_ports(2)
        folder.chmod(0o755)
        (folder / "servers").mkdir()
        with ended(start(server_command(folder / "servers", servers), LOAD_CORE, folder / "servers")):
            wait_until(lambda: all(fetch(port, "x") for port in servers), "the servers answer")
            return (of_viewers if part.viewers else of_traces)(part, pairs, seconds, folder, servers)


# Figures


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median of what `values` are drawn from lies at 95 %, by their order alone (a binomial test).

    With fewer than six values nothing can be said at 95 %: all of them are in it.
    """
    ordered, number = sorted(values), len(values)
    rank, outside = 0, 0.0
    while rank < number // 2 and (outside := outside + math.comb(number, rank) / 2**number) <= 0.025:
        rank += 1
    first = max(0, rank - 1)
    return ordered[first], ordered[number - 1 - first]


def row_of(pairs: Sequence[Pair]) -> dict[str, float]:
    ratios = [pair.having.cost_s / pair.without.cost_s for pair in pairs]
    lowest, highest = interval(ratios)
    return {
        "ratio": statistics.median(ratios),
        "lowest": lowest,
        "highest": highest,
        "cost_us": 1e6 * statistics.median(pair.without.cost_s for pair in pairs),
        "per_second": statistics.median(pair.without.per_second for pair in pairs),
        "pairs": len(pairs),
    }


def cells_of(name: str, row: Mapping[str, float]) -> list[str]:
    part = PARTS[name]
    return [
        part.what,
        f"{row['ratio']:.3f} ×",
        f"{row['lowest']:.3f} to {row['highest']:.3f}",
        f"{part.bound:.2f} ×",
        f"{row['cost_us']:.1f}",
        f"{row['per_second']:,.0f}",
    ]


COLUMNS = (
    "what is measured",
    "cost of a request",
    "at 95 %",
    "is to be at most",
    "without it, CPU µs",
    "requests/s",
)


def table_of(results: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(*COLUMNS)
    for name, row in results.items():
        table.add_row(*cells_of(name, row))
    return table


def figures(record: Mapping[str, Any]) -> str:
    """The results in Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    for name in PARTS:
        if name in record["results"]:
            lines.append(f"| {' | '.join(cells_of(name, record['results'][name]))} |")
    runs: dict[str, list[str]] = {}
    for name, row in record["results"].items():
        run = row["run"]
        how = f"{row['pairs']} pairs of {run['seconds']} s, {run['machine']['processor']}, {run['machine']['date']}"
        runs.setdefault(how, []).append(PARTS[name].what)
    for how, parts in runs.items():
        lines += ["", f"{how}" + (f": {', '.join(parts)}." if len(runs) > 1 else ".")]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(PARTS)}; default: all")
    parser.add_argument("--pairs", type=positive, default=60)
    parser.add_argument("--seconds", type=positive, default=2, help="of a slice")
    parser.add_argument("--write", action="store_true", help="store the results, and put them into the documentation")
    options = parser.parse_args(arguments)
    run = {"machine": machine.describe(), "seconds": options.seconds}
    results: dict[str, dict[str, Any]] = {}
    for name in chosen(options.only, dict(PARTS), "part"):
        try:
            results[name] = {**row_of(measured(PARTS[name], options.pairs, options.seconds)), "run": run}
        except (LoadError, RuntimeError) as error:
            sys.exit(f"error: {name}: {error}")
        print_tables([table_of({name: results[name]})])
    if options.write:
        known = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
        record = {"results": {name: row for name in PARTS if (row := results.get(name, known.get(name)))}}
        RESULT.write_text(json.dumps(record, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text(), figures(record), MARK))


if __name__ == "__main__":
    main()
