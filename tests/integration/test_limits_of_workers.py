"""Middlewares that limit, over several workers: one count for all, over reloads and the death of a worker."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.instance import Instance, eventually, running
from tests.support.ports import free_port
from tests.support.recorder import Recorder
from tests.support.redis_servers import StoreServer
from tests.support.wire import TIMEOUT_S, Peer

WORKERS = 3
MIDDLEWARES: dict[str, Any] = {
    "inflight": {"inFlightReq": {"amount": 4, "sourceCriterion": {"requestHost": True}}},
    "rate": {"rateLimit": {"average": 1, "period": "1h", "burst": 10}},
    "breaker": {"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0", "fallbackDuration": "1h"}},
    "budget": {"retry": {"attempts": 2, "status": ["503"], "budget": {"ratio": 0.0, "minPerSecond": 1}}},
}
STATIC = {
    "entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}},
    "api": {"insecure": True, "dashboard": False},
    "metrics": {"prometheus": {}},
}


class Limited:
    """An instance, its server, its store, and how often it has been reloaded."""

    def __init__(self, lb: Instance, server: Recorder, store: StoreServer, middlewares: dict[str, Any]) -> None:
        self.lb = lb
        self.server = server
        self.store = store
        self.middlewares = middlewares
        self.port = lb.port
        self.generation = 1
        self.ready = 1

    def reload(self) -> None:
        self.generation += 1
        another = {f"extra{self.generation}": {"addPrefix": {"prefix": "/x"}}}
        self.lb.write(dynamic(self.server.url, {**self.middlewares, **another}))
        self.lb.runs(self.generation)
        self.ready = 1

    def kill(self) -> None:
        """One of the workers; another one takes its place."""
        os.kill(self.lb.workers[0], signal.SIGKILL)
        self.ready += 1
        self.lb.logged(rf"{WORKERS} workers run configuration {self.generation}\b", self.ready)

    def client(self) -> Peer:
        return Peer(socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S))

    def ask(self, path: str, count: int) -> list[int]:
        """The statuses of requests, each on a connection of its own: the kernel gives them to the workers."""
        found = []
        for _ in range(count):
            client = self.client()
            first, _, _ = client.ask(request(path))
            found.append(int(first.split()[1]))
            client.close()
        return found

    def metric(self, name: str) -> float:
        port = self.lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found, name
        return float(found[1])


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def dynamic(url: str, middlewares: dict[str, Any]) -> dict[str, Any]:
    """Each of the middlewares at a path of its name."""
    routers = {
        name: {"rule": f"PathPrefix(`/{name}`)", "service": "app", "middlewares": [name]} for name in middlewares
    }
    services = {"app": {"loadBalancer": {"servers": [{"url": url}]}}}
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


def answer(first: str, headers: Any, body: bytes) -> tuple[int, bytes]:
    """The status that ends the path."""
    return int(first.split()[1].rpartition("/")[2]), b""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    folder, server = tmp_path_factory.mktemp("limits"), Recorder("a")
    server.answer = answer
    own, port = certificate(folder, "store", "localhost"), free_port()
    secure = ["--tls-port", str(port), "--tls-cert-file", str(own.certificate), "--tls-key-file", str(own.key)]
    secure += ["--tls-ca-cert-file", str(own.certificate), "--tls-auth-clients", "no", "--requirepass", "sesame"]
    store = StoreServer(folder, "redis", *secure, password="sesame")
    tls = {"ca": str(own.certificate)}
    redis = {"endpoints": [f"localhost:{port}"], "password": "sesame", "tls": tls, "maxWait": "20s"}
    stored = {"rateLimit": {"average": 1, "period": "1h", "burst": 6, "redis": {**redis, "maxActiveConns": 2}}}
    middlewares = {**MIDDLEWARES, "stored": stored}
    try:
        with running(folder, dynamic(server.url, middlewares), workers=WORKERS, static=STATIC) as lb:
            lb.runs(1)
            yield Limited(lb, server, store, middlewares)
    finally:
        server.close()
        store.stop()


def test_what_is_under_way_is_one_count(limited: Limited) -> None:
    go_on, asked = threading.Event(), threading.Semaphore(0)

    def held(*asking: Any) -> tuple[int, bytes]:
        asked.release()
        assert go_on.wait(TIMEOUT_S)
        return 200, b""

    limited.server.answer = held
    clients = [limited.client() for _ in range(12)]
    for client in clients:
        client.send(request("/inflight/200"))
    for _ in range(4):
        assert asked.acquire(timeout=TIMEOUT_S)
    inside = clients

    def refused() -> bool:
        """Whether all but four have an answer."""
        nonlocal inside
        inside = [client for client in inside if not has_answer(client)]
        return len(inside) == 4

    eventually(refused, "the others are refused")
    limited.reload()
    assert limited.ask("/inflight/200", 9) == [429] * 9
    limited.kill()
    left = [client for client in inside if not is_closed(client)]
    free = 4 - len(left)
    more = [limited.client() for _ in range(free)]
    for client in more:
        client.send(request("/inflight/200"))
    for _ in range(free):
        assert asked.acquire(timeout=TIMEOUT_S)
    assert limited.ask("/inflight/200", 9) == [429] * 9
    go_on.set()
    for client in (*left, *more):
        assert client.message()[0].split()[1] == "200"
    limited.server.answer = answer
    eventually(lambda: limited.ask("/inflight/200", 9) == [200] * 9, "all of them were given back")


def has_answer(client: Peer) -> bool:
    """Whether a client is told that it is refused."""
    client.sock.settimeout(0.01)
    try:
        client.rest += client.sock.recv(65536)
    except TimeoutError:
        return False
    finally:
        client.sock.settimeout(TIMEOUT_S)
    assert client.message()[0].split()[1] == "429"
    return True


def is_closed(client: Peer) -> bool:
    """Whether the worker of a connection has died."""
    client.sock.settimeout(0.05)
    try:
        return client.sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        client.sock.settimeout(TIMEOUT_S)


def test_a_bucket_is_one(limited: Limited) -> None:
    found = limited.ask("/rate/200", 5)
    limited.reload()
    found += limited.ask("/rate/200", 3)
    limited.kill()
    found += limited.ask("/rate/200", 12)
    assert found == [200] * 10 + [429] * 10


def test_a_bucket_in_a_store_is_one(limited: Limited) -> None:
    """Over TLS, with a password; each worker has one connection, though fewer are allowed for all."""
    found = limited.ask("/stored/200", 3)
    limited.reload()
    limited.kill()
    found += limited.ask("/stored/200", 15)
    assert found == [200] * 6 + [429] * 12
    assert limited.store.client.keys("*") == [b"rate:stored@file:127.0.0.1"]
    assert limited.metric("lbcore_limits_without_store_total") == 0
    assert 1 <= limited.store.connections() <= WORKERS
    assert "sesame" not in limited.lb.log


def test_a_breaker_that_opens_is_open_in_all_workers(limited: Limited) -> None:
    assert limited.ask("/breaker/500", 1) == [500]
    asked = len(limited.server.requests)
    assert limited.ask("/breaker/200", 12) == [503] * 12
    limited.reload()
    assert limited.ask("/breaker/200", 12) == [503] * 12
    limited.kill()
    assert limited.ask("/breaker/200", 12) == [503] * 12
    assert len(limited.server.requests) == asked
    limited.lb.logged("circuit breaker breaker@file of breaker@file is open for 3600 s")


def test_a_budget_is_one(limited: Limited) -> None:
    """Ten attempts in ten seconds, however busy the machine is: a minute has sixty at most."""
    asked, denied = len(limited.server.requests), limited.metric("lbcore_retries_denied_total")
    assert limited.ask("/budget/503", 20) == [503] * 20
    limited.reload()
    assert limited.ask("/budget/503", 20) == [503] * 20
    limited.kill()
    assert limited.ask("/budget/503", 60) == [503] * 60
    further = len(limited.server.requests) - asked - 100
    assert 10 <= further <= 60
    assert limited.metric("lbcore_retries_denied_total") - denied == 100 - further
