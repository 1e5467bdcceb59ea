"""What a configuration consists of, as nodes that refer to each other: for the dashboard, and for searches. No I/O."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lbcore.api.condition import redirects
from lbcore.api.internal import internal_middlewares, internal_routers, internal_services
from lbcore.api.runtime import LAYERS, Runtime
from lbcore.api.view import TYPES
from lbcore.config.difference import qualify
from lbcore.config.dynamic import Router
from lbcore.config.network import port_of
from lbcore.config.resolved import entry_points_of, tcp_entry_points_of, tls_of, udp_entry_points_of
from lbcore.config.tcp import TcpRouter
from lbcore.config.udp import UdpRouter
from lbcore.config.validate.routers import unknown_entry_points
from lbcore.config.validate.tcp import unknown_tcp_points
from lbcore.config.validate.udp import unknown_udp_points
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.compile_own import router_identity
from lbcore.routing.compile_tcp import priority_of, tcp_identity, tcp_router_identity
from lbcore.routing.compile_udp import udp_identity
from lbcore.routing.failover import Failover
from lbcore.routing.guarded import Guarded
from lbcore.routing.member import Member
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.service import Service
from lbcore.routing.sticky import cookie_name

Node = dict[str, Any]
PREFIX = {"http": "", "tcp": "tcp", "udp": "udp"}  # of the kinds in `Disabled`


@dataclass(slots=True)
class Part:
    """A service that runs, with its members in the order of the configuration.

    slots   of the members' counters.
    leaves  slots of all servers below, if each belongs to this service alone; else empty.
    users   ids of the routers that lead to it.
    above   ids of the services that it is a member of.
    spare   it has no servers, and no request comes that far: all its routers redirect.
    """

    id: str
    layer: str
    service: Service
    members: list[tuple[str, Member]] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    spare: bool = False


@dataclass(slots=True)
class Structure:
    """All nodes of a configuration.

    version        changes with the configuration.
    texts          of nodes by id, in lower case, for searches.
    units          of members, and of services and routers: by slot, the id of the service or router that it belongs to.
    parts          the services that run, by id.
    router_slots   by id.
    peculiar       services and routers that differ from idle ones although nothing happens.
    """

    version: str
    nodes: dict[str, Node]
    texts: dict[str, str]
    units: tuple[dict[int, str], dict[int, str]]
    parts: dict[str, Part]
    router_slots: dict[str, int]
    peculiar: list[str]
    _packed: list[bytes] = field(default_factory=list)

    def packed(self) -> bytes:
        """The JSON text of all nodes, compressed by gzip."""
        if not self._packed:
            # Object by object, so that other threads get their turns.
            texts = (json.dumps(node, separators=(",", ":")) for node in self.nodes.values())
            body = f'{{"version":{json.dumps(self.version)},"nodes":[{",".join(texts)}]}}'.encode()
            self._packed.append(gzip.compress(body, 6, mtime=0))
        return self._packed[0]


def structure_of(runtime: Runtime) -> Structure:
    """The structure of the configuration in force, made once for each."""
    found: Structure = runtime.derived("structure", lambda: _Maker(runtime).make())
    return found


def inner_of(service: Service) -> Service:
    """A service without the middlewares in front of it."""
    return service.service if isinstance(service, Guarded) else service


def members_of(service: Service) -> list[tuple[str, Member]]:
    """What a service that runs chooses among, by key as written."""
    inner = inner_of(service)
    if isinstance(inner, Balancer):
        return [(member.key, member) for member in inner.members]
    if isinstance(inner, Failover):
        return [(child.key, child) for child in (inner.main, inner.fallback)]
    if isinstance(inner, Mirroring):
        return [(inner.main.key, inner.main), *((mirror.child.key, mirror.child) for mirror in inner.mirrors)]
    return []


class _Maker:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.nodes: dict[str, Node] = {}
        self.parts: dict[str, Part] = {}
        self.units: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.router_slots: dict[str, int] = {}
        self.peculiar: dict[str, None] = {}

    def make(self) -> Structure:
        for nodes in (self.entry_points, self.routers, self.middlewares, self.services, self.members):
            for node in nodes():
                self.nodes[node["id"]] = node
        self.link()
        texts = {id: _text(node) for id, node in self.nodes.items()}
        version = f"{int(self.runtime.started_unix_s * 1000):x}-{self.runtime.reload.generation}"
        return Structure(version, self.nodes, texts, self.units, self.parts, self.router_slots, list(self.peculiar))

    def entry_points(self) -> Iterator[Node]:
        for name, point in self.runtime.static.entry_points.items():
            node: Node = {"id": f"entrypoints/{name}", "kind": "entrypoint", "name": name, "provider": "static"}
            node |= {"status": "enabled", "address": point.address, "protocol": "udp" if point.is_udp else "tcp"}
            bound = self.runtime.bound.get(name, "")
            if bound and port_of(bound) != port_of(point.address):
                node["bound"] = bound.removesuffix("/udp")
            if point.http3 is not None:
                node["http3"] = True
            if point.http.tls is not None:
                node["tls"] = True
            yield node

    def named(self, layer: str, kind: str, name: str, strange: Sequence[str] = ()) -> Node:
        """The fields that all objects have."""
        singular = kind.removesuffix("s")
        prefix = PREFIX[layer]
        errors, kept = self.runtime.findings(f"{prefix}{singular.capitalize()}" if prefix else singular, name)
        node: Node = {"id": f"{layer}/{kind}/{name}", "kind": singular, "layer": layer, "name": name}
        node["provider"] = name.rpartition("@")[2]
        found = [*errors, *kept, *([] if errors else strange)]
        node["status"] = "disabled" if errors else "warning" if found else "enabled"
        if found:
            node["errors"] = found
        if kept:
            node["kept"] = True
        if errors or kept:
            self.peculiar[node["id"]] = None
        return node

    def routers(self) -> Iterator[Node]:
        static, slots = self.runtime.static, self.runtime.slots.services
        for layer in LAYERS:
            for name, router in self.runtime.routers_of(layer).items():
                node: Node
                if isinstance(router, Router):
                    using = entry_points_of(router, static)
                    node = self.named(layer, "routers", name, unknown_entry_points(router, static))
                    node |= {"rule": router.rule, "priority": router.priority or len(router.rule.encode())}
                    if any(tls_of(router, point, static) is not None for point in using):
                        node["tls"] = True
                    if router.parent_refs:
                        node["parents"] = [f"http/routers/{qualify(parent, name)}" for parent in router.parent_refs]
                    slot = slots.get(router_identity(name))
                elif isinstance(router, TcpRouter):
                    using = tcp_entry_points_of(router, static)
                    node = self.named(layer, "routers", name, unknown_tcp_points(router, static))
                    node |= {"rule": router.rule, "priority": priority_of(router)}
                    if router.tls is not None:
                        node["tls"] = True
                    slot = slots.get(tcp_router_identity(name))
                else:
                    assert isinstance(router, UdpRouter)
                    using = udp_entry_points_of(router, static)
                    node = self.named(layer, "routers", name, unknown_udp_points(router, static))
                    slot = None
                middlewares = [] if isinstance(router, UdpRouter) else router.middlewares
                node["entryPoints"] = [f"entrypoints/{point}" for point in using]
                node["middlewares"] = [f"{layer}/middlewares/{qualify(each, name)}" for each in middlewares]
                node["service"] = f"{layer}/services/{qualify(router.service, name)}" if router.service else ""
                if slot is not None:
                    self.router_slots[node["id"]] = slot
                    self.units[1][slot] = node["id"]
                yield node
        for name, view in internal_routers(static, self.runtime.own_errors).items():
            node = self.named("http", "routers", name)
            if view["status"] == "disabled":
                node |= {"status": "disabled", "errors": view["error"]}
            steps = [f"http/middlewares/{step}" for step in view.get("middlewares", ())]
            node |= {"rule": view["rule"], "priority": view["priority"], "middlewares": steps}
            node["entryPoints"] = [f"entrypoints/{point}" for point in view["using"]]
            node["service"] = f"http/services/{view['service']}"
            if (slot := slots.get(router_identity(name))) is not None:
                self.router_slots[node["id"]] = slot
                self.units[1][slot] = node["id"]
            yield node

    def middlewares(self) -> Iterator[Node]:
        for name, middleware in self.runtime.dynamic.http.middlewares.items():
            kind = middleware.kinds[0].replace("_", "") if middleware.kinds else ""
            yield self.named("http", "middlewares", name) | {"type": kind, "usedBy": []}
        for name, view in internal_middlewares(self.runtime.static).items():
            yield self.named("http", "middlewares", name) | {"type": view["type"], "usedBy": []}
        for name, of_tcp in self.runtime.dynamic.tcp.middlewares.items():
            kind = next((key for key in type(of_tcp).model_fields if getattr(of_tcp, key) is not None), "")
            yield self.named("tcp", "middlewares", name) | {"type": kind.replace("_", ""), "usedBy": []}

    def services(self) -> Iterator[Node]:
        dynamic, table = self.runtime.dynamic, self.runtime.table
        for name, config in dynamic.http.services.items():
            node = self.named("http", "services", name) | {"type": TYPES[config.kinds[0]] if config.kinds else ""}
            node |= {"members": [f"http/members/{name}|{key}" for key in config.members], "usedBy": []}
            if config.middlewares:
                node["middlewares"] = [f"http/middlewares/{qualify(each, name)}" for each in config.middlewares]
            parent = config.load_balancer or config.weighted
            if parent is not None and parent.sticky is not None and parent.sticky.cookie is not None:
                node["sticky"] = cookie_name(parent.sticky.cookie.name, name)
            if config.load_balancer is not None:
                balancer = config.load_balancer
                node["strategy"] = balancer.strategy
                node |= {key: True for key, value in (("healthCheck", balancer.health_check),
                         ("passiveHealthCheck", balancer.passive_health_check)) if value is not None}  # fmt: skip
            elif config.watches:
                node["healthCheck"] = True
            yield self.running(node, name, "http", name, table.services if table else {})
        for name, of_tcp in dynamic.tcp.services.items():
            node = self.named("tcp", "services", name)
            node |= {"type": "loadbalancer" if of_tcp.load_balancer is not None else "weighted", "usedBy": []}
            node["members"] = [f"tcp/members/{name}|{key}" for key in of_tcp.members]
            if of_tcp.load_balancer is not None and of_tcp.load_balancer.health_check is not None:
                node["healthCheck"] = True
            yield self.running(node, tcp_identity(name), "tcp", name, table.tcp_services if table else {})
        for name, of_udp in dynamic.udp.services.items():
            node = self.named("udp", "services", name)
            node |= {"type": next((kind.replace("_", "") for kind in of_udp.kinds), ""), "usedBy": []}
            node["members"] = [f"udp/members/{name}|{key}" for key in of_udp.members]
            if of_udp.load_balancer is not None and of_udp.load_balancer.health_check is not None:
                node["healthCheck"] = True
            yield self.running(node, udp_identity(name), "udp", name, table.udp_services if table else {})
        for name in internal_services(self.runtime.static, {}):
            yield self.named("http", "services", name) | {"type": "internal", "members": [], "usedBy": []}

    def running(self, node: Node, identity: str, layer: str, name: str, services: Mapping[str, Service]) -> Node:
        """Enter a service that runs."""
        service = services.get(name)
        slot = self.runtime.slots.services.get(identity)
        if slot is not None:
            self.units[1][slot] = node["id"]
        if service is not None:
            part = Part(node["id"], layer, service)
            part.members = [(f"{layer}/members/{name}|{key}", member) for key, member in members_of(service)]
            part.slots = [member.slot for _, member in part.members]
            self.parts[node["id"]] = part
            self.units[0].update((slot, part.id) for slot in part.slots)
        return node

    def members(self) -> Iterator[Node]:
        for service in [node for node in self.nodes.values() if node["kind"] == "service"]:
            part = self.parts.get(service["id"])
            running = dict(part.members) if part is not None else {}
            inner = inner_of(part.service) if part is not None else None
            weights: dict[str, int] = {}
            if part is not None and isinstance(inner, Balancer):
                for (id, _), weight in zip(part.members, inner.configured_weights, strict=True):
                    weights.setdefault(id, weight)
            for number, id in enumerate(dict.fromkeys(service["members"])):
                key = id.partition("|")[2]
                node: Node = {"id": id, "kind": "member", "layer": service["layer"], "name": key, "key": key}
                node |= {"provider": service["provider"], "status": service["status"], "service": service["id"]}
                if service["type"] == "loadbalancer":
                    node["server"] = True
                else:
                    child = qualify(key, service["name"])
                    node["child"] = f"{service['layer']}/services/{child}"
                if id in weights:
                    node["weight"] = weights[id]
                    if not weights[id]:
                        self.peculiar[service["id"]] = None
                if limit := getattr(running.get(id), "limit", 0):
                    node["maxConnections"] = limit
                if isinstance(inner, Failover):
                    node["role"] = ("main", "fallback")[number]
                elif isinstance(inner, Mirroring):
                    node["role"] = "mirror" if number else "main"
                    if number:
                        node["percent"] = inner.mirrors[number - 1].percent
                yield node

    def link(self) -> None:
        """Add what objects are used by, and the servers that belong to one service alone."""
        users: dict[str, list[str]] = {}
        for node in self.nodes.values():
            if node["kind"] == "router":
                for id in [*dict.fromkeys(node["middlewares"]), node["service"]]:
                    users.setdefault(id, []).append(node["id"])
            elif node["kind"] == "service":
                for id in node.get("middlewares", ()):
                    users.setdefault(id, []).append(node["id"])
        parents: dict[str, set[str]] = {}
        for node in self.nodes.values():
            if "child" in node:
                parents.setdefault(node["child"], set()).add(node["service"])
        for id, using in users.items():
            if id in self.nodes and "usedBy" in self.nodes[id]:
                self.nodes[id]["usedBy"] = using
        for id, part in self.parts.items():
            part.users = [each for each in users.get(id, ()) if self.nodes[each]["kind"] == "router"]
            part.above = sorted(parents.get(id, ()))
            if not part.members:
                names = [user.removeprefix("http/routers/") for user in part.users if part.layer == "http"]
                part.spare = bool(names) and all(redirects(self.runtime, name) for name in names)
                if not part.spare:
                    self.peculiar[id] = None
            part.leaves = self.leaves(id, parents, users, set())
            if part.members and not part.leaves:
                self.nodes[id]["shared"] = True  # servers below it have other requests, too

    def leaves(
        self, id: str, parents: Mapping[str, set[str]], users: Mapping[str, list[str]], above: set[str]
    ) -> list[int]:
        """The slots of the servers below a service; none if other services or routers lead to any of them, too."""
        part = self.parts.get(id)
        if part is None or id in above:
            return []
        if isinstance(inner_of(part.service), LoadBalancer):
            return part.slots
        found: list[int] = []
        for member, _ in part.members:
            child = self.nodes[member].get("child", "")
            if users.get(child) or parents.get(child) != {id}:
                return []
            below = self.leaves(child, parents, users, above | {id})
            if not below:
                return []
            if self.nodes[member].get("role") != "mirror":
                found += below
        return found


def _text(node: Node) -> str:
    keys = ("name", "rule", "key", "provider", "type", "address")
    return " ".join(str(node[key]) for key in keys if key in node).lower()
