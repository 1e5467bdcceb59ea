"""One configuration of those of many containers: servers of a service add up, nothing that works is removed. No I/O.

Where containers say different things about one object, the newest that may get requests wins, and is named with the
others: so a deployment that changes a label takes over when its first container is up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lbcore.config.dynamic import DynamicConfig

KINDS = {
    "http": ("routers", "services", "middlewares"),
    "tcp": ("routers", "services", "middlewares"),
    "udp": ("routers", "services"),
    "tls": ("stores",),
}
TEXTS = {"routers": "router", "services": "service", "middlewares": "middleware", "stores": "store"}


@dataclass(frozen=True, slots=True)
class Part:
    """The configuration of one container.

    name     for messages.
    age      sorts containers: a greater one is newer.
    is_up    whether it may get requests.
    is_gone  whether it has stopped, and its routers stay for a while.
    """

    name: str
    config: DynamicConfig
    age: tuple[Any, ...]
    is_up: bool = True
    is_gone: bool = False


def combine(parts: Iterable[Part]) -> tuple[DynamicConfig, list[str]]:
    """The configuration of all, in the order of their names, and what they do not agree about."""
    ordered = sorted(parts, key=lambda part: part.name)
    problems: list[str] = []
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for layer, kinds in KINDS.items():
        if layer not in DynamicConfig.model_fields:
            continue
        for kind in kinds:
            said: dict[str, list[tuple[Part, Any]]] = {}
            for part in ordered:
                for name, thing in getattr(getattr(part.config, layer), kind, {}).items():
                    said.setdefault(name, []).append((part, thing))
            objects = {name: _one(layer, kind, name, versions, problems) for name, versions in said.items()}
            if objects:
                found.setdefault(layer, {})[kind] = objects
    return DynamicConfig.model_validate(found), problems


def _one(layer: str, kind: str, name: str, versions: list[tuple[Part, Any]], problems: list[str]) -> Any:
    """The object that several containers define."""
    part, chosen = max(versions, key=lambda version: _rank(*version))
    if len(versions) > 1:
        others = [
            other.name
            for other, thing in versions
            if not other.is_gone and not thing.faults and _settings(kind, thing) != _settings(kind, chosen)
        ]
        if others:
            what = TEXTS[kind] if layer == "http" else f"{layer} {TEXTS[kind]}"
            shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
            problems.append(
                f"{what} {name} is defined differently by {part.name} and by {shown}: {part.name} is newer, and counts"
            )
    return _with_servers(chosen, [thing for _, thing in versions]) if kind == "services" else chosen


def _rank(part: Part, thing: Any) -> tuple[Any, ...]:
    return (not thing.faults, not part.is_gone, part.is_up, part.age)


def _settings(kind: str, thing: Any) -> Any:
    """What has to be the same: of a service, all but its servers."""
    if kind != "services" or thing.load_balancer is None:
        return thing
    return thing.model_copy(update={"load_balancer": thing.load_balancer.model_copy(update={"servers": []})})


def _with_servers(chosen: Any, services: list[Any]) -> Any:
    if len(services) == 1 or chosen.load_balancer is None:
        return chosen
    servers: dict[str, Any] = {}
    for service in services:
        if service.load_balancer is not None and not service.faults:
            for server in service.load_balancer.servers:
                servers.setdefault(_where(server), server)
    balancer = chosen.load_balancer.model_copy(update={"servers": list(servers.values())})
    return chosen.model_copy(update={"load_balancer": balancer})


def _where(server: Any) -> str:
    return str(getattr(server, "url", "") or getattr(server, "address", ""))


def without_servers(config: DynamicConfig) -> DynamicConfig:
    """The configuration of a container that has stopped: the same without its servers."""
    update: dict[str, Any] = {}
    for layer in ("http", "tcp", "udp"):
        part = getattr(config, layer, None)
        if part is not None and part.services:
            services = {name: _emptied(service) for name, service in part.services.items()}
            update[layer] = part.model_copy(update={"services": services})
    return config.model_copy(update=update)


def _emptied(service: Any) -> Any:
    if service.load_balancer is None:
        return service
    return service.model_copy(update={"load_balancer": service.load_balancer.model_copy(update={"servers": []})})
