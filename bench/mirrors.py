"""What a mirror does to the primary's latency: `python -m bench.mirrors`. None, one that answers, one that hangs.

All requests are mirrored, at a fixed rate. The hanging mirror takes connections and never answers.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import machine
from bench.load import LoadError, h2load
from bench.options import positive
from bench.peers import PEERS, Job, Peer, write
from bench.proxies import free_ports, measure
from bench.report import print_tables, summarise
from bench.workloads import US, Sample, Target, Workload, per_request

RATE, CONNECTIONS = 2000, 16
MIRRORS = ("none", "answers", "hangs")


def services(job: Job, mirror: int | None) -> str:
    app = f"app: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{job.servers[0]}'}}]}}}}"
    if mirror is None:
        return app.replace("app:", "all:")
    copy = f"copy: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{mirror}'}}]}}}}"
    return f"all: {{mirroring: {{service: app, mirrors: [{{name: copy, percent: 100}}]}}}}\n    {app}\n    {copy}"


def with_mirror(name: str, kind: str, hanging: int) -> Peer:
    base = PEERS[name]

    def configure(program: str, folder: Path, job: Job) -> list[str]:
        mirror = {"none": None, "answers": job.servers[1], "hangs": hanging}[kind]
        if name == "nginx":
            command = base.configure(program, folder, Job(job.port, job.servers[:1], 0))
            path = folder / "nginx.conf"
            text = path.read_text()
            if mirror is not None:
                copy = f"location = /copy {{ internal; proxy_pass http://127.0.0.1:{mirror}$request_uri; }}"
                text = text.replace("location / {", f"{copy}\n location / {{ mirror /copy;", 1)
                text = text.replace("worker_connections 9000", "worker_connections 60000")
            path.write_text(text)
            return command
        router = "routers: {r: {rule: 'PathPrefix(`/`)', service: all, entryPoints: [web]}}"
        path = write(folder, "dynamic.yml", f"http:\n  {router}\n  services:\n    {services(job, mirror)}\n")
        static = (
            f"entryPoints: {{web: {{address: '127.0.0.1:{job.port}'}}}}\n"
            f"providers: {{file: {{filename: '{path}', watch: false}}}}\n"
            "serversTransport: {maxIdleConnsPerHost: 512}\n"
        )
        files = write(folder, "static.yml", static)
        if name == "lbcore":
            return [program, "run", "--config", files, "--workers", "1"]
        return [program, f"--configFile={files}"]

    return dataclasses.replace(base, name=f"{name}-mirror-{kind}", configure=configure)


@contextlib.contextmanager
def hanging_server() -> Iterator[int]:
    """Takes connections and reads what comes; never answers."""
    (port,) = free_ports(1)
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield port
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for sock in kept:
        sock.close()


def drive(target: Target, seconds: int) -> Sample:
    return per_request(target, lambda: h2load(target.url + "/", seconds, CONNECTIONS, RATE, target.folder))


def measured(names: Sequence[str], rounds: int, seconds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    workload = Workload("mirror", f"{RATE} requests/s, all mirrored", US, drive)
    with hanging_server() as hanging:
        for name in names:
            if PEERS[name].path is None:
                raise RuntimeError(f"{name} is not installed")
            results[name] = {}
            try:
                samples = measure(workload, [with_mirror(name, kind, hanging) for kind in MIRRORS], rounds, seconds)
            except LoadError as error:  # a mirror that costs its client requests is a result
                if name == "lbcore":
                    raise
                results[name] = {"failed": str(error).splitlines()[0]}
                continue
            for kind in MIRRORS:
                results[name][kind] = summarise(samples[f"{name}-mirror-{kind}"])
    return {"machine": machine.describe(), "what": workload.what, "results": results}


def table(record: dict[str, Any]) -> Table:
    shown = Table(
        "proxy", "mirror", "answered/s", "p50 ms", "p99 ms", US, "p99 beside none", title=f"A mirror: {record['what']}"
    )
    for name, results in record["results"].items():
        if "failed" in results:
            shown.add_row(name, "", "", "", "", "", results["failed"])
            continue
        for kind, result in results.items():
            answered = f"{result['requests_per_second']:,.0f}"  # fewer: clients wait for answers
            figures = (answered, f"{result['p50_ms']:.2f}", f"{result['p99_ms']:.2f}", f"{result['cost']:.1f}")
            shown.add_row(name, kind, *figures, f"{result['p99_ms'] / results['none']['p99_ms']:.2f} ×")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a mirror does to the primary's latency.")
    parser.add_argument("--proxy", default="lbcore,traefik,nginx")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/mirrors.json")
    options = parser.parse_args()
    try:
        record = measured(options.proxy.split(","), options.rounds, options.seconds)
    except (LoadError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print_tables([table(record)])


if __name__ == "__main__":
    main()
