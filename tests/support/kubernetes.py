"""An API server of Kubernetes for tests, on loopback: lists by pages, watches, writes, versions; and what goes wrong.

It knows no schemas and no controllers: what a test puts there is there. Real clients (client-go in Traefik) accept it.
"""

# ruff: noqa: E501
from __future__ import annotations

import base64
import contextlib
import copy
import http.server
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from lbcore.provider.kubernetes.watch import Snapshot
from tests.support.certificates import Files

Thing = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name

GROUPS = {
    "": ("v1", {"Service": "services", "Secret": "secrets", "ConfigMap": "configmaps", "Node": "nodes", "Namespace": "namespaces"}),
    "discovery.k8s.io": ("v1", {"EndpointSlice": "endpointslices"}),
    "networking.k8s.io": ("v1", {"Ingress": "ingresses", "IngressClass": "ingressclasses"}),
    "coordination.k8s.io": ("v1", {"Lease": "leases"}),
    "traefik.io": (
        "v1alpha1",
        {
            kind: f"{kind.lower()}s"
            for kind in (
                "IngressRoute", "IngressRouteTCP", "IngressRouteUDP", "Middleware", "MiddlewareTCP", "ServersTransport",
                "ServersTransportTCP", "TLSOption", "TLSStore", "TraefikService",
            )
        },
    ),
    "gateway.networking.k8s.io": (
        "v1",
        {
            "GatewayClass": "gatewayclasses", "Gateway": "gateways", "HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes",
            "TLSRoute": "tlsroutes", "TCPRoute": "tcproutes", "UDPRoute": "udproutes", "ReferenceGrant": "referencegrants",
            "BackendTLSPolicy": "backendtlspolicies",
        },
    ),
}  # fmt: skip
PLURALS = {kind: plural for _, kinds in GROUPS.values() for kind, plural in kinds.items()}
KINDS = {plural: kind for kind, plural in PLURALS.items()}
UNSCOPED = frozenset({"nodes", "namespaces", "ingressclasses", "gatewayclasses"})
PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?"
)
SCOPES = re.compile(r"/api/v1/namespaces(?:/(?P<name>[^/]+))?")


