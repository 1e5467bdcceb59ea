"""What a request costs as something grows: `python -m bench.curves [--curve servers,rate] [--proxy lbcore,nginx]`.

Each curve changes one thing and leaves the rest of the job as it is in `bench.proxies`. Figures: CPU per request, and
the 99th percentile of the latency. A peer that is not installed, or fails a request, is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import chart, machine
from bench.load import LoadError, h2load, wrk
from bench.options import positive
from bench.peers import PEERS, Job, Peer, write
from bench.proxies import BODY_BYTES, chosen, measure
from bench.report import print_tables, summarise
from bench.workloads import REALISTIC, US, Sample, Target, Workload, per_request, routers

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Curve:
    """`drive(value)` makes what is done at one point; `hosts`, `servers` and `peer` set up for it."""

    name: str
    what: str
    values: Sequence[int]
    drive: Callable[[int], Callable[[Target, int], Sample]]
    hosts: Callable[[int], int] = lambda value: 0
    servers: Callable[[int], int] = lambda value: 2
    peer: Callable[[str, int], Peer] = lambda name, value: PEERS[name]
    only: tuple[str, ...] = ()
    figures: tuple[str, ...] = ("cost",)
    log_x: bool = True


def at_speed(connections: int) -> Callable[[Target, int], Sample]:
    """Full speed; many connections need a while until all of them work."""

    def drive(target: Target, seconds: int) -> Sample:
        least = 3 if connections > 256 else 1
        return per_request(target, lambda: wrk(target.url + "/", max(seconds, least), connections))

    return drive


def with_headers(count: int) -> Callable[[Target, int], Sample]:
    fields = list(REALISTIC.items()) + [(f"X-More-{n}", f"a-value-of-some-length-{n}") for n in range(80)]
    headers = dict(fields[:count])
    return lambda target, seconds: per_request(target, lambda: wrk(target.url + "/", seconds, CONNECTIONS, headers))


def with_body(size: int) -> Callable[[Target, int], Sample]:
    connections = 16 if size >= 1 << 19 else CONNECTIONS
    return lambda target, seconds: per_request(target, lambda: wrk(f"{target.url}/body{size}", seconds, connections))


def at_rate(rate: int) -> Callable[[Target, int], Sample]:
    def drive(target: Target, seconds: int) -> Sample:
        return per_request(target, lambda: h2load(target.url + "/", seconds, CONNECTIONS, rate, target.folder))

    return drive


def nested(name: str, depth: int) -> Peer:
    """lbcore or Traefik with weighted services in `depth` levels, each of two children of the next level."""

    def configure(program: str, folder: Path, job: Job) -> list[str]:
        listed = ", ".join(f"{{url: 'http://127.0.0.1:{port}'}}" for port in job.servers)
        services = f"    level{depth}: {{loadBalancer: {{servers: [{listed}]}}}}\n"
        services += f"    other{depth}: {{loadBalancer: {{servers: [{listed}]}}}}\n"
        for level in range(depth):
            children = f"[{{name: level{level + 1}, weight: 3}}, {{name: other{level + 1}, weight: 1}}]"
            for kind in ("level", "other"):
                services += f"    {kind}{level}: {{weighted: {{services: {children}}}}}\n"
        router = "routers: {r: {rule: 'PathPrefix(`/`)', service: level0}}"
        path = write(folder, "dynamic.yml", f"http:\n  {router}\n  services:\n{services}")
        static = (
            f"entryPoints: {{web: {{address: '127.0.0.1:{job.port}'}}}}\n"
            f"providers: {{file: {{filename: '{path}', watch: false}}}}\n"
            "serversTransport: {maxIdleConnsPerHost: 512}\n"
        )
        files = write(folder, "static.yml", static)
        if name == "lbcore":
            return [program, "run", "--config", files, "--workers", "1"]
        return [program, f"--configFile={files}"]

    base = PEERS[name]
    return Peer(name, base.program, base.version, configure, base.environ)


CURVES = {
    curve.name: curve
    for curve in (
        Curve(
            "rate",
            "requests a second, the same for all",
            (1000, 4000, 8000, 16_000),
            at_rate,
            figures=("p99_ms", "cost"),
        ),
        Curve("connections", "keep-alive connections", (1, 8, 64, 256, 1024), at_speed),
        Curve("headers", "headers of a request", (0, 10, 20, 40, 80), with_headers, log_x=False),
        Curve("body", "bytes of an answer's body", BODY_BYTES, with_body),
        Curve("routers", "routers, one host each", (10, 100, 1000, 10_000), routers, hosts=lambda value: value),
        Curve("servers", "servers", (2, 16, 64, 256), lambda value: at_speed(CONNECTIONS), servers=lambda value: value),
        Curve(
            "nesting",
            "levels of weighted services",
            (0, 1, 2, 4, 8),
            lambda value: at_speed(CONNECTIONS),
            peer=nested,
            only=("lbcore", "traefik"),
            log_x=False,
        ),
    )
}
TITLES = {"cost": US, "p99_ms": "99th percentile of the latency, ms"}


def draw(curve: Curve, names: Sequence[str], rounds: int, seconds: int) -> dict[str, Any]:
    """By proxy: a list of points."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names if not curve.only or name in curve.only}
    for value in curve.values:
        peers = [curve.peer(name, value) for name in found]
        workload = Workload(f"{curve.name} {value}", curve.what, US, curve.drive(value), curve.hosts(value))
        samples = measure(workload, peers, rounds, seconds, curve.servers(value))
        for name, each in samples.items():
            found[name].append({"at": value, **summarise(each)})
    return {"what": curve.what, "figures": list(curve.figures), "log_x": curve.log_x, "points": found}


