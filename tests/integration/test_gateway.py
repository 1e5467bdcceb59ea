"""`providers.kubernetesGateway`: traffic and statuses, by the expectations of the conformance suite."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from lbcore.provider.kubernetes.gateway_status import FEATURES
from tests.integration.gateway_cases import CASES, CLASS, GRANT, ROUTES, Ask, route, to
from tests.support.certificates import Files, authority, certificate, signed
from tests.support.instance import Instance, eventually, running
from tests.support.kubernetes import Kubernetes, Thing, kubernetes, service, slice_of
from tests.support.ports import free_port
from tests.support.threaded import Quiet, ThreadedServer


class Echo(ThreadedServer):
    """A server that answers with what it was asked. `seen`: paths so far."""

    def __init__(self, name: str, tls: Files | None = None) -> None:
        self.seen: Counter[str] = Counter()
        echo = self

        class Handler(Quiet):
            def serve(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                echo.seen[self.path] += 1
                if self.path.endswith("/slow"):
                    time.sleep(1)
                headers: dict[str, str] = {}
                for key, value in self.headers.items():
                    headers[key.lower()] = f"{headers[key.lower()]}, {value}" if key.lower() in headers else value
                body = json.dumps({"server": name, "path": self.path, "headers": headers}).encode()
                with contextlib.suppress(OSError):
                    self.send_response(503 if self.path.endswith("-twice") and echo.seen[self.path] < 3 else 200)
                    for key, value in (("X-Header-Set", "server"), ("X-Header-Add", "server"), ("X-Header-Remove", "server")):
                        self.send_header(key, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = serve

        super().__init__(Handler, tls)


@dataclass
class World:
    cluster: Kubernetes
    lb: Instance
    ports: dict[str, int]
    echoes: dict[str, Echo]
    authority: Files

    def conditions(self, kind: str, name: str, namespace: str = "infra") -> dict[str, tuple[str, str]]:
        """The conditions of a route at its first parent."""
        parents = (self.cluster.get(kind, name, namespace).get("status") or {}).get("parents") or []
        return told(parents[0]["conditions"]) if parents else {}

    def becomes(self, kind: str, name: str, wanted: dict[str, tuple[str, str]], namespace: str = "infra") -> None:
        eventually(lambda: wanted.items() <= self.conditions(kind, name, namespace).items(), f"{name}: {wanted}, not {self.conditions(kind, name, namespace)}")


def told(conditions: list[Thing]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in conditions}


def policy(name: str, section: str, created: str = "2026-01-01T00:00:00Z", **validation: Any) -> Thing:
    spec = {"targetRefs": [{"group": "", "kind": "Service", "name": "v1", "sectionName": section}], "validation": {"hostname": "backend.test", **validation}}
    return {"apiVersion": CLASS, "kind": "BackendTLSPolicy", "metadata": {"name": name, "namespace": "infra", "creationTimestamp": created}, "spec": spec}


def gateway(name: str, *listeners: Thing, namespace: str = "infra", of: str = "ours") -> Thing:
    return {"apiVersion": CLASS, "kind": "Gateway", "metadata": {"name": name, "namespace": namespace}, "spec": {"gatewayClassName": of, "listeners": list(listeners)}}


def listener(name: str, port: int, protocol: str = "HTTP", all_namespaces: bool = True, **more: Any) -> Thing:
    return {"name": name, "port": port, "protocol": protocol, "allowedRoutes": {"namespaces": {"from": "All" if all_namespaces else "Same"}}, **more}


def web_service(name: str, namespace: str, echo: Echo, tls: Echo | None = None) -> list[Thing]:
    kinds = {"plain": (8080, ""), "h2c": (8081, "kubernetes.io/h2c"), "ws": (8082, "kubernetes.io/ws"), "odd": (8083, "example.com/x"), "tls": (8443, ""), "badca": (8444, "")}
    ports = [{"name": key, "port": port, **({"appProtocol": said} if said else {})} for key, (port, said) in kinds.items()]
    slices = slice_of(name, ["127.0.0.1"], 1, namespace)
    slices["ports"] = [{"name": key, "port": tls.port if key in ("tls", "badca") and tls is not None else echo.port} for key in kinds]
    return [service(name, None, namespace, ports=ports), slices]


def secret_of(files: Files, name: str, namespace: str) -> Thing:
    data = {"tls.crt": files.certificate.read_text(), "tls.key": files.key.read_text()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": data, "type": "kubernetes.io/tls"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    root = authority(folder, "root")
    pair, own = certificate(folder, "secure", "*.secure.test"), signed(folder, root, "backend", "DNS:backend.test")
    ports = {name: free_port() for name in ("http", "https", "tls", "admin", "tcp")}
    udp = free_port()
    with contextlib.ExitStack() as stack:
        echoes = {name: Echo(name, own if name == "tls" else None) for name in ("v1", "v2", "v3", "web", "tls")}
        for echo in echoes.values():
            stack.callback(echo.close)
        cluster = stack.enter_context(kubernetes())
        for name in ("infra", "apps"):
            cluster.apply({"kind": "Namespace", "metadata": {"name": name, "labels": {"is": name}}})
        cluster.apply({"apiVersion": CLASS, "kind": "GatewayClass", "metadata": {"name": "ours"}, "spec": {"controllerName": "example.com/lb"}})
        cluster.apply({"apiVersion": CLASS, "kind": "GatewayClass", "metadata": {"name": "theirs"}, "spec": {"controllerName": "example.com/other"}})
        secure = {"tls": {"certificateRefs": [{"name": "secure"}]}, "hostname": "*.secure.test"}
        cluster.apply(gateway("same", listener("http", ports["http"]), listener("https", ports["https"], "HTTPS", **secure)))
        hosts = ("very.specific.com", "*.wildcard.io", "*.specific.com")
        cluster.apply(gateway("hosts", *(listener(f"l{at}", ports["http"], hostname=host, all_namespaces=False) for at, host in enumerate(hosts))))
        cluster.apply(gateway("streams", listener("tls", ports["tls"], "TLS", tls={"mode": "Passthrough"}), listener("tcp", ports["tcp"], "TCP"), listener("udp", udp, "UDP")))
        cluster.apply(secret_of(pair, "secure", "infra"))
        for name in ("v1", "v2", "v3"):
            for thing in web_service(name, "infra", echoes[name], echoes["tls"]):
                cluster.apply(thing)
        for name in ("web", "other"):
            for thing in web_service(name, "apps", echoes["web"]):
                cluster.apply(thing)
        cluster.apply(service("empty", 8080, "infra"))
        grant = {"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "infra"}], "to": [{"group": "", "kind": "Service", "name": "web"}]}
        cluster.apply({**GRANT, "metadata": {"name": "grant", "namespace": "apps"}, "spec": grant})
        cluster.apply({"kind": "ConfigMap", "metadata": {"name": "root", "namespace": "infra"}, "data": {"ca.crt": root.certificate.read_text()}})
        cluster.apply(policy("good", "tls", caCertificateRefs=[{"group": "", "kind": "ConfigMap", "name": "root"}]))
        cluster.apply(policy("newer", "tls", "2026-02-02T00:00:00Z", wellKnownCACertificates="System"))
        cluster.apply(policy("bad", "badca", caCertificateRefs=[{"group": "", "kind": "ConfigMap", "name": "none"}]))
        for thing in ROUTES:
            cluster.apply(thing)
        cluster.apply(route("db", ["db.test"], [{"backendRefs": to("v1", port=8443)}], kind="TLSRoute", parents=[{"name": "streams"}]))
        cluster.apply(route("raw", [], [{"backendRefs": to("v2")}], kind="TCPRoute", parents=[{"name": "streams"}]))
        cluster.apply(route("dns", [], [{"backendRefs": to("v2")}], kind="UDPRoute", parents=[{"name": "streams"}]))
        points = {name: {"address": f"127.0.0.1:{port}"} for name, port in ports.items()}
        points["udp"] = {"address": f"127.0.0.1:{udp}/udp"}
        options = {"endpoint": cluster.url, "controllerName": "example.com/lb", "statusAddress": {"ip": "192.0.2.1"}, "experimentalChannel": True}
        providers = {"providersThrottleDuration": "0s", "kubernetesGateway": options}
        static = {"entryPoints": points, "providers": providers, "api": {}}
        lb = stack.enter_context(running(folder, None, workers=1, static=static))
        found = World(cluster, lb, ports, echoes, root)
        for name in ("simple", "grpc", "session"):
            found.becomes("GRPCRoute" if name == "grpc" else "HTTPRoute", name, {"Accepted": ("True", "Accepted")})
        eventually(lambda: ask(found, Ask("simple.test"))[0] == 200, "the first route is served")
        yield found


def ask(world: World, wanted: Ask) -> tuple[int, dict[str, str], Any]:
    port = world.ports[wanted.at]
    if wanted.at == "https":
        context = ssl._create_unverified_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
        raw = socket.create_connection(("127.0.0.1", port), timeout=30)
        connection.sock = context.wrap_socket(raw, server_hostname=wanted.host)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request(wanted.method, wanted.path, headers={"Host": f"{wanted.host}:{port}", **wanted.headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        headers: dict[str, str] = {}
        for key, value in answer.getheaders():
            headers[key.lower()] = f"{headers[key.lower()]}, {value}" if key.lower() in headers else value
    return answer.status, headers, json.loads(text) if text.startswith("{") else None


@pytest.mark.parametrize("name", CASES)
def test_traffic(world: World, name: str) -> None:
    for wanted in CASES[name]:
        status, headers, seen = ask(world, wanted)
        assert status == wanted.status, wanted
        if wanted.server and wanted.method != "HEAD":
            assert seen["server"] == wanted.server, wanted
        for key, value in wanted.seen.items():
            assert seen["headers"].get(key) == value, (wanted, seen)
        if wanted.asked:
            assert seen["path"] == wanted.asked, wanted
        for key, expected in wanted.told.items():
            if expected is not None:
                expected = expected.replace("{host}", wanted.host).replace("{port}", str(world.ports[wanted.at]))
            assert headers.get(key) == expected, (wanted, headers)


RESOLVED, ACCEPTED = ("True", "ResolvedRefs"), ("True", "Accepted")
STATUSES: dict[str, dict[str, tuple[str, str]]] = {
    "simple": {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED},
    "hosts-1": {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED},
    "hosts-3": {"Accepted": ("False", "NoMatchingListenerHostname"), "ResolvedRefs": RESOLVED},
    "granted": {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED},
    "not-granted": {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "RefNotPermitted")},
    "partly": {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "RefNotPermitted")},
    "unknown-kind": {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "InvalidKind")},
    "missing": {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "BackendNotFound")},
    "wrong-section": {"Accepted": ("False", "NoMatchingParent")},
    "wrong-port": {"Accepted": ("False", "NoMatchingParent")},
    "unsupported": {"Accepted": ACCEPTED, "PartiallyInvalid": ("True", "UnsupportedValue")},
    "unsupported-all": {"Accepted": ("False", "UnsupportedValue")},
    "protocols": {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "UnsupportedProtocol")},
}  # fmt: skip


def test_statuses_of_routes(world: World) -> None:
    for name, wanted in STATUSES.items():
        world.becomes("HTTPRoute", name, wanted)
    world.becomes("HTTPRoute", "not-allowed", {"Accepted": ("False", "NotAllowedByListeners")}, "apps")
    for kind, name in (("TLSRoute", "db"), ("TCPRoute", "raw"), ("UDPRoute", "dns"), ("GRPCRoute", "grpc")):
        world.becomes(kind, name, {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED})
    (parent,) = world.cluster.get("HTTPRoute", "simple", "infra")["status"]["parents"]
    assert parent["controllerName"] == "example.com/lb" and parent["parentRef"] == {"name": "same", "namespace": "infra"}
    assert all(each["observedGeneration"] == 1 and each["lastTransitionTime"] for each in parent["conditions"])


def test_statuses_of_gateways_and_classes(world: World) -> None:
    def status(kind: str, name: str, namespace: str = "infra") -> Any:
        return world.cluster.get(kind, name, namespace).get("status") or {}

    eventually(lambda: told(status("GatewayClass", "ours").get("conditions", [])).get("Accepted") == ACCEPTED, "the class is accepted")
    assert [each["name"] for each in status("GatewayClass", "ours")["supportedFeatures"]] == sorted(FEATURES)
    assert "status" not in world.cluster.get("GatewayClass", "theirs")
    eventually(lambda: status("Gateway", "streams").get("listeners"), "all Gateways have statuses")
    same = status("Gateway", "same")
    assert told(same["conditions"]) == {"Accepted": ACCEPTED, "Programmed": ("True", "Programmed")}
    assert same["addresses"] == [{"type": "IPAddress", "value": "192.0.2.1"}]
    http_, https = same["listeners"]
    assert [kind["kind"] for kind in http_["supportedKinds"]] == ["HTTPRoute", "GRPCRoute"]
    assert told(http_["conditions"])["Programmed"] == ("True", "Programmed") and https["attachedRoutes"] == 1
    hosts = {each["name"]: each["attachedRoutes"] for each in status("Gateway", "hosts")["listeners"]}
    assert hosts == {"l0": 2, "l1": 0, "l2": 2}


GATEWAYS: dict[str, tuple[Thing, dict[str, tuple[str, str]], dict[str, tuple[str, str]]]] = {
    "GatewayInvalidRouteKind": ({"allowedRoutes": {"kinds": [{"kind": "Nope"}, {"kind": "HTTPRoute"}]}}, {"ResolvedRefs": ("False", "InvalidRouteKinds")}, {"Accepted": ("True", "ListenersNotValid")}),
    "no kind": ({"allowedRoutes": {"kinds": [{"kind": "Nope"}]}}, {"ResolvedRefs": ("False", "InvalidRouteKinds"), "Programmed": ("False", "Invalid")}, {"Accepted": ("False", "ListenersNotValid")}),
    "GatewayInvalidTLSConfiguration": ({"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "nowhere"}]}}, {"ResolvedRefs": ("False", "InvalidCertificateRef"), "Programmed": ("False", "Invalid")}, {"Programmed": ("False", "Invalid")}),
    "wrong group": ({"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "secure", "group": "wrong.com", "kind": "X"}]}}, {"ResolvedRefs": ("False", "InvalidCertificateRef")}, {}),
    "GatewaySecretMissingReferenceGrant": ({"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "secure", "namespace": "apps"}]}}, {"ResolvedRefs": ("False", "RefNotPermitted")}, {}),
    "no entry point": ({"port": 1}, {"Accepted": ("False", "PortUnavailable")}, {}),
    "unknown protocol": ({"protocol": "SCTP"}, {"Accepted": ("False", "UnsupportedProtocol")}, {}),
    "TLS for HTTP": ({"tls": {}}, {"Accepted": ("False", "Invalid")}, {}),
    "HTTPS passed through": ({"protocol": "HTTPS", "tls": {"mode": "Passthrough"}}, {"Accepted": ("False", "UnsupportedProtocol")}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", GATEWAYS)
def test_listeners_that_cannot_be_used(world: World, name: str) -> None:
    changes, wanted, of_gateway = GATEWAYS[name]
    world.cluster.apply(gateway("case", {**listener("l", world.ports["https" if changes.get("protocol") == "HTTPS" else "http"]), **changes}))
    try:

        def status() -> bool:
            found = world.cluster.get("Gateway", "case", "infra").get("status") or {}
            first = (found.get("listeners") or [{}])[0]
            return wanted.items() <= told(first.get("conditions") or []).items() and of_gateway.items() <= told(found.get("conditions") or []).items()

        eventually(status, f"{wanted} {of_gateway}")
    finally:
        world.cluster.delete("Gateway", "case", "infra")


def test_weights(world: World) -> None:
    servers = Counter(ask(world, Ask("weights.test"))[2]["server"] for _ in range(40))
    assert servers == {"v1": 30, "v2": 10}
    statuses = Counter(ask(world, Ask("weights-bad.test"))[0] for _ in range(20))
    assert statuses == {200: 10, 500: 10}


def test_mirrors(world: World) -> None:
    v2, v3 = world.echoes["v2"], world.echoes["v3"]
    for path, copies in (("/one/a", (1, 0)), ("/two/a", (1, 1)), ("/none/a", (0, 0)), ("/lost/a", (0, 0))):
        assert ask(world, Ask("mirror.test", path))[2]["server"] == "v1"
        eventually(lambda path=path, copies=copies: (v2.seen[path], v3.seen[path]) == copies, f"{path}: {copies}")
    world.becomes("HTTPRoute", "mirror", {"Accepted": ACCEPTED, "ResolvedRefs": ("False", "BackendNotFound")})


def test_sessions(world: World) -> None:
    _, headers, seen = ask(world, Ask("session.test"))
    cookies = [part.partition(";")[0] for part in headers["set-cookie"].split(", ")]
    assert {cookie.partition("=")[0] for cookie in cookies} == {"sid", "sid_backend"}
    again = [ask(world, Ask("session.test", headers={"Cookie": "; ".join(cookies)}))[2]["server"] for _ in range(6)]
    assert set(again) == {seen["server"]}


def test_policies_of_tls_to_backends(world: World) -> None:
    def status(name: str) -> dict[str, tuple[str, str]]:
        ancestors = (world.cluster.get("BackendTLSPolicy", name, "infra").get("status") or {}).get("ancestors") or []
        return told(ancestors[0]["conditions"]) if ancestors else {}

    eventually(lambda: status("good") == {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED}, "the older policy is accepted")
    eventually(lambda: status("newer") == {"Accepted": ("False", "Conflicted")}, "the newer one is in conflict")
    eventually(lambda: status("bad") == {"Accepted": ("False", "NoValidCACertificate"), "ResolvedRefs": ("False", "InvalidCACertificateRef")}, "one has no authority")
    seen = ask(world, Ask("protocols.test", "/tls"))[2]
    assert seen["server"] == "tls"


def test_streams(world: World) -> None:
    """Of TLS that ends at the backend, and of connections without a name."""
    context = ssl.create_default_context(cafile=str(world.authority.certificate))
    with socket.create_connection(("127.0.0.1", world.ports["tls"]), timeout=30) as raw:
        context.check_hostname = False
        with context.wrap_socket(raw, server_hostname="db.test") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b'"server": "tls"' in connection.recv(65536) + connection.recv(65536)
    status, _, seen = ask(world, Ask("any", at="tcp"))
    assert (status, seen["server"]) == (200, "v2")


def test_grpc(world: World) -> None:
    names = {}
    servers = []
    for name in ("one", "two"):

        class Answers(grpc.GenericRpcHandler):
            def __init__(self, name: str) -> None:
                self.name = name

            def service(self, details: Any) -> Any:
                return grpc.unary_unary_rpc_method_handler(lambda request, context: self.name.encode())

        server = grpc.server(ThreadPoolExecutor(2), handlers=[Answers(name)])
        names[name] = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        world.cluster.apply(service(f"grpc-{name}", 9000, "infra"))
        world.cluster.apply(slice_of(f"grpc-{name}", ["127.0.0.1"], names[name], "infra"))
    rules = [
        {"matches": [{"method": {"service": "a.Echo", "method": "Echo"}}], "backendRefs": to("grpc-one", port=9000)},
        {"matches": [{"method": {"service": "a.Echo"}}], "backendRefs": to("grpc-two", port=9000)},
        {"matches": [{"headers": [{"name": "version", "value": "two"}]}], "backendRefs": to("grpc-two", port=9000)},
    ]
    world.cluster.apply(route("calls", ["calls.test"], rules, kind="GRPCRoute"))
    try:
        world.becomes("GRPCRoute", "calls", {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED})
        options = (("grpc.default_authority", "calls.test"),)
        with grpc.insecure_channel(f"127.0.0.1:{world.ports['http']}", options=options) as channel:

            def call(method: str, **metadata: str) -> Any:
                try:
                    return channel.unary_unary(method)(b"", timeout=30, metadata=tuple(metadata.items()))
                except grpc.RpcError as error:
                    return error.code()

            eventually(lambda: call("/a.Echo/Echo") == b"one", "the method is routed")
            assert call("/a.Echo/Other") == b"two" and call("/b.Any/Any", version="two") == b"two"
            assert call("/x.a.Echo/Echo") == grpc.StatusCode.UNIMPLEMENTED
    finally:
        world.cluster.delete("GRPCRoute", "calls", "infra")
        for server in servers:
            server.stop(None)


def test_a_route_that_changes_is_seen_and_its_generation_told(world: World) -> None:
    """HTTPRouteObservedGenerationBump; and statuses of other controllers stay."""
    world.cluster.apply(route("moving", ["moving.test"], [{"backendRefs": to("v1")}]))
    world.becomes("HTTPRoute", "moving", {"Accepted": ACCEPTED})
    foreign = {"parentRef": {"name": "other"}, "controllerName": "example.com/other", "conditions": []}
    thing = world.cluster.get("HTTPRoute", "moving", "infra")
    thing["status"]["parents"].insert(0, foreign)
    thing["spec"]["rules"][0]["backendRefs"] = to("v2")
    world.cluster.apply(thing)

    def is_seen() -> bool:
        parents = world.cluster.get("HTTPRoute", "moving", "infra")["status"]["parents"]
        return len(parents) == 2 and parents[0] == foreign and all(each["observedGeneration"] == 2 for each in parents[1]["conditions"])

    eventually(is_seen, "the new generation")
    eventually(lambda: ask(world, Ask("moving.test"))[2]["server"] == "v2", "the new backend")
    world.cluster.delete("HTTPRoute", "moving", "infra")
    eventually(lambda: ask(world, Ask("moving.test"))[0] == 404, "it is gone")


def test_a_route_that_has_left_our_gateways_says_nothing_of_them(world: World) -> None:
    def parents() -> list[Thing]:
        found: list[Thing] = (world.cluster.get("HTTPRoute", "leaving", "infra").get("status") or {}).get("parents") or []
        return found

    world.cluster.apply(route("leaving", ["leaving.test"], [{"backendRefs": to("v1")}], parents=[{"name": "same"}, {"name": "hosts"}]))
    eventually(lambda: len(parents()) == 2, "it is told of both")
    twin = {"parentRef": {"name": "elsewhere"}, "controllerName": "example.com/lb", "conditions": []}
    foreign = {"parentRef": {"name": "other"}, "controllerName": "example.com/other", "conditions": []}
    thing = world.cluster.get("HTTPRoute", "leaving", "infra")
    thing["status"]["parents"] += [foreign, twin]
    thing["spec"]["parentRefs"] = [{"name": "elsewhere"}]
    world.cluster.apply(thing)
    eventually(lambda: parents() == [foreign, twin], "what it was at our Gateways is gone")
    world.cluster.delete("HTTPRoute", "leaving", "infra")


def test_a_policy_that_is_for_nothing_of_ours_any_more_says_nothing_of_our_gateways(world: World) -> None:
    def ancestors() -> list[Thing]:
        status = world.cluster.get("BackendTLSPolicy", "bad", "infra").get("status") or {}
        found: list[Thing] = status.get("ancestors") or []
        return found

    eventually(lambda: len(ancestors()) == 1, "it is told of the Gateway")
    foreign = {"ancestorRef": {"name": "other"}, "controllerName": "example.com/other", "conditions": []}
    thing = world.cluster.get("BackendTLSPolicy", "bad", "infra")
    before = thing["spec"]["targetRefs"]
    thing["status"]["ancestors"].append(foreign)
    thing["spec"]["targetRefs"] = [{"group": "", "kind": "Service", "name": "unused"}]
    world.cluster.apply(thing)
    eventually(lambda: ancestors() == [foreign], "what it was at our Gateway is gone")
    thing = world.cluster.get("BackendTLSPolicy", "bad", "infra")
    thing["spec"]["targetRefs"], thing["status"]["ancestors"] = before, []
    world.cluster.apply(thing)
    eventually(lambda: len(ancestors()) == 1, "it is told of the Gateway again")


def test_statuses_are_written_once(world: World) -> None:
    """What says nothing new is not written: else writers and watchers would follow each other for ever."""

    def writes(name: str) -> int:
        return sum(1 for _, path, _ in list(world.cluster.written) if path.endswith(f"/httproutes/{name}/status"))

    world.cluster.apply(route("last", ["last.test"], [{"backendRefs": to("v1")}]))
    world.becomes("HTTPRoute", "last", {"Accepted": ACCEPTED})
    eventually(lambda: ask(world, Ask("last.test"))[0] == 200, "it is served")
    world.cluster.apply(service("unrelated", 80, "infra"))  # has everything read again
    world.cluster.apply(route("last", ["last.test"], [{"backendRefs": to("v2")}]))
    eventually(lambda: world.cluster.get("HTTPRoute", "last", "infra")["status"]["parents"][0]["conditions"][0]["observedGeneration"] == 2, "the change is told")
    assert writes("last") == 2 and writes("simple") == 1