class Refusal(Exception):
    """An answer that is a Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        self.code = code
        self.body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}
        super().__init__(message)


class Kubernetes:
    """Objects, by plural, namespace and name, and all that has happened to them.

    forbidden  plurals that nobody may read.
    missing    plurals that are not installed.
    failing    an HTTP status for every request of a plural.
    tokens     that are accepted; none: all requests.
    asked      requests so far: method and path.
    written    writes so far that were not refused: method, path and object (None: not JSON).
    """

    def __init__(self, port: int = 0, tls: Files | None = None) -> None:
        self.forbidden: set[str] = set()
        self.missing: set[str] = set()
        self.failing: dict[str, int] = {}
        self.tokens: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.written: list[tuple[str, str, Any]] = []
        self.page_limit = 0
        self._objects: dict[Key, Thing] = {}
        self._events: list[tuple[int, str, Key, Thing]] = []
        self._version = 1000
        self._oldest = 1000  # versions before this one are forgotten
        self._changed = threading.Condition()
        self.cuts = 0
        self._ended = False
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self.port = self._server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    # What a test does

    def apply(self, text: str | Thing, namespace: str = "default") -> None:
        """Create or change the objects of YAML documents, or one object."""
        for thing in yaml.safe_load_all(text) if isinstance(text, str) else [text]:
            if thing:
                self._put(copy.deepcopy(thing), namespace)

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        with self._changed:
            key = (PLURALS[kind], "" if PLURALS[kind] in UNSCOPED else namespace, name)
            thing = self._objects.pop(key)
            self._note("DELETED", key, thing)

    def get(self, kind: str, name: str, namespace: str = "default") -> Thing:
        plural = PLURALS[kind]
        with self._changed:
            return copy.deepcopy(self._objects[(plural, "" if plural in UNSCOPED else namespace, name)])

    def forget_status(self, kind: str, name: str, namespace: str = "default") -> None:
        """Have an object be without a status."""
        with self._changed:
            key = (PLURALS[kind], "" if PLURALS[kind] in UNSCOPED else namespace, name)
            thing = copy.deepcopy(self._objects[key])
            thing.pop("status", None)
            self._objects[key] = thing
            self._note("MODIFIED", key, thing)

    def names(self, kind: str) -> list[str]:
        with self._changed:
            return sorted(name for plural, _, name in self._objects if plural == PLURALS[kind])

    def cut(self) -> None:
        """End all watches."""
        with self._changed:
            self.cuts += 1
            self._changed.notify_all()

    def forget(self) -> None:
        """What has happened so far cannot be watched any more."""
        with self._changed:
            self._events.clear()
            self._version += 1
            self._oldest = self._version
            self._changed.notify_all()

    def bookmark(self) -> None:
        """A version without an event, of which only bookmarks tell."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def count(self, method: str, part: str) -> int:
        """The requests so far whose path has a text."""
        return sum(1 for asked, path in list(self.asked) if asked == method and part in path)

    # The store

    def _put(self, thing: Thing, namespace: str) -> None:
        plural = PLURALS[thing["kind"]]
        about = thing.setdefault("metadata", {})
        if plural in UNSCOPED:
            about.pop("namespace", None)
        else:
            about.setdefault("namespace", namespace)
        if plural == "secrets" and "stringData" in thing:
            data = thing.pop("stringData").items()
            thing["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in data}
        if plural == "services":
            for port in thing["spec"].get("ports", ()):
                port.setdefault("protocol", "TCP")  # as an API server does it
        with self._changed:
            key = (plural, about.get("namespace", ""), about["name"])
            self.store(key, thing)

    def store(self, key: Key, thing: Thing) -> Thing:
        """Store an object under a new version, with the lock held."""
        before = self._objects.get(key)
        about = thing["metadata"]
        about.setdefault("uid", before["metadata"]["uid"] if before else f"uid-{self._version}")
        stamp = before["metadata"]["creationTimestamp"] if before else f"2026-01-01T00:00:{len(self._objects) % 60:02}Z"
        about.setdefault("creationTimestamp", stamp)
        generation = before["metadata"].get("generation", 1) if before else 1
        if before and before.get("spec") != thing.get("spec"):
            generation += 1
        about["generation"] = generation
        if before and "status" in before:
            thing.setdefault("status", before["status"])
        self._objects[key] = thing
        self._note("MODIFIED" if before else "ADDED", key, thing)
        return thing

    def _note(self, type_: str, key: Key, thing: Thing) -> None:
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, type_, key, copy.deepcopy(thing)))
        self._changed.notify_all()

    # Requests

    def check(self, plural: str, headers: Any) -> None:
        if self.tokens and headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if plural in self.missing or plural not in KINDS:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        if plural in self.forbidden:
            raise Refusal(403, "Forbidden", f'{plural} is forbidden: User "lb" cannot list resource "{plural}" at the cluster scope')
        if plural in self.failing:
            raise Refusal(self.failing[plural], "InternalError", "an injected failure")

    def list(self, plural: str, namespace: str, query: dict[str, str], version_of_api: str) -> Thing:
        with self._changed:
            found = [
                copy.deepcopy(thing)
                for key, thing in sorted(self._objects.items())
                if _matches(key, thing, plural, namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
            ]
            version = self._version
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        if self.page_limit:
            limit = min(limit or self.page_limit, self.page_limit)
        about: Thing = {"resourceVersion": str(version)}
        if limit and start + limit < len(found):
            about["continue"] = str(start + limit)
        page = found[start : start + limit] if limit else found[start:]
        return {"kind": f"{KINDS[plural]}List", "apiVersion": version_of_api, "metadata": about, "items": page}

    def watch(
        self,
        plural: str,
        namespace: str,
        query: dict[str, str],
        version_of_api: str,
        say: Callable[[Thing], None],
        cuts: int,
    ) -> None:
        """Say what happens until the time is over, or there have been more than `cuts` cuts."""
        selector, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        end = time.monotonic() + float(query.get("timeoutSeconds") or 3600)
        at = int(query.get("resourceVersion") or 0)
        if query.get("sendInitialEvents") == "true":
            with self._changed:
                things = [
                    copy.deepcopy(thing)
                    for key, thing in sorted(self._objects.items())
                    if _matches(key, thing, plural, namespace, selector, fields)
                ]
                at = self._version
            for thing in things:
                say({"type": "ADDED", "object": thing})
            say(_bookmark(plural, at, version_of_api, {"k8s.io/initial-events-end": "true"}))
        elif at < self._oldest:
            say({"type": "ERROR", "object": Refusal(410, "Expired", f"too old resource version: {at} ({self._oldest})").body})
            return
        while True:
            with self._changed:
                while (
                    self._version == at and cuts == self.cuts and not self._ended and (rest := end - time.monotonic()) > 0
                ):
                    self._changed.wait(min(rest, 1))
                if cuts != self.cuts or self._ended or time.monotonic() >= end:
                    return
                if at < self._oldest:
                    say({"type": "ERROR", "object": Refusal(410, "Expired", "too old resource version").body})
                    return
                events = [event for event in self._events if event[0] > at]
                at = self._version
            said = False
            for _, type_, key, thing in events:
                if _matches(key, thing, plural, namespace, selector, fields):
                    say({"type": type_, "object": thing})
                    said = True
                elif type_ == "MODIFIED" and _matches(key, thing, plural, namespace, "", fields):
                    say({"type": "DELETED", "object": thing})
                    said = True
            if not said and query.get("allowWatchBookmarks") in ("true", "1"):
                say(_bookmark(plural, at, version_of_api, {}))

    def read_one(self, plural: str, namespace: str, name: str) -> Thing:
        with self._changed:
            thing = self._objects.get((plural, namespace, name))
            if thing is None:
                raise Refusal(404, "NotFound", f'{plural} "{name}" not found')
            return copy.deepcopy(thing)

    def write(self, method: str, key: Key, sub: str, thing: Thing) -> Thing:
        plural, namespace, name = key
        with self._changed:
            name = name or thing["metadata"]["name"]
            key = (plural, namespace, name)
            before = self._objects.get(key)
            if method == "POST":
                if before is not None:
                    raise Refusal(409, "AlreadyExists", f'{plural} "{name}" already exists')
                thing["metadata"]["namespace"] = namespace
                return copy.deepcopy(self.store(key, thing))
            if before is None:
                raise Refusal(404, "NotFound", f'{plural} "{name}" not found')
            version = thing.get("metadata", {}).get("resourceVersion")
            if version and version != before["metadata"]["resourceVersion"]:
                raise Refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
            changed = copy.deepcopy(before)
            if sub == "status":
                changed["status"] = thing.get("status")
            else:
                changed = {**thing, "metadata": {**before["metadata"], **thing["metadata"]}}
            if {**changed, "metadata": 0} == {**before, "metadata": 0}:
                return copy.deepcopy(before)
            return copy.deepcopy(self.store(key, changed))


def _bookmark(plural: str, version: int, version_of_api: str, notes: dict[str, str]) -> Thing:
    about: Thing = {"resourceVersion": str(version), "creationTimestamp": None}
    if notes:
        about["annotations"] = notes
    return {"type": "BOOKMARK", "object": {"kind": KINDS[plural], "apiVersion": version_of_api, "metadata": about}}


def _matches(key: Key, thing: Thing, plural: str, namespace: str, selector: str, fields: str) -> bool:
    if key[0] != plural or (namespace and key[1] != namespace):
        return False
    labels = thing["metadata"].get("labels") or {}
    for term in filter(None, re.split(r",(?![^(]*\))", selector)):
        if (found := re.fullmatch(r"([^!=\s]+)\s*(!=|==|=)\s*(\S*)", term.strip())) is not None:
            if (labels.get(found[1]) == found[3]) == (found[2] == "!="):
                return False
        elif term.startswith("!"):
            if term[1:] in labels:
                return False
        elif term.strip() not in labels:
            return False
    for term in filter(None, fields.split(",")):
        name, _, value = term.partition("=")
        if name == "metadata.name" and thing["metadata"]["name"] != value.lstrip("="):
            return False
    return True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is none


def _handler(cluster: Kubernetes) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def answer(self, code: int, body: Thing) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def say(self, event: Thing) -> None:
            data = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def serve(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
            cluster.asked.append((self.command, self.path))
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            try:
                self.one(parts.path, query, body)
            except Refusal as refusal:
                with contextlib.suppress(OSError):
                    self.answer(refusal.code, refusal.body)

        def one(self, path: str, query: dict[str, str], body: bytes) -> None:
            if path == "/version":
                return self.answer(200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
            scope, found = SCOPES.fullmatch(path), PATH.fullmatch(path)
            if scope is not None:
                plural, namespace, name, sub, api = "namespaces", "", scope["name"] or "", "", "v1"
            elif found is not None:
                plural, namespace, name, sub = (found[key] or "" for key in ("plural", "namespace", "name", "sub"))
                api = f"{found['group'] or ''}/{found['version']}".lstrip("/")
            else:
                raise Refusal(404, "NotFound", "the server could not find the requested resource")
            cuts = cluster.cuts  # before the check: a cut in between ends what was allowed by it
            cluster.check(plural, self.headers)
            if self.command == "GET" and name:
                return self.answer(200, cluster.read_one(plural, namespace, name))
            if self.command == "GET" and query.get("watch") in ("1", "true"):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.flush()
                self.close_connection = True
                with contextlib.suppress(OSError):
                    cluster.watch(plural, namespace, query, api, self.say, cuts)
                    self.wfile.write(b"0\r\n\r\n")
                return None
            if self.command == "GET":
                return self.answer(200, cluster.list(plural, namespace, query, api))
            thing = None
            with contextlib.suppress(ValueError):
                thing = json.loads(body)
            if thing is None:
                # Statuses of built-in kinds come in another encoding from some clients, and say nothing here.
                cluster.written.append((self.command, path, thing))
                return self.answer(200, cluster.read_one(plural, namespace, name))
            made = cluster.write(self.command, (plural, namespace, name), sub, thing)
            cluster.written.append((self.command, path, thing))
            return self.answer(201 if self.command == "POST" else 200, made)

        do_GET = do_PUT = do_POST = serve

    return Handler


@contextlib.contextmanager
def kubernetes(port: int = 0, tls: Files | None = None) -> Iterator[Kubernetes]:
    """An API server without objects."""
    found = Kubernetes(port, tls)
    try:
        yield found
    finally:
        found.close()


def service(name: str, port: int | None = 80, namespace: str = "default", **spec: Any) -> Thing:
    """A service with one port."""
    ports = [] if port is None else [{"port": port, "targetPort": port, "protocol": "TCP"}]
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "clusterIP": "10.9.8.7", "ports": ports, **spec},
    }  # fmt: skip


def slice_of(name: str, addresses: list[str], port: int, namespace: str = "default", suffix: str = "a", **conditions: bool) -> Thing:
    """The endpoints of a service."""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{name}-{suffix}", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": conditions or {"ready": True}} for address in addresses],
    }  # fmt: skip


def route(name: str, match: str, services: list[Thing], namespace: str = "default", **spec: Any) -> Thing:
    """An IngressRoute with one route."""
    more = {key: spec.pop(key) for key in ("middlewares", "priority") if key in spec}
    return {
        "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": name, "namespace": namespace},
        "spec": {"entryPoints": ["web"], "routes": [{"match": match, "kind": "Rule", "services": services, **more}], **spec},
    }  # fmt: skip


def snapshot_of(*things: Thing | str, namespaces: frozenset[str] = frozenset()) -> Snapshot:
    """What a provider would know of objects and of YAML documents with such."""
    objects: dict[str, dict[tuple[str, str], Thing]] = {}
    for each in things:
        for thing in yaml.safe_load_all(each) if isinstance(each, str) else [each]:
            about = thing["metadata"]
            if PLURALS.get(thing["kind"]) not in UNSCOPED:
                about.setdefault("namespace", "default")
            if "stringData" in thing:
                thing["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in thing.pop("stringData").items()}
            objects.setdefault(thing["kind"], {})[(about.get("namespace", ""), about["name"])] = thing
    return Snapshot(objects, namespaces)
