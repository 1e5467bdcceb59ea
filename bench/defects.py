"""What balancers do with weights, sessions and load, seen from outside: `python -m bench.defects [--out FILE]`.

Each case gives real proxies the same job over sockets, and counts which server answered. A share that is off is a
defect of that proxy; lbcore stands beside it. A proxy that is not installed is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.peers import PEERS, write
from bench.process import LOAD_CORE, PROXY_CORE, ended, start, wait_until
from bench.proxies import free_ports
from bench.report import print_tables

LETTERS = "abcdefgh"
SLOW = b"x" * (1 << 20)


@dataclass(frozen=True, slots=True)
class Case:
    """`configure[peer]` writes files into a folder and returns the command's arguments; `drive` counts by server."""

    name: str
    right: str
    servers: int
    configure: dict[str, Callable[[Path, int, Sequence[int]], list[str]]]
    drive: Callable[[int, Sequence[int]], str]


def servers_command(folder: Path, ports: Sequence[int]) -> list[str]:
    """nginx: each server answers with its port; /slow goes on for minutes."""
    (folder / "slow").write_bytes(SLOW)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    listen = " ".join(f"listen 127.0.0.1:{port};" for port in ports)
    slow = f"location /slow {{ root {folder}; limit_rate 1k; add_header X-Server $server_port; }}"
    config = (
        f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 2000; }}\nhttp {{ access_log off; {paths} keepalive_requests 1000000;\n"
        f"server {{ {listen} location / {{ return 200 '$server_port'; }} {slow} }} }}\n"
    )
    return ["nginx", "-c", write(folder, "servers.conf", config)]


# Requests


def ask(
    port: int, path: str = "/", headers: dict[str, str] | None = None, source: str = "127.0.0.1"
) -> tuple[int, str]:
    """The port of the server that answered, and the session's cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10, source_address=(source, 0))
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"port {port} answers {answer.status}: {text[:200]!r}")
        return int(text), (answer.headers.get("Set-Cookie") or "").partition(";")[0]
    finally:
        connection.close()


def shares(found: Counter[int], servers: Sequence[int]) -> str:
    total = sum(found.values())
    return " : ".join(f"{100 * found[port] / total:.1f}" for port in servers)


def in_turn(count: int) -> Callable[[int, Sequence[int]], str]:
    """Requests one after the other."""
    return lambda port, servers: shares(Counter(ask(port)[0] for _ in range(count)), servers)


def after(warm: int, count: int) -> Callable[[int, Sequence[int]], str]:
    """The same, after some that may find out who is down."""

    def drive(port: int, servers: Sequence[int]) -> str:
        for _ in range(warm):
            ask(port)
        return in_turn(count)(port, servers)

    return drive


def sequence(port: int, servers: Sequence[int]) -> str:
    """The order of 14 requests after 70."""
    for _ in range(70):
        ask(port)
    return "".join(LETTERS[list(servers).index(ask(port)[0])] for _ in range(14))


def from_addresses(port: int, servers: Sequence[int]) -> str:
    """600 clients, one request each."""
    sources = (f"127.{1 + n % 5}.{n // 5 % 11}.{1 + n // 55}" for n in range(600))
    return shares(Counter(ask(port, source=source)[0] for source in sources), servers)


def beside_busy(port: int, servers: Sequence[int]) -> str:
    """One request is under way at one of two servers: per cent of the next 400 that go there too."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/slow")
        answer = connection.getresponse()
        answer.read(1)
        found = Counter(ask(port)[0] for _ in range(400))
    finally:
        connection.close()
    return f"{100 * found[int(answer.headers['X-Server'])] / 400:.1f}"


def drained_session(port: int, servers: Sequence[int]) -> str:
    """A session at the first of two services, whose weight is 0: where the next 50 requests with its cookie go."""
    import hashlib

    cookie = f"lb={hashlib.sha256(b'appv1').hexdigest()[:16]}"
    return shares(Counter(ask(port, headers={"Cookie": cookie})[0] for _ in range(50)), servers)


# Configurations


