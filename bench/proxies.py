"""Measure proxies side by side: `python -m bench.proxies [--proxy nginx,haproxy] [--workload keepalive] [--rounds 3]`.

Every proxy runs with one worker on one core; load generator and servers run on another. Rounds go from proxy to proxy,
that whatever else happens on the machine hits all alike; figures are medians over the rounds. A failure ends the run.
A run of some workloads leaves the stored figures of the others; one of some proxies is no comparison with all of them,
and is stored in a folder of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import certificates, grpc, http3, machine, udp
from bench.job import Job, Tls, write
from bench.load import LoadError
from bench.options import positive
from bench.peers import PEERS, Peer
from bench.process import LOAD_CORE, PROXY_CORE, ended, start, wait_until
from bench.report import chart, merged, print_tables, read, save, summarise, table
from bench.tasks import TASKS
from bench.workloads import TEXT_BYTES, WORKLOADS, Sample, Target, Workload, idle, idle_http2, sources_memory, trusting

ANSWER = b"hello from the server, this is a small answer of the usual size.\n"
ROOT = Path(__file__).resolve().parents[1]
BIG_BYTES = 10 << 20
ONCE = (idle, idle_http2, sources_memory)  # they measure what is kept, for which one round is enough
BODY_BYTES = (1 << 10, 8 << 10, 64 << 10, 512 << 10, 4 << 20)


def free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives to outgoing connections, which could take one before its proxy does."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = random.randrange(12_000, 32_000)
            sock = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                found.append(port)
        return found


def server_command(folder: Path, ports: list[int]) -> list[str]:
    """nginx as the servers behind the proxies."""
    (folder / "10m").write_bytes(bytes(range(256)) * (BIG_BYTES // 256))
    pages = b"".join(page.read_bytes() for page in sorted((ROOT / "docs").glob("*.md")))
    (folder / "text").write_bytes((pages * (TEXT_BYTES // len(pages) + 1))[:TEXT_BYTES])
    for size in BODY_BYTES:
        (folder / f"body{size}").write_bytes(bytes(range(256)) * (size // 256))
    listen = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = ANSWER.decode().replace("\n", "\\n")
    config = (
        f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        "events { worker_connections 9000; }\n"
        f"http {{ access_log off; sendfile on; {paths} keepalive_requests 100000000; keepalive_timeout 600s;\n"
        f"server {{ {listen} location / {{ return 200 '{text}'; }} "
        f"location /10m {{ root {folder}; }} location /body {{ root {folder}; }} "
        f"location /text {{ root {folder}; default_type text/html; }} "
        "location /auth { add_header X-User bench; return 200; } } }\n"
    )
    return ["nginx", "-c", write(folder, "nginx.conf", config)]


def fetch(port: int, host: str, encrypted: bool = False, headers: Mapping[str, str] = {}) -> bytes:
    url = f"{'https' if encrypted else 'http'}://127.0.0.1:{port}/"
    request = urllib.request.Request(url, headers={"Host": host, **headers})
    context = trusting() if encrypted else None
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5, context=context) as response:
        return bytes(response.read())
    return b""


def measure(
    workload: Workload, peers: list[Peer], rounds: int, seconds: int, count: int = 2
) -> dict[str, list[Sample]]:
    """All rounds of one workload, over `count` servers. Raises LoadError or RuntimeError for a proxy that fails."""
    samples: dict[str, list[Sample]] = {peer.name: [] for peer in peers}
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbcore-bench-")))
        root.chmod(0o755)
        folder = root / "servers"
        folder.mkdir()
        servers = free_ports(count)
        command = command_of_servers(workload, folder, servers)
        stack.enter_context(ended(start(command, LOAD_CORE, folder, {"PYTHONPATH": str(ROOT)})))
        wait_until(lambda: all(answers(workload, port) for port in servers), "the servers answer")
        targets = {peer.name: stack.enter_context(launch(peer, root, servers, workload)) for peer in peers}
        for target in targets.values():
            if workload.drive not in ONCE:
                workload.drive(target, 1)  # warm-up
        for _ in range(rounds):
            for name, target in targets.items():
                try:
                    samples[name].append(workload.drive(target, seconds))
                except LoadError as error:
                    raise LoadError(f"{workload.name} on {name}: {error}") from None
    return samples


def command_of_servers(workload: Workload, folder: Path, ports: list[int]) -> list[str]:
    if workload.kind == "udp":
        return udp.server_command(ports)
    return grpc.server_command(folder, ports) if workload.kind == "grpc" else server_command(folder, ports)


def answers(workload: Workload, port: int) -> bool:
    """Whether a server answers."""
    if workload.kind == "grpc":
        return grpc.answers(f"http://127.0.0.1:{port}")
    return udp.answers(port) if workload.kind == "udp" else fetch(port, "x") == ANSWER


def passes(workload: Workload, port: int) -> bool:
    """Whether what is sent to a proxy gets the servers' own answer."""
    if workload.kind == "http3":
        return http3.answer(port) == ANSWER
    if workload.kind == "grpc":
        return grpc.answers(f"https://127.0.0.1:{port}")
    if workload.kind == "udp":
        return udp.answers(port)
    return fetch(port, "h0.test", bool(workload.key), workload.headers) == ANSWER


