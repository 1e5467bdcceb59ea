"""What features cost: lbcore with each of them against lbcore without, in one run.

`python -m bench.features [--only python,chain] [--rounds 3] [--seconds 3]` prints CPU per request, what it is more than
that of the plain configuration, and the ratio to it. `python` is a class whose methods do nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from pathlib import Path

from rich.table import Table

from bench import machine
from bench.job import Job, write
from bench.load import LoadError, wrk
from bench.options import positive
from bench.peers import PEERS, Peer
from bench.proxies import ROOT, chosen, measure
from bench.report import print_tables, summarise
from bench.tasks import AUTHORIZATION
from bench.workloads import US, Sample, Target, Workload, per_request

HEADERS = {"Cookie": f"theme=dark; lb={hashlib.sha256(b'one').hexdigest()[:16]}; consent=1", **AUTHORIZATION}
STATIC = (
    "entryPoints: {{web: {{address: '127.0.0.1:{port}'}}, traefik: {{address: '127.0.0.1:0'}}}}\n"
    "providers: {{file: {{filename: '{path}', watch: false}}}}\n"
    "serversTransport: {{maxIdleConnsPerHost: 512}}\n{more}"
)
SERVERS = "{{url: 'http://127.0.0.1:{0}'}}, {{url: 'http://127.0.0.1:{1}'}}"
PLAIN = "all: {{loadBalancer: {{servers: [" + SERVERS + "]}}}}"
TREE = (
    "all: {{weighted: {{sticky: {{cookie: {{name: lb}}}}, healthCheck: {{}},"
    " services: [{{name: one, weight: 3}}, {{name: two}}]}}}}\n"
    "    one: &one {{loadBalancer: {{servers: [" + SERVERS + "], healthCheck: {{path: /, interval: 1s}}}}}}\n"
    "    two: *one"
)
MIRROR = (
    "all: {{mirroring: {{service: one, mirrors: [{{name: two, percent: 10}}]}}}}\n"
    "    one: &one {{loadBalancer: {{servers: [" + SERVERS + "]}}}}\n"
    "    two: *one"
)


def variant(name: str, services: str = PLAIN, more: str = "") -> Peer:
    """lbcore with other services, or with more in its static configuration."""

    def configure(program: str, folder: Path, job: Job) -> list[str]:
        router = "r: {rule: 'PathPrefix(`/`)', service: all, entryPoints: [web]}"
        text = f"http:\n  routers: {{{router}}}\n  services:\n    {services.format(*job.servers)}\n"
        path = write(folder, "dynamic.yml", text)
        static = STATIC.format(port=job.port, path=path, more=more.replace("FOLDER", str(folder)))
        return [program, "run", "--config", write(folder, "static.yml", static), "--workers", "1"]

    return Peer(name, "lbcore", PEERS["lbcore"].version, configure)


def task(name: str) -> Peer:
    """lbcore with one of `bench.tasks`."""

    def configure(program: str, folder: Path, job: Job) -> list[str]:
        return PEERS["lbcore"].configure(program, folder, dataclasses.replace(job, task=name))

    return Peer(name, "lbcore", PEERS["lbcore"].version, configure, environ=(("PYTHONPATH", str(ROOT)),))


VARIANTS = [
    variant("plain"),
    variant("metrics", more="metrics: {prometheus: {addRoutersLabels: true}}\n"),
    variant("access log", more="accessLog: {filePath: FOLDER/access.log}\n"),
    variant("sticky, two levels, health", TREE),
    variant("mirror of 10 %", MIRROR),
    variant("p2c", PLAIN.replace("servers:", "strategy: p2c, servers:")),
    variant("maxConnections", PLAIN.replace("servers:", "maxConnections: 10000, servers:")),
    variant("slowStart", PLAIN.replace("servers:", "slowStart: {{}}, servers:")),
    variant("hrw", PLAIN.replace("servers:", "strategy: hrw, servers:")),
    task("chain"),
    task("basicauth"),
    task("forwardauth"),
    task("python"),
]


def small_requests(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: wrk(target.url + "/", seconds, 64, HEADERS))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what features of lbcore cost.")
    parser.add_argument("--only", default="", help="comma-separated; the figures are not stored; default: all")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/features.json")
    options = parser.parse_args()
    what = "64 keep-alive connections, small answers, a cookie"
    workload = Workload("features", what, US, small_requests, headers=AUTHORIZATION)
    known = {variant.name: variant for variant in VARIANTS}
    chosen_ones = [known[name] for name in dict.fromkeys(["plain", *chosen(options.only, known, "configuration")])]
    try:
        samples = measure(workload, chosen_ones, options.rounds, options.seconds)
    except (LoadError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    results = {name: summarise(found) for name, found in samples.items()}
    shown = Table("configuration", US, "rounds", "requests/s", "p99 ms", "adds", "is")
    for name, result in results.items():
        spread = f"{result['lowest']:.1f}–{result['highest']:.1f}"
        load = (f"{result['requests_per_second']:,.0f}", f"{result['p99_ms']:.2f}")
        adds = f"{result['cost'] - results['plain']['cost']:+.2f}"
        ratio = f"{result['cost'] / results['plain']['cost']:.3f} × plain"
        shown.add_row(name, f"{result['cost']:.2f}", spread, *load, adds, ratio)
    print_tables([shown])
    described = machine.describe()
    record = {"machine": described, "rounds": options.rounds, "seconds": options.seconds, "results": results}
    if not options.only:
        options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(", ".join(f"{key}: {value}" for key, value in described.items()))


if __name__ == "__main__":
    main()
