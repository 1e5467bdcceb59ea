"""Services in a real Consul, and in a stand-in for Nomad: what their tags say, and what happens when they change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lbcore.config.static.providers import CatalogEndpoint, ConsulCatalogProvider
from lbcore.provider.consul_catalog import CatalogStore
from lbcore.provider.follow import Reading
from tests.integration.test_docker import Watch, api, ask, becomes, points
from tests.integration.test_stores import seen
from tests.support.docker import guarded
from tests.support.instance import Backend, Instance, eventually, running
from tests.support.ports import free_port
from tests.support.stores import Consul
from tests.support.traefik import start


def tags(name: str) -> list[str]:
    return [f"traefik.http.routers.{name}.rule=Host(`{name}`)"]


@contextlib.contextmanager
def follows(folder: Path, **providers: Any) -> Iterator[Instance]:
    static = {
        "entryPoints": points(),
        "api": {"insecure": True},
        "providers": {"providersThrottleDuration": "0s", **providers},
    }
    with running(folder, None, workers=1, static=static) as lb:
        yield lb


@contextlib.contextmanager
def consul_in(folder: Path) -> Iterator[Consul]:
    consul = Consul(folder / "consul")
    try:
        yield consul
    finally:
        consul.close()


def register(consul: Consul, key: str, name: str, labels: list[str], port: int, status: str = "") -> None:
    service: dict[str, Any] = {"ID": key, "Name": name, "Tags": labels, "Address": "127.0.0.1", "Port": port}
    if status:
        service["Check"] = {"CheckID": f"check-{key}", "TTL": "1h", "Status": status}
    consul.ask("PUT", "/agent/service/register", service)


def servers(lb: Instance, name: str) -> list[str]:
    shown = api(lb, f"/api/http/services/{name}")
    return sorted(server["url"] for server in shown["loadBalancer"].get("servers", [])) if shown else []


def test_services_of_consul_come_and_go(tmp_path: Path) -> None:
    one, two = Backend("one"), Backend("two")
    with consul_in(tmp_path) as consul, contextlib.closing(one), contextlib.closing(two):
        ports = [int(each.url.rpartition(":")[2]) for each in (one, two)]
        register(consul, "w1", "web", tags("web"), ports[0], "passing")
        settings = {"endpoint": {"address": f"127.0.0.1:{consul.port}"}, "refreshInterval": "1h"}
        with follows(tmp_path, consulCatalog=settings) as lb:
            becomes(lb, "web", 200)
            assert api(lb, "/api/http/routers/consul@consulcatalog") is None
            # An instance with the same tags and without a check changes neither the tags nor the checks.
            register(consul, "w2", "web", tags("web"), ports[1])
            eventually(lambda: len(servers(lb, "web@consulcatalog")) == 2, "two servers")
            eventually(lambda: {ask(lb.port, "web")[1] for _ in range(8)} == {"one", "two"}, "both answer")
            # A check that fails takes its instance out, and back.
            consul.ask("PUT", "/agent/check/fail/check-w1")
            eventually(lambda: servers(lb, "web@consulcatalog") == [two.url], "one server")
            consul.ask("PUT", "/agent/check/pass/check-w1")
            eventually(lambda: len(servers(lb, "web@consulcatalog")) == 2, "two servers")
            # An instance with another tag: the newest counts, and all serve.
            watch = Watch(lb, "web")
            newer = [*tags("web"), "traefik.http.routers.web.priority=7"]
            register(consul, "w2", "web", newer, ports[1])
            lb.logged("router web is defined differently by web .*w2.* is newer, and counts")
            eventually(lambda: api(lb, "/api/http/routers/web@consulcatalog")["priority"] == 7, "the newest one's")
            # No instance: the router stays for a while, and answers 503.
            consul.ask("PUT", "/agent/service/deregister/w2")
            eventually(lambda: servers(lb, "web@consulcatalog") == [one.url], "one server")
            assert watch.end() == {200}
            consul.ask("PUT", "/agent/service/deregister/w1")
            becomes(lb, "web", 503)
            register(consul, "w1", "web", tags("web"), ports[0])
            becomes(lb, "web", 200)
            # It comes back without its data: what runs stays, and then what it says.
            consul.kill()
            lb.logged("provider consulcatalog: .*what runs stays")
            assert ask(lb.port, "web")[0] == 200
            consul.start()
            register(consul, "w1", "web", tags("web"), ports[0])
            register(consul, "n1", "new", tags("new"), ports[1])
            becomes(lb, "new", 200)
            assert ask(lb.port, "web")[0] == 200


def test_an_instance_that_comes_while_all_are_read_is_not_taken_for_healthy(tmp_path: Path) -> None:
    """Its check is not in a list that was asked for before it has come."""
    with consul_in(tmp_path) as consul:
        for name in "ab":
            register(consul, name, name, tags(name), 1, "passing")
        came: list[str] = []

        def between(path: str) -> None:
            if not came and path.startswith(("/v1/health/state/", "/v1/catalog/node/")):
                came.append(path)
                register(consul, "a2", "a", tags("a"), 2, "critical")

        with guarded(consul.port, between=between) as guard:
            endpoint = CatalogEndpoint(address=guard.url.replace("tcp://", "http://"))

            async def read() -> Reading:
                store = CatalogStore(ConsulCatalogProvider(endpoint=endpoint, watch=False), "")
                try:
                    return await store.read()
                finally:
                    await store.close()

            service = asyncio.run(read()).config.http.services["a"]
        assert came and service.load_balancer is not None
        assert [server.url for server in service.load_balancer.servers] == ["http://127.0.0.1:1"]


def test_tags_beside_traefik(tmp_path: Path) -> None:
    with consul_in(tmp_path) as consul:
        register(consul, "a1", "a", tags("a"), 81)
        register(consul, "a2", "a", tags("a"), 82)
        register(consul, "b1", "b", [*tags("b"), "traefik.http.services.x.loadbalancer.server.scheme=h2c"], 83)
        register(consul, "c1", "Plain_Name", ["traefik.enable=true"], 84)
        register(consul, "c2", "web", tags("w"), 85)
        register(consul, "c3", "web", [*tags("wc"), "traefik.consulcatalog.canary=true"], 86)
        register(consul, "d1", "hidden", ["traefik.enable=false"], 87)
        register(consul, "d2", "test", [*tags("test"), "old"], 88)
        register(consul, "e1", "critical", tags("critical"), 89, "critical")
        register(consul, "f1", "tcp", ["traefik.tcp.routers.t.rule=HostSNI(`*`)"], 90)
        register(consul, "g1", "m", [*tags("m"), "traefik.http.routers.m.middlewares=p", "traefik.http.middlewares.p.addprefix.prefix=/p"], 91)  # noqa: E501
        register(consul, "h1", "Ca.nary", ["traefik.consulcatalog.canary=true"], 92)
        register(consul, "i1", "typing", [*tags("typing"), "traefik.consulcatalog.conary=true"], 93)
        register(consul, "i2", "own", [*tags("own"), "traefik.nomad.other=1"], 94)
        # Traefik has a server with port 0 here.
        register(consul, "j1", "portless", [*tags("portless"), "traefik.tcp.services.p.loadbalancer.server.port=95"], 0)
        settings = {
            "endpoint": {"address": f"127.0.0.1:{consul.port}"},
            "constraints": "!Tag(`old`)",
            "defaultRule": "Host(`{{ lower .Name }}`)",
        }
        shown = {}
        for name in ("traefik", "lbcore"):
            web, admin = free_port(), free_port()
            static = {
                "entryPoints": {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{admin}"}},
                "api": {"insecure": True},
                "providers": {"consulCatalog": settings},
            }
            process = start(name, tmp_path, static)
            try:
                shown[name] = eventually(partial(seen, admin, 10), f"the objects in {name}")
            finally:
                process.kill()
                process.wait(30)
        # Traefik exposes Consul itself; here the router of what is critical stays, and answers 503.
        assert {name for name in shown["traefik"] if "/consul@" in name} == {f"http/{k}/consul@consulcatalog" for k in ("routers", "services")}  # noqa: E501
        own = {name: each for name, each in shown["traefik"].items() if "/consul@" not in name}
        assert "http/routers/typing@consulcatalog" not in own
        own = {name: each for name, each in own.items() if "/portless@" not in name}
        assert shown["lbcore"].pop("http/services/portless@consulcatalog")["status"] == "disabled"
        assert shown["lbcore"].pop("http/routers/portless@consulcatalog")["status"] == "disabled"
        assert {name: each for name, each in shown["lbcore"].items() if "/critical@" not in name} == own
        assert "tcp/services/p@consulcatalog" in own
        assert "http/services/web-5809183663605978805@consulcatalog" not in own  # that is the hash of other tags
        assert sum("/web-" in name for name in own) == 1


# Nomad


class Nomad:
    """Answers as Nomad does: services, checks of allocations, jobs, the stream of events."""

    def __init__(self) -> None:
        self.index = 10
        self.services: dict[str, list[dict[str, Any]]] = {}
        self.checks: dict[str, str] = {}  # states by allocation
        self.jobs: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.forbidden: set[str] = set()
        self.ended = False
        nomad = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                nomad.asked.append((parts.path, query, self.headers.get("X-Nomad-Token", "")))
                if any(parts.path.startswith(path) for path in nomad.forbidden):
                    return self.answer(b"Permission denied", 403)
                if parts.path == "/v1/event/stream":
                    return self.stream()
                found = nomad.answer(parts.path)
                if found is None:
                    return self.answer(b"not found", 404)
                return self.answer(json.dumps(found).encode())

            def answer(self, body: bytes, code: int = 200) -> None:
                self.send_response(code)
                self.send_header("X-Nomad-Index", str(nomad.index))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                index = nomad.index
                with contextlib.suppress(OSError):
                    while not nomad.ended:
                        with nomad.changed:
                            nomad.changed.wait(0.2)
                        event = {"Index": nomad.index, "Events": [{"Topic": "Service"}]} if nomad.index > index else {}
                        index = nomad.index
                        self.wfile.write(json.dumps(event).encode() + b"\n")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, path: str) -> Any:
        match path.strip("/").split("/"):
            case ["v1", "services"]:
                listed = [
                    {"ServiceName": name, "Tags": sorted({tag for each in found for tag in each["Tags"]})}
                    for name, found in sorted(self.services.items())
                ]
                return [{"Namespace": "default", "Services": listed}] if listed else []
            case ["v1", "service", name]:
                return self.services.get(name, [])
            case ["v1", "allocation", key, "checks"]:
                return {"c": {"Service": "web", "Status": self.checks[key]}} if key in self.checks else {}
            case ["v1", "jobs"]:
                return [{"ID": job["ID"], "Name": job["ID"], "Namespace": "default"} for job in self.jobs]
            case ["v1", "job", key]:
                return next((job for job in self.jobs if job["ID"] == key), None)
        return None

    def register(self, key: str, name: str, labels: list[str], port: int) -> None:
        self.index += 1
        found = [each for each in self.services.get(name, []) if each["ID"] != key]
        entry = {"ID": key, "ServiceName": name, "Namespace": "default", "AllocID": f"alloc-{key}", "Tags": labels}
        entry |= {"Address": "127.0.0.1", "Port": port, "CreateIndex": self.index, "ModifyIndex": self.index}
        self.services[name] = [*found, {**entry, "NodeID": "n", "JobID": name, "Datacenter": "dc1"}]
        self.tell()

    def deregister(self, name: str) -> None:
        self.index += 1
        del self.services[name]
        self.tell()

    def tell(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def close(self) -> None:
        self.ended = True
        self.tell()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def nomad() -> Iterator[Nomad]:
    with contextlib.closing(Nomad()) as found:
        yield found


def test_services_of_nomad_come_and_go(tmp_path: Path, nomad: Nomad) -> None:
    with contextlib.closing(Backend("one")) as one:
        port = int(one.url.rpartition(":")[2])
        nomad.register("a", "web", tags("web"), port)
        nomad.checks["alloc-a"] = "pending"
        endpoint = {"address": nomad.url, "token": "NOMAD-SECRET", "region": "eu"}
        settings = {"endpoint": endpoint, "watch": True, "refreshInterval": "300ms", "namespaces": ["default"]}
        with follows(tmp_path, nomad=settings) as lb:
            becomes(lb, "web", 503)  # it is not ready yet, which Traefik does not ask
            nomad.checks["alloc-a"] = "success"
            becomes(lb, "web", 200)
            assert servers(lb, "web@nomad-default") == [one.url]
            nomad.register("b", "new", tags("new"), port)
            becomes(lb, "new", 200)
            nomad.deregister("new")
            becomes(lb, "new", 503)  # for a while
            nomad.forbidden = {"/v1/services"}
            lb.logged("provider nomad-default: .*403.*what runs stays")
            assert ask(lb.port, "web")[0] == 200
            nomad.forbidden = set()
            nomad.register("c", "other", tags("other"), port)
            becomes(lb, "other", 200)
            assert "SECRET" not in lb.log + str(api(lb, "/api/rawdata")) + str(api(lb, "/api/providers"))
        assert {(query.get("namespace"), query.get("region"), token) for _, query, token in nomad.asked} == {
            ("default", "eu", "NOMAD-SECRET")
        }


def test_a_token_for_services_alone_is_enough_for_nomad(tmp_path: Path, nomad: Nomad) -> None:
    nomad.register("a", "web", tags("web"), 1)
    nomad.forbidden = {"/v1/event", "/v1/allocation"}
    settings = {"endpoint": {"address": nomad.url}, "watch": True, "refreshInterval": "200ms"}
    with follows(tmp_path, nomad=settings) as lb:
        becomes(lb, "web", 502)
        lb.logged("provider nomad: .*: events cannot be had: it answers 403: Permission denied")
        lb.logged("provider nomad: .*: the checks of allocations cannot be had")
        nomad.register("b", "late", tags("late"), 1)
        becomes(lb, "late", 502)


def test_services_of_groups_without_instances_answer_503(tmp_path: Path, nomad: Nomad) -> None:
    group = {"Name": "g", "Count": 0, "Tasks": [{"Name": "t", "Services": [{"Name": "idle", "Tags": tags("idle")}]}]}
    nomad.jobs = [{"ID": "j", "TaskGroups": [group]}]
    nomad.register("a", "web", tags("web"), 1)
    settings = {"endpoint": {"address": nomad.url}, "refreshInterval": "200ms", "allowEmptyServices": True}
    with follows(tmp_path, nomad=settings) as lb:
        becomes(lb, "idle", 503)
        assert ask(lb.port, "web")[0] == 502


def test_tags_of_nomad_beside_traefik(tmp_path: Path, nomad: Nomad) -> None:
    nomad.register("a1", "a", tags("a"), 81)
    nomad.register("a2", "a", tags("a"), 82)
    nomad.register("b", "Plain_Name", [" traefik.enable = true "], 84)
    nomad.register("b2", "Ca.nary", ["traefik.nomad.canary=true"], 89)
    nomad.register("b3", "typing", [*tags("typing"), "traefik.nomad.conary=true"], 90)
    nomad.register("c", "web", tags("w"), 85)
    nomad.register("d", "web", [*tags("wc"), "traefik.nomad.canary=true"], 86)
    nomad.register("e", "hidden", ["traefik.enable=false"], 87)
    nomad.register("f", "test", [*tags("test"), "old"], 88)
    shown = {}
    for name in ("traefik", "lbcore"):
        web, admin = free_port(), free_port()
        static = {
            "entryPoints": {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{admin}"}},
            "api": {"insecure": True},
            "providers": {
                "nomad": {
                    "endpoint": {"address": nomad.url},
                    "constraints": "!Tag(`old`)",
                    "defaultRule": "Host(`{{ lower .Name }}`)",
                }
            },
        }
        process = start(name, tmp_path, static)
        try:
            shown[name] = eventually(partial(seen, admin, 6), f"the objects in {name}")
        finally:
            process.kill()
            process.wait(30)
    assert shown["lbcore"] == shown["traefik"]