def traefik_like(services: str) -> Callable[[Path, int, Sequence[int]], list[str]]:
    """The same files for lbcore and Traefik; `{0}` is the first server's port."""

    def configure(folder: Path, port: int, servers: Sequence[int]) -> list[str]:
        router = "routers: {r: {rule: 'PathPrefix(`/`)', service: all, entryPoints: [web]}}"
        dynamic = write(folder, "dynamic.yml", f"http:\n  {router}\n  services:\n{services.format(*servers)}\n")
        static = f"entryPoints: {{web: {{address: '127.0.0.1:{port}'}}}}\n"
        return [write(folder, "static.yml", f"{static}providers: {{file: {{filename: '{dynamic}', watch: false}}}}\n")]

    return configure


def both(services: str) -> dict[str, Callable[[Path, int, Sequence[int]], list[str]]]:
    return {"lbcore": traefik_like(services), "traefik": traefik_like(services)}


def weighted_servers(weights: Sequence[int], more: str = "") -> str:
    listed = ", ".join(f"{{{{url: 'http://127.0.0.1:{{{n}}}', weight: {w}}}}}" for n, w in enumerate(weights))
    return f"    all: {{{{loadBalancer: {{{{servers: [{listed}]{more}}}}}}}}}"


def caddy(policy: str, more: str = "") -> Callable[[Path, int, Sequence[int]], list[str]]:
    def configure(folder: Path, port: int, servers: Sequence[int]) -> list[str]:
        to = " ".join(f"127.0.0.1:{one}" for one in servers)
        proxy = f"reverse_proxy {to} {{\n lb_policy {policy}\n {more}\n }}"
        return [write(folder, "Caddyfile", f"{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n {proxy}\n}}\n")]

    return configure


def nginx(upstream: str) -> Callable[[Path, int, Sequence[int]], list[str]]:
    def configure(folder: Path, port: int, servers: Sequence[int]) -> list[str]:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        config = (
            f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
            f"events {{ worker_connections 2000; }}\nhttp {{ access_log off; {paths}\n"
            f"upstream app {{ {upstream.format(*servers)} }}\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app; }} }} }}\n"
        )
        return [write(folder, "nginx.conf", config)]

    return configure


def haproxy(balance: str, weights: Sequence[int]) -> Callable[[Path, int, Sequence[int]], list[str]]:
    def configure(folder: Path, port: int, servers: Sequence[int]) -> list[str]:
        to = "\n".join(f"  server s{n} 127.0.0.1:{servers[n]} weight {weight}" for n, weight in enumerate(weights))
        text = (
            "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n"
            f"  timeout server 60s\nlisten web\n  bind 127.0.0.1:{port}\n  balance {balance}\n{to}\n"
        )
        return [write(folder, "haproxy.cfg", text)]

    return configure


def envoy(policy: str, weights: Sequence[int]) -> Callable[[Path, int, Sequence[int]], list[str]]:
    def configure(folder: Path, port: int, servers: Sequence[int]) -> list[str]:
        at = "{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}"
        place = at + ", load_balancing_weight: {}}}"
        ends = ", ".join(place.format(servers[n], weight) for n, weight in enumerate(weights))
        manager = (
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        )
        router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
        text = f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {manager}
          stat_prefix: web
          http_filters: [{{name: envoy.filters.http.router, typed_config: {{"@type": {router}}}}}]
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: app, timeout: 0s}}}}]}}
  clusters:
  - name: app
    type: STATIC
    lb_policy: {policy}
    load_assignment: {{cluster_name: app, endpoints: [{{lb_endpoints: [{ends}]}}]}}
