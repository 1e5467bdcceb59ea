"""Which servers get requests: active checks, failing requests, what a parent makes of it. Real servers and sockets."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.support.certificates import certificate
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.wire import Edge, Peer, Server, config_for, edge

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"


class Patient(Server):
    """A server that fails its health check (`status`), its requests (`failing`), or hangs (`hanging`)."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.status = 200
        self.failing = False
        self.hanging = False
        self.released = threading.Event()
        self.checks: list[tuple[str, dict[str, str]]] = []
        self.requests = 0
        self.location = ""
        super().__init__(self.serve)

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                first, headers, _ = peer.message()
                if "/health" in first:
                    self.checks.append((first, headers))
                    if self.hanging:
                        self.released.wait(5)
                    location = f"Location: {self.location}\r\n" if self.location else ""
                    peer.send(f"HTTP/1.1 {self.status} X\r\n{location}Content-Length: 4\r\n\r\nwell".encode())
                    if headers.get("connection") == "close":
                        return
                    continue
                self.requests += 1
                if self.failing:
                    peer.send(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
                else:
                    peer.send(OK % (len(self.name), self.name))


@contextlib.contextmanager
def patients(*names: str) -> Iterator[list[Patient]]:
    servers = [Patient(name) for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            server.released.set()
            server.close()


def check(**more: Any) -> dict[str, Any]:
    return {"healthCheck": {"path": "/health", "interval": "50ms", "timeout": "300ms", **more}}


def served_by(lb: Edge, count: int = 8) -> set[str]:
    """Bodies, or statuses that are not 200, of some requests."""
    found = set()
    for _ in range(count):
        first, _, body = lb.ask(GET)
        found.add(body.decode() if " 200 " in first else first.split()[1])
    return found


def test_a_failing_check_takes_a_server_out_and_a_good_one_brings_it_back() -> None:
    with patients("a", "b") as (a, b), edge(config_for(a.url, b.url, **check())) as lb:
        assert served_by(lb) == {"a", "b"}
        a.status = 503
        eventually(lambda: served_by(lb) == {"b"}, "a is out")
        b.status = 404
        eventually(lambda: served_by(lb) == {"503"}, "no server is left")
        a.status = b.status = 302
        eventually(lambda: served_by(lb) == {"a", "b"}, "both are back")


def test_the_first_check_comes_at_once_and_a_hanging_server_holds_up_no_other() -> None:
    with patients("a", "b", "c") as (a, b, c):
        a.hanging = True
        c.status = 500
        with edge(config_for(a.url, b.url, c.url, **check(interval="1h", timeout="200ms"))) as lb:
            eventually(lambda: served_by(lb) == {"b"}, "the first verdicts", 2)


def test_what_the_check_sends_and_what_it_accepts() -> None:
    settings = {"method": "OPTIONS", "hostname": "status.test", "headers": {"X-Check": "1"}, "status": 204}
    with patients("a") as (a,):
        a.status = 204
        with edge(config_for(a.url, **check(path="/health?deep=1", **settings))) as lb:
            eventually(lambda: a.checks, "a check")
            first, headers = a.checks[0]
            assert first == "OPTIONS /health?deep=1 HTTP/1.1"
            assert headers["host"] == "status.test"
            assert headers["x-check"] == "1"
            assert served_by(lb) == {"a"}
            a.status = 200
            eventually(lambda: served_by(lb) == {"503"}, "200 is not 204")


def test_redirects_of_a_check_are_followed_or_judged() -> None:
    with patients("a", "b") as (a, b):
        a.status, a.location, b.status = 302, f"{b.url}/health/real", 500
        with edge(config_for(a.url, **check())) as lb:
            eventually(lambda: served_by(lb) == {"503"}, "where it leads is not well")
            assert any("/health/real" in first for first, _ in b.checks)
        with edge(config_for(a.url, **check(followRedirects=False))) as lb:
            before = len(a.checks)
            eventually(lambda: len(a.checks) >= before + 3, "it is checked again and again")
            assert served_by(lb) == {"a"}


def test_checks_go_to_another_port_and_look_at_the_body() -> None:
    with patients("a", "probe") as (a, probe):
        with edge(config_for(a.url, **check(port=probe.port, expectBody="wel"))) as lb:
            eventually(lambda: len(probe.checks) > 2, "checks at the other port")
            assert served_by(lb) == {"a"}
            assert not a.checks
        with edge(config_for(a.url, **check(expectBody="ill"))) as lb:
            eventually(lambda: served_by(lb) == {"503"}, "the body is another")


def test_rise_and_fall_count_answers_in_a_row() -> None:
    with patients("a") as (a,), edge(config_for(a.url, **check(fall=4, rise=6, unhealthyInterval="20ms"))) as lb:
        eventually(lambda: a.checks, "a first check")
        before = len(a.checks)
        a.status = 500
        eventually(lambda: served_by(lb, 1) == {"503"}, "down")
        assert len(a.checks) - before >= 4
        before, a.status = len(a.checks), 200
        eventually(lambda: served_by(lb, 1) == {"a"}, "up")
        assert len(a.checks) - before >= 6


def test_a_server_that_starts_down_gets_nothing_before_its_first_good_answer() -> None:
    with patients("a", "b") as (a, b):
        b.hanging = True
        with edge(config_for(a.url, b.url, **check(startDown=True))) as lb:
            eventually(lambda: served_by(lb) == {"a"}, "a was checked first")
            assert b.requests == 0
            b.hanging = False
            eventually(lambda: served_by(lb) == {"a", "b"}, "b was checked too")


class CountingServicer(health.HealthServicer):  # type: ignore[misc]
    """Counts how often it was asked."""

    checks = 0

    def Check(self, request: Any, context: Any) -> Any:
        self.checks += 1
        return super().Check(request, context)


def test_grpc_check_of_a_real_grpc_server() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = CountingServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with patients("a") as (a,), edge(config_for(a.url, **check(mode="grpc", port=port))) as lb:
            eventually(lambda: servicer.checks >= 3, "it is checked")
            assert served_by(lb) == {"a"}
            servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            eventually(lambda: served_by(lb) == {"503"}, "not serving")
            servicer.set("", health_pb2.HealthCheckResponse.SERVING)
            eventually(lambda: served_by(lb) == {"a"}, "serving again")
    finally:
        server.stop(0)


def test_a_reload_keeps_the_verdicts_and_goes_on_checking() -> None:
    with patients("a", "b") as (a, b), edge(config_for(a.url, b.url, **check(interval="400ms"))) as lb:
        a.status = 500
        eventually(lambda: served_by(lb) == {"b"}, "a is out")
        for number in range(20):
            lb.apply(config_for(a.url, b.url, transport={"maxIdleConnsPerHost": number}, **check(interval="400ms")))
            assert served_by(lb, 4) == {"b"}
        a.status = 200
        eventually(lambda: served_by(lb) == {"a", "b"}, "a is back")
        a.status = 500
        eventually(lambda: served_by(lb) == {"b"}, "a is out again")
        lb.apply(config_for(a.url, b.url))
        assert served_by(lb) == {"a", "b"}  # without a check nothing is known against it


@pytest.mark.parametrize("dead", [False, True])
def test_failing_requests_eject_a_server_which_is_tried_with_one_request_when_its_time_is_over(dead: bool) -> None:
    passive = {"passiveHealthCheck": {"failureWindow": "400ms", "maxFailedAttempts": 2}}
    with patients("a", "b") as (a, b):
        urls = [f"http://127.0.0.1:{free_port()}" if dead else a.url, b.url]
        a.failing = True
        with edge(config_for(*urls, **passive)) as lb:
            eventually(lambda: served_by(lb, 6) == {"b"}, "it is ejected")
            if dead:
                return
            tried = a.requests
            assert tried >= 2
            eventually(lambda: served_by(lb, 6) and a.requests > tried, "it is tried again")
            assert served_by(lb, 8) == {"b"}
            assert a.requests == tried + 1  # one request found out
            a.failing = False
            eventually(lambda: served_by(lb, 6) == {"a", "b"}, "it is back")


def test_a_success_forgives_and_old_failures_do_not_count() -> None:
    passive = {"passiveHealthCheck": {"failureWindow": "150ms", "maxFailedAttempts": 3}}
    with patients("a") as (a,), edge(config_for(a.url, **passive)) as lb:
        for _ in range(4):
            a.failing = True
            assert served_by(lb, 2) == {"500"}
            a.failing = False
            assert served_by(lb, 1) == {"a"}
        a.failing = True
        for _ in range(4):
            assert served_by(lb, 2) == {"500"}
            time.sleep(0.2)


def test_more_servers_than_the_cap_are_not_ejected() -> None:
    passive = {"passiveHealthCheck": {"failureWindow": "10s", "maxFailedAttempts": 1, "maxEjectionPercent": 50}}
    with patients("a", "b", "c") as servers, edge(config_for(*(server.url for server in servers), **passive)) as lb:
        for server in servers:
            server.failing = True
        served_by(lb, 12)
        before = [server.requests for server in servers]
        assert served_by(lb, 12) == {"500"}
        assert sum(now.requests > then for now, then in zip(servers, before)) == 2


def two_data_centres(one: list[Patient], two: list[Patient]) -> dict[str, Any]:
    def centre(servers: list[Patient]) -> dict[str, Any]:
        return {"loadBalancer": {"servers": [{"url": server.url} for server in servers], **check()}}

    watch: dict[str, Any] = {"healthCheck": {}}
    return {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "app"}},
            "services": {
                "app": {"weighted": {"services": [{"name": "dc1", "weight": 3}, {"name": "dc2"}], **watch}},
                "dc1": {"weighted": {"services": [{"name": "dc1-vms"}, {"name": "dc1-k8s"}], **watch}},
                "dc1-vms": centre(one[:1]),
                "dc1-k8s": centre(one[1:]),
                "dc2": centre(two),
            },
        }
    }


