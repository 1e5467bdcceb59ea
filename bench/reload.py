"""What a reload costs: `python -m bench.reload`. Under load a proxy is told five times to use the other server.

By proxy: the time until a new connection is answered by the other server, the requests that failed meanwhile, and the
CPU time of the proxy per reload beyond that of the same requests without one. A proxy without reload is left out: Envoy
takes its clusters from a control plane.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import machine
from bench.peers import PEERS, Job, Peer, write
from bench.process import LOAD_CORE, PROXY_CORE, TICK_S, ended, family, pin, start, wait_until
from bench.proxies import fetch, free_ports
from bench.report import print_tables

RELOADS = 5
HOSTS = (1, 1000)
PAUSE_S = 0.5
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Reloader:
    """`command` follows from the peer's; `tell` makes the process read its files again."""

    command: Callable[[list[str]], list[str]]
    tell: Callable[[int, list[str]], None]


def hang_up(pid: int, command: list[str]) -> None:
    os.kill(pid, signal.SIGHUP)


def throttled(command: list[str]) -> list[str]:
    """The file provider sees changes itself; it may react sooner than its default of 2 s."""
    path = Path(next(part for part in command if part.endswith("static.yml")).removeprefix("--configFile="))
    text = path.read_text().replace("watch: false", "watch: true")
    path.write_text(text.replace("providers: {", "providers: {providersThrottleDuration: 100ms, "))
    return command


def nothing(pid: int, command: list[str]) -> None:
    """A change of the file is enough."""


def user_2(pid: int, command: list[str]) -> None:
    os.kill(pid, signal.SIGUSR2)


def caddy_reload(pid: int, command: list[str]) -> None:
    path = command[command.index("--config") + 1]
    address = re.search(r"admin (\S+)", Path(path).read_text())
    assert address is not None
    subprocess.run(
        [command[0], "reload", "--config", path, "--adapter", "caddyfile", "--address", address[1]],
        check=True,
        capture_output=True,
    )


RELOADERS = {
    "lbcore": Reloader(throttled, nothing),
    "traefik": Reloader(throttled, nothing),
    "nginx": Reloader(lambda command: command, hang_up),
    "haproxy": Reloader(lambda command: [command[0], "-W", *command[1:]], user_2),
    "caddy": Reloader(lambda command: command, caddy_reload),
}


def servers_command(folder: Path, ports: Sequence[int]) -> list[str]:
    """nginx: each server answers with its port."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    listen = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    config = (
        f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 9000; }}\nhttp {{ access_log off; {paths} keepalive_requests 100000000;\n"
        f"server {{ {listen} location / {{ return 200 '$server_port'; }} }} }}\n"
    )
    return ["nginx", "-c", write(folder, "nginx.conf", config)]


def spent_s(pid: int) -> float:
    """Processor time of a process and its descendants so far, and of those that have ended: workers are replaced."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total * TICK_S


def configured(peer: Peer, folder: Path, job: Job, admin: int) -> list[str]:
    assert peer.path is not None
    command = peer.configure(peer.path, folder, job)
    if peer.name == "caddy":
        path = folder / "Caddyfile"
        path.write_text(path.read_text().replace("admin off", f"admin 127.0.0.1:{admin}"))
    return command


def loaded(port: int, seconds: int) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", "Host: h0.test", f"http://127.0.0.1:{port}/"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=lambda: pin(LOAD_CORE)
    )


def outcome(load: subprocess.Popen[str]) -> tuple[int, int]:
    """Requests, and of them failed: answers that are none of 2xx or 3xx, and errors of sockets."""
    text = load.communicate(timeout=60)[0]
    total = re.search(r"(\d+) requests in", text)
    if total is None:
        raise RuntimeError(f"wrk: {text}")
    failed = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    failed += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", text)))
    return int(total[1]), failed


def one(name: str, hosts: int) -> dict[str, Any]:
    peer, reloader = PEERS[name], RELOADERS[name]
    if peer.path is None:
        raise RuntimeError(f"{name} is not installed")
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbcore-reload-")))
        root.chmod(0o755)
        places = root / "servers", root / name
        for place in places:
            place.mkdir()
        ports = free_ports(2)
        stack.enter_context(ended(start(servers_command(places[0], ports), LOAD_CORE, places[0])))
        port, admin = free_ports(2)
        jobs = [Job(port, [server], hosts) for server in ports]
        command = reloader.command(configured(peer, places[1], jobs[0], admin))
        process = stack.enter_context(ended(start(command, PROXY_CORE, places[1], dict(peer.environ))))
        wait_until(lambda: fetch(port, "h0.test") == str(ports[0]).encode(), f"{name} answers", 60)
        before_s = spent_s(process.pid)
        requests, _ = outcome(loaded(port, 2))
        each_s = (spent_s(process.pid) - before_s) / requests
        before_s = spent_s(process.pid)
        load = loaded(port, int(RELOADS * (PAUSE_S + 1)))
        times = []
        for number in range(1, RELOADS + 1):
            time.sleep(PAUSE_S)  # so that requests are under way
            dynamic = places[1] / "dynamic.yml"
            if dynamic.exists():  # written elsewhere and moved, as editors do
                (root / "next").mkdir(exist_ok=True)
                configured(peer, root / "next", jobs[number % 2], admin)
                text = (root / "next/dynamic.yml").read_text()
                began = time.perf_counter()
                (root / "next/dynamic.yml").write_text(text)
                (root / "next/dynamic.yml").replace(dynamic)
            else:
                configured(peer, places[1], jobs[number % 2], admin)
                began = time.perf_counter()
            reloader.tell(process.pid, command)
            wanted = str(ports[number % 2]).encode()
            wait_until(lambda wanted=wanted: fetch(port, "h0.test") == wanted, f"{name} uses the other server", 30)
            times.append(time.perf_counter() - began)
        requests, failed = outcome(load)
        extra_s = max(0.0, spent_s(process.pid) - before_s - requests * each_s) / RELOADS
    return {
        "milliseconds": 1000 * statistics.median(times),
        "slowest": 1000 * max(times),
        "failed": failed,
        "requests": requests,
        "cpu_milliseconds": 1000 * extra_s,
    }


def measured(names: Sequence[str], hosts: Sequence[int] = HOSTS) -> dict[str, Any]:
    record: dict[str, Any] = {"machine": machine.describe(), "results": {}}
    for count in hosts:
        record["results"][str(count)] = {name: one(name, count) for name in names}
    return record


def table(record: dict[str, Any]) -> Table:
    shown = Table("routers", "proxy", "ms", "slowest", "failed", "of requests", "CPU ms", title="A reload under load")
    for count, results in record["results"].items():
        for name, result in results.items():
            figures = [f"{result[key]:,.0f}" for key in ("milliseconds", "slowest", "failed", "requests")]
            shown.add_row(count, name, *figures, f"{result['cpu_milliseconds']:,.0f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a reload under load costs.")
    parser.add_argument("--proxy", default=",".join(RELOADERS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/reload.json")
    options = parser.parse_args()
    try:
        record = measured(options.proxy.split(","))
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    print_tables([table(record)])


if __name__ == "__main__":
    main()