"""
        return [write(folder, "envoy.yaml", text)]

    return configure


TWO_SERVICES = (
    "    appv1: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{0}'}}]}}}}\n"
    "    appv2: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{1}'}}]}}}}\n"
)
HRW = "    all: {{highestRandomWeight: {{services: [{{name: appv1, weight: 3}}, {{name: appv2, weight: 1}}]}}}}\n"
DRAIN = (
    "    all: {{weighted: {{sticky: {{cookie: {{name: lb}}}},"
    " services: [{{name: appv1, weight: 0}}, {{name: appv2, weight: 1}}]}}}}\n"
)
HEALTH = ", passiveHealthCheck: {{failureWindow: 60s, maxFailedAttempts: 1}}"
FIVE = [5, 1, 1]
SEQUENCES = {
    **both(weighted_servers(FIVE)),
    "nginx": nginx("server 127.0.0.1:{0} weight=5; server 127.0.0.1:{1}; server 127.0.0.1:{2};"),
    "haproxy": haproxy("roundrobin", FIVE),
    "envoy": envoy("ROUND_ROBIN", FIVE),
    "caddy": caddy("weighted_round_robin 5 1 1"),
}
CASES = [
    Case("order of weights 5, 1, 1", "a at most four times in a row", 3, SEQUENCES, sequence),
    Case("highest random weight, appv1 : appv2 = 3 : 1", "75 : 25", 2, both(TWO_SERVICES + HRW), from_addresses),
    Case("p2c, weights 3 : 1", "75 : 25", 2, both(weighted_servers([3, 1], ", strategy: p2c")), in_turn(400)),
    Case("session at a service that drains (weight 0)", "100 : 0", 2, both(TWO_SERVICES + DRAIN), drained_session),
    Case(
        "weights 5, 1, 1, the first is down",
        "0 : 50 : 50",
        3,
        {
            "lbcore": traefik_like(weighted_servers(FIVE, HEALTH)),
            "nginx": nginx(
                "server 127.0.0.1:{0} weight=5 fail_timeout=60s; server 127.0.0.1:{1}; server 127.0.0.1:{2};"
            ),
            "caddy": caddy("weighted_round_robin 5 1 1", "fail_duration 60s\n lb_retries 3"),
        },
        after(30, 420),
    ),
    Case(
        "least requests, one of two is busy: per cent for it",
        "0",
        2,
        {
            "lbcore": traefik_like(weighted_servers([1, 1], ", strategy: p2c")),
            "envoy": envoy("LEAST_REQUEST", [1, 1]),
            "nginx": nginx("least_conn; server 127.0.0.1:{0}; server 127.0.0.1:{1};"),
        },
        beside_busy,
    ),
]


def command(peer: str, path: str, files: list[str]) -> list[str]:
    arguments = {
        "lbcore": ["run", "--workers", "1", "--config", *files],
        "traefik": [f"--configFile={files[0]}"],
        "nginx": ["-c", *files],
        "haproxy": ["-db", "-f", *files],
        "envoy": ["--concurrency", "1", "--log-level", "error", "-c", *files],
        "caddy": ["run", "--adapter", "caddyfile", "--config", *files],
    }
    return [path, *arguments[peer]]


def answers(port: int) -> bool:
    with contextlib.suppress(OSError, RuntimeError, http.client.HTTPException, ValueError):
        ask(port)
        return True
    return False


@contextlib.contextmanager
def running(case: Case, peer: str, root: Path, servers: Sequence[int]) -> Iterator[int]:
    path = PEERS[peer].path
    if path is None:
        raise RuntimeError(f"{peer} is not installed")
    folder = root / peer
    folder.mkdir()
    (port,) = free_ports(1)
    files = case.configure[peer](folder, port, servers)
    with ended(start(command(peer, path, files), PROXY_CORE, folder, dict(PEERS[peer].environ))):
        try:
            wait_until(lambda: answers(port), f"{peer} answers", 30)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{(folder / 'output.log').read_text()[-2000:]}") from None
        yield port


def run(case: Case) -> dict[str, str]:
    """What each proxy does."""
    found = {}
    with contextlib.ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbcore-defects-")))
        root.chmod(0o755)
        servers = free_ports(case.servers)
        up = servers[1:] if "is down" in case.name else servers
        folder = root / "servers"
        folder.mkdir()
        stack.enter_context(ended(start(servers_command(folder, up), LOAD_CORE, folder)))
        wait_until(lambda: all(answers(port) for port in up), "the servers answer")
        for peer in case.configure:
            with running(case, peer, root, servers) as port:
                found[peer] = case.drive(port, servers)
    return found


def measured() -> list[dict[str, Any]]:
    return [{"case": case.name, "right": case.right, "found": run(case)} for case in CASES]


def table(record: list[dict[str, Any]]) -> Table:
    shown = Table("case", "right", "proxy", "found", title="Shares, as real proxies give them")
    for case in record:
        for number, (peer, found) in enumerate(case["found"].items()):
            shown.add_row("" if number else case["case"], "" if number else case["right"], peer, found)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="See what real proxies do with weights, sessions and load.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/defects.json")
    options = parser.parse_args()
    try:
        record = measured()
    except RuntimeError as error:
        sys.exit(f"error: {error}")
    options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print_tables([table(record)])


if __name__ == "__main__":
    main()
