"""An instance with something of everything that the dashboard shows: all layers, kinds of services, faults, traffic."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.certificates import certificate
from tests.support.instance import Backend, Instance, running
from tests.support.ports import free_ports

TOKEN = "the-token-of-this-test"
PAUSE_S = 0.01  # between two requests


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes over TCP."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(4096):
                self.request.sendall(data)


class EchoDatagrams(socketserver.BaseRequestHandler):
    """Sends back what comes over UDP."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


class Scene:
    """`backends` by name; `api_port`: of the dashboard. `dead`: the URL of a server that nobody listens at."""

    def __init__(self, instance: Instance, backends: dict[str, Backend], dead: str) -> None:
        self.instance = instance
        self.backends = backends
        self.dead = dead

    @property
    def api_port(self) -> int:
        return int(self.instance.logged(r"entry point traefik listens on \S+:(\d+)")[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}/dashboard/"


def balancer(*urls: str, weights: tuple[int, ...] = (), **more: Any) -> dict[str, Any]:
    servers: list[dict[str, Any]] = [{"url": url} for url in urls]
    for server, weight in zip(servers, weights, strict=False):
        server["weight"] = weight
    return {"loadBalancer": {"servers": servers, **more}}


def dynamic_of(urls: dict[str, str], dead: str, tcp: int, udp: int, entry: dict[str, str]) -> dict[str, Any]:
    """The configuration. `entry`: of a certificate."""
    check = {"healthCheck": {"path": "/", "interval": "200ms", "timeout": "2s"}}
    services: dict[str, Any] = {
        "shop": {"weighted": {"services": [{"name": "shop-v1", "weight": 90}, {"name": "shop-v2", "weight": 10}]}},
        "shop-v1": balancer(urls["v1-a"], urls["v1-b"], dead, weights=(3, 2, 1), **check),
        "shop-v2": balancer(urls["v2"]),
        "blog": {"failover": {"service": "blog-new", "fallback": "blog-old"}},
        "blog-new": balancer(dead.replace("127.0.0.1", "127.0.0.2"), **check),
        "blog-old": balancer(urls["blog"], **check),
        "search": {"mirroring": {"service": "search-now", "mirrors": [{"name": "search-next", "percent": 20}]}},
        "search-now": balancer(urls["search-a"], urls["search-b"]),
        "search-next": balancer(urls["search-next"]),
    }
    services["blog"]["failover"]["healthCheck"] = {}
    services["shop"]["weighted"]["sticky"] = {"cookie": {"name": "shop"}}
    routers = {
        "shop": {"rule": "Host(`shop.example`)", "service": "shop", "middlewares": ["compress"]},
        "shop-api": {
            "rule": "Host(`shop.example`) && PathPrefix(`/api`)",
            "service": "shop-v1",
            "middlewares": ["strip", "limit"],
        },
        "testers": {"rule": "Host(`shop.example`) && Header(`X-QA`, `1`)", "service": "shop-v2"},
        "blog": {"rule": "Host(`blog.example`)", "service": "blog", "middlewares": ["compress"]},
        "search": {"rule": "Host(`search.example`)", "service": "search"},
        "broken": {"rule": "Host(`broken.example`)", "service": "shop", "middlewares": ["forgotten"]},
    }
    return {
        "http": {
            "routers": {name: {"entryPoints": ["web"], **router} for name, router in routers.items()},
            "middlewares": {
                "compress": {"compress": {}},
                "strip": {"stripPrefix": {"prefixes": ["/api"]}},
                "limit": {"inFlightReq": {"amount": 100}},
            },
            "services": services,
        },
        "tcp": {
            "routers": {"database": {"entryPoints": ["database"], "rule": "HostSNI(`*`)", "service": "database"}},
            "services": {"database": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{tcp}"}]}}},
        },
        "udp": {
            "routers": {"names": {"entryPoints": ["names"], "service": "names"}},
            "services": {"names": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{udp}"}]}}},
        },
        "tls": {"certificates": [entry]},
    }


STATIC: dict[str, Any] = {
    "entryPoints": {
        "web": {"address": "127.0.0.1:0"},
        "database": {"address": "127.0.0.1:0"},
        "names": {"address": "127.0.0.1:0/udp"},
        "traefik": {"address": "127.0.0.1:0"},
    },
    "api": {"insecure": True, "token": TOKEN},
}


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Start all of it, without traffic."""
    names = ("v1-a", "v1-b", "v2", "blog", "search-a", "search-b", "search-next")
    backends = {name: Backend(name) for name in names}
    tcp = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), EchoDatagrams)
    for server in (tcp, udp):
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"
    files = certificate(folder, "shop", "shop.example", "www.shop.example", days=20)
    urls = {name: backend.url for name, backend in backends.items()}
    dynamic = dynamic_of(urls, dead, tcp.server_address[1], udp.server_address[1], files.entry)
    try:
        with running(folder, dynamic, static=STATIC) as instance:
            instance.runs(1)
            yield Scene(instance, backends, dead)
    finally:
        for backend in backends.values():
            backend.close()
        for server in (tcp, udp):
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def traffic(of: Scene) -> Iterator[None]:
    """Requests to all routers, a connection, and datagrams, until the block ends."""
    stopped = threading.Event()
    instance = of.instance
    port = instance.port
    database = int(instance.logged(r"entry point database listens on \S+:(\d+)")[1])
    names = int(instance.logged(r"entry point names listens on \S+:(\d+)")[1])

    def ask() -> None:
        hosts = ("shop.example", "shop.example", "shop.example", "search.example", "blog.example")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        turn = 0
        while not stopped.wait(PAUSE_S):
            turn += 1
            try:
                path = "/api/cart" if turn % 3 == 0 else "/"
                connection.request("GET", path, headers={"Host": hosts[turn % len(hosts)]})
                connection.getresponse().read()
                if turn % 10 == 0:
                    exchange(database, names)
            except (OSError, http.client.HTTPException):
                connection.close()  # the instance was ended by the test
        connection.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(30)


def exchange(database: int, names: int) -> None:
    """One message over TCP, one over UDP."""
    with socket.create_connection(("127.0.0.1", database), timeout=10) as sock:
        sock.sendall(b"hello")
        sock.recv(5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(b"hello", ("127.0.0.1", names))
        with contextlib.suppress(TimeoutError):
            sock.recv(5)