def charts(name: str, record: dict[str, Any]) -> list[str]:
    found = []
    for figure in record["figures"]:
        series = {peer: [(one["at"], one[figure]) for one in points] for peer, points in record["points"].items()}
        title = f"{name}: {TITLES[figure]}"
        log_y = figure == "p99_ms" or name == "body"
        text = chart.lines(
            title, "less is better", series, x=record["what"], log_x=record["log_x"], log_y=log_y, right=("lbcore",)
        )
        found.append(text)
    return found


def table(name: str, record: dict[str, Any]) -> Table:
    values = [str(one["at"]) for one in next(iter(record["points"].values()))]
    shown = Table("proxy", "", *values, title=f"{name}: {record['what']}")
    for figure in record["figures"]:
        for peer, points in record["points"].items():
            shown.add_row(peer, TITLES[figure], *(f"{one[figure]:.2f}" for one in points))
    return shown


def measured(curves: Sequence[str], names: Sequence[str], rounds: int, seconds: int) -> dict[str, Any]:
    """Raises RuntimeError when a peer is not there."""
    if missing := [name for name in names if PEERS[name].path is None]:
        raise RuntimeError(f"not installed: {', '.join(missing)}")
    record: dict[str, Any] = {"machine": machine.describe(), "rounds": rounds, "seconds": seconds}
    record["versions"] = {name: PEERS[name].version(str(PEERS[name].path)) for name in names}
    record["curves"] = {}
    for name in curves:
        record["curves"][name] = draw(CURVES[name], names, rounds, seconds)
        print_tables([table(name, record["curves"][name])])
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a request costs as something grows.")
    parser.add_argument("--curve", default="", help="comma-separated; default: all")
    parser.add_argument("--proxy", default="", help="comma-separated; default: all")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seconds", type=positive, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/curves.json")
    options = parser.parse_args()
    curves = chosen(options.curve, dict(CURVES), "curve")
    names = chosen(options.proxy, dict(PEERS), "proxy")
    try:
        record = measured(curves, names, options.rounds, options.seconds)
    except (LoadError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
