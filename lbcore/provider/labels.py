"""What the labels of one container or service configure, with the defaults of Traefik. No I/O but names of files.

A label that cannot be used disables its router, service or middleware alone, under the label's name. A label that
belongs to none of these (`traefik.http.routes.x`) refuses the container: what was meant may be its protection.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lbcore.config.decode import decode, keys_of, nearest, plain
from lbcore.config.dynamic import DynamicConfig, Router, Service
from lbcore.config.flat import FlatTree, in_order, is_position, split_dotted
from lbcore.config.model import Object
from lbcore.config.services.load_balancer import LoadBalancer, Server
from lbcore.config.tree import Tree
from lbcore.errors import ConfigError, Problem
from lbcore.template.engine import Rule, TemplateError
from lbcore.template.values import Record, Strings

ROOT = "traefik"
LAYERS = ("http", "tcp", "udp")
# Labels that are no configuration of objects, and what stands below those of each provider.
OWN: dict[str, tuple[str, ...]] = {
    "enable": (),
    "tags": (),
    "docker": ("network", "allownonrunning", "lbswarm"),
    "swarm": ("network", "lbswarm"),
    "consulcatalog": ("connect", "canary"),
    "nomad": ("canary",),
}
# Unknown labels that begin so are mistyped: what has them is left out. Others are of version 1, or of something else.
MEANT = ("enable", "docker", "swarm", *LAYERS)
# Labels that Traefik ignores: `*` is any name.
NOT_BY_LABEL = (
    ("http", "services", "*", "weighted"),
    ("http", "services", "*", "mirroring"),
    ("http", "services", "*", "failover"),
    ("http", "services", "*", "highestrandomweight"),
    ("http", "serverstransports"),
    ("http", "routers", "*", "parentrefs"),
    ("tcp", "services", "*", "weighted"),
    ("tcp", "serverstransports"),
    ("udp", "services", "*", "weighted"),
    ("udp", "services", "*", "failover"),
    ("tls", "certificates"),
    ("tls", "options"),
)
SCHEMES = ("http", "https", "h2c")  # of servers
FILES = ("file", "files")  # keys that end so have names of files
PEM_OR_FILES = frozenset({"certfile", "keyfile", "cafiles", "rootcas"})  # these have PEM, too, and ...
PEM_OR_FILES_OF_TLS = frozenset({"ca", "cert", "key"})  # ... these below `tls`
PEM = "-----BEGIN"

Leads = TypeVar("Leads", bound=Object)
Faults = dict[tuple[str, str, str], list[str]]  # by layer, kind, and name in lower case


@dataclass(frozen=True, slots=True)
class Labelled:
    """A container, or a task of a service, as what its labels say is about.

    name     for messages.
    service  the name of its service and router if no label names one.
    labels   as written.
    data     the data of the default rule.
    is_up    whether it may get requests.
    address  host and port of a labelled port (empty: of the lowest one it exposes). Raises ValueError.
    trusted  whether its labels may name any file.
    """

    name: str
    service: str
    labels: Mapping[str, str]
    data: Mapping[str, Any]
    is_up: bool
    address: Callable[[str], tuple[str, str]]
    trusted: bool = False


@dataclass(slots=True)
class Said:
    """The configuration of one labelled thing; None: it says nothing that can run."""

    config: DynamicConfig | None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def rule_data(service: str, labels: Mapping[str, str], container: str | None = None) -> Record:
    """The data of a default rule."""
    data = Record(Name=service, Labels=Strings(labels))
    if container is not None:
        data["ContainerName"] = container
    return data


class LabelReader:
    """Reads labels.

    default_rule  for routers without one.
    folders       files of the host that labels may name are in these.
    provider      the key of its settings.
    """

    def __init__(self, default_rule: Rule, folders: list[str], provider: str = "docker") -> None:
        self._default_rule = default_rule
        self._folders = [os.path.realpath(folder) for folder in folders]
        self._provider = provider

    def read(self, thing: Labelled) -> Said:
        """What the labels say."""
        return _Reader(thing, self._default_rule, self._folders, self._provider).said()


class _Reader:
    def __init__(self, thing: Labelled, default_rule: Rule, folders: list[str], provider: str) -> None:
        self.thing = thing
        self.default_rule = default_rule
        self.folders = folders
        self.provider = provider
        self.own = ("swarm", "docker") if provider == "swarm" else (provider.lower(),)
        self.is_meant = any(key.lower().startswith(f"{ROOT}.") for key in thing.labels)
        self.flat = FlatTree(DynamicConfig)
        self.servers: dict[tuple[str, str], dict[str, str]] = {}  # `server.port` and `server.scheme`
        self.balancers: list[tuple[list[str], str]] = []  # `loadbalancer: true`: says nothing beside its keys
        self.faults: Faults = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def said(self) -> Said:
        for key in in_order(self.thing.labels):
            root, dot, _ = key.partition(".")
            if dot and root.lower() == ROOT:
                self.label(key, self.thing.labels[key])
        if self.problems:
            return self.nothing()
        for parts, value in self.balancers:
            if (parts[0].lower(), parts[2].lower()) not in self.servers:
                self.flat.put(parts, value)
        tree = Tree(self.flat.content(), self.thing.name, prefix=f"{ROOT}.")
        try:
            decoded = decode(tree, DynamicConfig)
        except ConfigError as error:
            self.problems += map(str, error.problems)
            return self.nothing()
        self.warnings += map(str, decoded.warnings)
        try:
            return Said(self.completed(decoded.model), self.problems, self.warnings)
        except ValueError as error:
            self.problem("", str(error))
            return self.nothing()

    def nothing(self) -> Said:
        return Said(None, self.problems, self.warnings)

    def problem(self, label: str, text: str, hint: str = "") -> None:
        self.problems.append(str(Problem(label, text, hint, self.thing.name)))

    def warn(self, label: str, text: str, hint: str = "") -> None:
        self.warnings.append(str(Problem(label, text, hint, self.thing.name, severity="warning")))

    # Labels

    def label(self, key: str, value: str) -> None:
        parts = split_dotted(key)
        if parts[0] != ROOT:
            return self.problem(key, f"{parts[0]!r} is no root of labels", f"write {ROOT}")
        if not all(parts):
            if key == f"{ROOT}.":
                return self.warn(key, "names nothing, ignored")
            return self.problem(key, "a part of the label is empty")
        parts = parts[1:]
        lower = [part.lower() for part in parts]
        layer = lower[0]
        if layer in OWN:
            if layer in self.own and len(lower) > 1 and ".".join(lower[1:]) not in OWN[layer]:
                # It may be `canary`, which keeps an instance from others, or the network that is to be used.
                text, hint = f"unknown label {'.'.join(parts)!r}", nearest(lower[1], list(OWN[layer]))
                if layer == "nomad":  # as in Traefik
                    return self.warn(key, f"{text}, ignored", hint)
                return self.problem(key, text, hint)
            return None
        if layer not in (*LAYERS, "tls"):
            text, hint = f"unknown label {parts[0]!r}", nearest(layer, [*LAYERS, "tls", "enable"])
            if layer.startswith(MEANT):  # `traefik.enabled: false` must not expose what it is to hide
                return self.problem(key, text, hint)
            return self.warn(key, f"{text}, ignored", hint)
        if any(_matches(lower, pattern) for pattern in NOT_BY_LABEL):
            return self.warn(key, "cannot be set by a label, ignored", "describe it in a file: providers.file")
        if layer == "tls" and lower[1:3] != ["stores", "default"]:
            return self.warn(key, "cannot be set by a label, ignored", "describe it in a file: providers.file")
        if reason := self.forbidden(lower, value):
            return self.fault(lower, key, reason)
        if _matches(lower, (layer, "services", "*", "loadbalancer", "servers")):
            return self.fault(lower, key, "a label says something about one server: write server")
        if layer in ("tcp", "udp") and _matches(lower, (layer, "services", "*", "loadbalancer", "server", "address")):
            self.flat.touch(parts[:3])
            self.servers.setdefault((layer, lower[2]), {})
            return self.warn(key, "cannot be set by a label, ignored", "the port alone can: server.port")
        if lower[1:2] == ["services"] and lower[3:] in (["loadbalancer"], ["loadbalancer", "server"]):
            self.balancers.append((parts, value))
            return None
        if lower[1:2] == ["routers"] and len(parts) == 3 and value.lower() in ("true", ""):
            self.flat.touch(parts)  # a router with all defaults
            return None
        if _matches(lower, (layer, "services", "*", "loadbalancer", "server", "*")) and layer in LAYERS:
            last = lower[5]
            if last == "port" or (last == "scheme" and layer == "http"):
                if not value:  # as if it were not there, as in Traefik
                    self.servers.setdefault((layer, lower[2]), {})
                    self.flat.touch(parts[:3])
                    return None
                if last == "port" and not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
                    return self.fault(lower, key, f"{value!r} is no port")
                if last == "scheme":
                    value = value.lower()  # as in every URL
                    if value not in SCHEMES:
                        return self.fault(lower, key, f"{value!r} is no scheme: write http, https or h2c")
                self.servers.setdefault((layer, lower[2]), {})[last] = value
                self.flat.touch(parts[:3])
                return None
            parts = [*parts[:4], "servers", "0", *parts[5:]]
        try:
            self.flat.put(parts, value)
        except ValueError as error:
            self.problem(key, str(error))
        return None

    def fault(self, lower: list[str], label: str, text: str) -> None:
        """A problem that disables the object of a label."""
        problem = Problem(label, text, "", self.thing.name)
        if len(lower) < 3 or lower[0] not in (*LAYERS, "tls"):
            self.problems.append(str(problem))
            return
        self.faults.setdefault((lower[0], lower[1], lower[2]), []).append(str(problem))
        # The object has to exist in order to be disabled.
        self.flat.touch(self.named(lower))

    def named(self, lower: list[str]) -> list[str]:
        """The parts of a label up to its object, as written."""
        for key in in_order(self.thing.labels):
            parts = split_dotted(key)[1:]
            if [part.lower() for part in parts[:3]] == lower[:3]:
                return parts[:3]
        return lower[:3]

    def forbidden(self, lower: list[str], value: str) -> str:
        """Why a label may not have its value: who starts containers does not get at files and sockets of the host."""
        names = [part for part in lower if not is_position(part)]
        last = names[-1]
        has_pem = last in PEM_OR_FILES or (last in PEM_OR_FILES_OF_TLS and "tls" in names[:-1])
        if has_pem or last.endswith(FILES):
            paths = [part.strip() for part in value.split(",")]
            paths = [path for path in paths if not (has_pem and PEM in path)]
        else:
            parts = [part.strip() for part in value.split(",")]
            paths = [part[len("unix:") :] for part in parts if part.lower().startswith("unix:")]
        for path in filter(None, paths):
            if "\0" in path:
                return "a path holds no NUL character"
            real = os.path.realpath(path)
            if not self.thing.trusted and not any(real.startswith(f"{folder.rstrip('/')}/") for folder in self.folders):
                option = f"providers.{self.provider}.labelFiles: [{os.path.dirname(real)}]"
                return f"labels may not name files or sockets of this machine; {option} allows those in a folder"
        return ""

    # Defaults

    def completed(self, config: DynamicConfig) -> DynamicConfig | None:
        thing = self.thing
        parts: dict[str, Any] = {}
        for layer in LAYERS:
            section = getattr(config, layer)
            if layer == "http":
                continue
            if section.routers or section.services:
                parts[layer] = self.layer4(layer, section)
            elif layer == "tcp" and section.middlewares:
                parts[layer] = {"middlewares": self.broken(layer, "middlewares", section.middlewares)}
        http = config.http
        is_http = bool(http.routers or http.services or http.middlewares)
        if is_http or not any("services" in part for part in parts.values()):
            routers, services = dict(http.routers), dict(http.services)
            if services:
                services = {name: self.with_server(name, service) for name, service in services.items()}
            else:
                service = Service(load_balancer=LoadBalancer(), place=thing.name)
                services = {thing.service: self.with_server(thing.service, service)}
                if services[thing.service].faults and needs_no_service(http):
                    services = {}
            parts["http"] = {
                "routers": self.routers(routers, services) if services or routers else {},
                "services": self.broken("http", "services", services),
                "middlewares": self.broken("http", "middlewares", http.middlewares),
            }
        if "stores" in type(config.tls).model_fields and config.tls.stores:
            parts["tls"] = {"stores": self.broken("tls", "stores", config.tls.stores)}
        return DynamicConfig.model_validate(parts)

    def broken(self, layer: str, kind: str, objects: Mapping[str, Any]) -> dict[str, Any]:
        """The objects, with the faults of their labels."""
        return {name: self.faulty(layer, kind, name, thing) for name, thing in objects.items()}

    def faulty(self, layer: str, kind: str, name: str, thing: Any) -> Any:
        found = self.faults.get((layer, kind, name.lower()), [])
        return thing.model_copy(update={"faults": (*thing.faults, *found)}) if found else thing

    def without_address(self, service: Leads, error: ValueError) -> Leads:
        """A service of which this thing has no server. Raises the error if no label is meant for lbcore."""
        if not self.is_meant:
            raise error
        fault = str(Problem("", str(error), "", self.thing.name))
        return service.model_copy(update={"faults": (*service.faults, fault)})

    def url(self, layer: str, name: str) -> tuple[str, str, str]:
        """Scheme, host and port of this thing in a service."""
        said = self.servers.get((layer, name.lower()), {})
        host, port = self.thing.address(said.get("port", ""))
        return said.get("scheme", "http"), f"[{host}]" if ":" in host else host, port

    def with_server(self, name: str, service: Service) -> Service:
        if service.faults or ("http", "services", name.lower()) in self.faults:
            return service
        balancer = service.load_balancer or LoadBalancer()
        server = balancer.servers[0] if balancer.servers else Server()
        said = self.servers.get(("http", name.lower()), {})
        if server.url and said:
            text = f"{ROOT}.http.services.{name}.loadbalancer.server: url excludes port and scheme"
            return service.model_copy(update={"faults": (f"{self.thing.name}: {text}",)})
        servers = []
        if self.thing.is_up:
            if not server.url:
                try:
                    url = "{}://{}:{}".format(*self.url("http", name))
                except ValueError as error:
                    return self.without_address(service, error)
                server = server.model_copy(update={"url": url})
            servers = [server]
        return service.model_copy(update={"load_balancer": balancer.model_copy(update={"servers": servers})})

    def routers(self, routers: dict[str, Router], services: Mapping[str, Service]) -> dict[str, Router]:
        thing = self.thing
        if not routers:
            if len(services) > 1:
                self.warn(
                    "", "has several services and no router: no router is made", f"{ROOT}.http.routers.NAME.service"
                )
                return {}
            routers = {thing.service: Router(place=thing.name)}
        found = {}
        for name, router in routers.items():
            update: dict[str, Any] = {}
            faults: list[str] = []
            if not router.rule and not router.faults:
                try:
                    update["rule"] = self.default_rule.rendered(thing.data).strip()
                    update["ruled_by_default"] = True
                    if not update["rule"]:
                        faults.append("the default rule is empty for it")
                except TemplateError as error:
                    faults.append(f"the default rule fails: {error.problem}")
            if not router.service and not router.faults:
                faults += self.link(router, services, update, f"{ROOT}.http.routers.{name}.service")
            if faults:
                update["faults"] = (*router.faults, *(f"{thing.name}: {fault}" for fault in faults))
            found[name] = router.model_copy(update=update) if update else router
        return self.broken("http", "routers", found)

    def link(self, router: Any, services: Mapping[str, Object], update: dict[str, Any], label: str) -> Iterator[str]:
        """Lead a router to the only service there is."""
        if len(services) == 1:
            update["service"] = next(iter(services))
        elif services:
            yield f"{label}: cannot be linked automatically with multiple services: {', '.join(sorted(services))}"

    def layer4(self, layer: str, config: Any) -> dict[str, Any]:
        thing = self.thing
        kinds: dict[str, dict[str, Any]] = {
            kind: dict(getattr(config, kind)) for kind in type(config).model_fields if kind != "servers_transports"
        }
        routers, services = kinds["routers"], kinds["services"]
        service_type = keys_of(type(config))["services"].__args__[1]
        if not services:
            services[thing.service] = service_type(place=thing.name)
        for name, service in services.items():
            services[name] = self.with_address(layer, name, service)
        for name, router in routers.items():
            update: dict[str, Any] = {}
            faults: list[str] = []
            if hasattr(router, "rule") and not router.rule and not router.faults:
                faults.append(f"{ROOT}.{layer}.routers.{name}.rule: is missing")
            if not router.service and not router.faults:
                faults += self.link(router, services, update, f"{ROOT}.{layer}.routers.{name}.service")
            if faults:
                update["faults"] = (*router.faults, *(f"{thing.name}: {fault}" for fault in faults))
            routers[name] = router.model_copy(update=update) if update else router
        return {kind: self.broken(layer, kind, objects) for kind, objects in kinds.items()}

    def with_address(self, layer: str, name: str, service: Any) -> Any:
        if service.faults or (layer, "services", name.lower()) in self.faults:
            return service
        balancer_type = plain(keys_of(type(service))["loadBalancer"])
        server_type = keys_of(balancer_type)["servers"].__args__[0]
        balancer = service.load_balancer or balancer_type()
        servers = []
        if self.thing.is_up:
            try:
                _, host, port = self.url(layer, name)
            except ValueError as error:
                return self.without_address(service, error)
            server = balancer.servers[0] if balancer.servers else server_type()
            servers = [server.model_copy(update={"address": f"{host}:{port}"})]
        return service.model_copy(update={"load_balancer": balancer.model_copy(update={"servers": servers})})


def needs_no_service(http: Any) -> bool:
    """Whether labels are there for what other things have: routers for services of others, middlewares alone."""
    if http.routers:
        return all("@" in router.service for router in http.routers.values())
    return bool(http.middlewares)


def _matches(lower: list[str], pattern: tuple[str, ...]) -> bool:
    return len(lower) >= len(pattern) and all(
        wanted in ("*", part) for part, wanted in zip(lower, pattern, strict=False)
    )