def test_two_data_centres_with_machines_in_and_outside_of_kubernetes() -> None:
    with patients("vm", "pod", "other") as (vm, pod, other), edge(two_data_centres([vm, pod], [other])) as lb:
        assert served_by(lb) == {"vm", "pod", "other"}
        vm.status = 500
        eventually(lambda: served_by(lb) == {"pod", "other"}, "the pods take over from the machines")
        pod.status = 500
        eventually(lambda: served_by(lb) == {"other"}, "the other data centre takes over")
        other.status = 500
        eventually(lambda: served_by(lb) == {"503"}, "no server is left")
        vm.status = 200
        eventually(lambda: served_by(lb) == {"vm"}, "the first data centre is back")


def test_no_request_fails_while_verdicts_change_all_the_time() -> None:
    with patients("a", "b") as (a, b), edge(config_for(a.url, b.url, **check(interval="10ms"))) as lb:
        stop = threading.Event()

        def flip() -> None:
            while not stop.is_set():
                a.status = 500 if a.status == 200 else 200
                time.sleep(0.02)

        thread = threading.Thread(target=flip)
        thread.start()
        try:
            client = lb.client()
            for _ in range(2000):
                assert client.ask(GET)[0] == "HTTP/1.1 200 OK"
        finally:
            stop.set()
            thread.join()


def test_grpc_check_over_tls(tmp_path: Path) -> None:
    files = certificate(tmp_path, "a", "localhost")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = CountingServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    # `localhost` would be two addresses, and a number that is free on the first may be taken on the other.
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        settings = {"healthCheck": {"path": "/", "mode": "grpc", "interval": "50ms", "startDown": True}}
        trust = {"rootCAs": [str(files.certificate)]}
        with edge(config_for(f"https://localhost:{port}", transport=trust, **settings)) as lb:
            eventually(lambda: lb.ask(GET)[0].split()[1] != "503", "serving")
            assert servicer.checks
            servicer.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
            eventually(lambda: lb.ask(GET)[0].split()[1] == "503", "not serving")
    finally:
        server.stop(0)