def can(peer: Peer, workload: Workload) -> bool:
    if workload.task:
        return TASKS[workload.task].does(peer.name)
    return ("tls" if workload.kind == "http" and workload.key else workload.kind) in peer.speaks


@contextlib.contextmanager
def launch(peer: Peer, root: Path, servers: list[int], workload: Workload):  # type: ignore[no-untyped-def]
    """Run a proxy, once it passes the servers' own answer on."""
    folder = root / peer.name
    folder.mkdir()
    (port,) = free_ports(1)
    encrypted = bool(workload.key)
    tls = Tls(*certificates.make(folder, workload.key), workload.tickets) if encrypted else None
    command = peer.command(folder, Job(port, servers, workload.hosts, tls, workload.kind, workload.task))
    with ended(start(command, PROXY_CORE, folder, dict(peer.environ))) as process:
        try:
            wait_until(
                lambda: passes(workload, port),
                f"{peer.name} passes on what the servers answer",
                60,
            )
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{(folder / 'output.log').read_text()[-2000:]}") from None
        yield Target(port, process.pid, folder, encrypted)


def chosen(names: str, known: dict[str, object], what: str) -> list[str]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"unknown {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return wanted or list(known)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure proxies side by side.")
    parser.add_argument("--proxy", default="", help="comma-separated; default: all that are installed")
    parser.add_argument("--workload", default="", help="comma-separated; default: all")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--seconds", type=positive, default=3)
    parser.add_argument("--results", type=Path, help="folder; default: results, results/partial for --proxy")
    options = parser.parse_args()
    folder = options.results or Path(__file__).parent / "results" / ("partial" if options.proxy else "")
    names = chosen(options.proxy, dict(PEERS), "proxy")
    missing = [name for name in names if PEERS[name].path is None]
    if missing and options.proxy:
        sys.exit(f"not installed: {', '.join(missing)}")
    peers = [PEERS[name] for name in names if name not in missing]
    record: dict[str, Any] = {"machine": machine.describe(), "versions": {}, "workloads": {}}
    record |= {"rounds": options.rounds, "seconds": options.seconds}
    record["versions"] = {peer.name: peer.version(str(peer.path)) for peer in peers}
    tables, charts = [], {}
    try:
        for name in chosen(options.workload, dict(WORKLOADS), "workload"):
            workload = WORKLOADS[name]
            rounds = 1 if workload.drive in ONCE else options.rounds
            able = [peer for peer in peers if can(peer, workload)]
            samples = measure(workload, able, rounds, options.seconds)
            results = {peer: summarise(found) for peer, found in samples.items()}
            how = {key: record[key] for key in ("machine", "versions", "rounds", "seconds")}
            record["workloads"][name] = {"what": workload.what, "unit": workload.unit, "run": how, "results": results}
            charts[name] = chart(workload, results, record["machine"])
            tables.append(table(workload, results))
            print_tables(tables[-1:])
    except (LoadError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    if missing:
        print(f"not installed, not measured: {', '.join(missing)}")
    for name, version in record["versions"].items():
        print(f"{name}: {version}")
    save(folder, merged(read(folder), record, list(WORKLOADS)), charts)
    print(f"results are in {folder}")


if __name__ == "__main__":
    main()
