"""One configuration of those of many containers: servers of a service add up, nothing that works is removed. No I/O.

Where containers say different things about one object, the newest that may get requests wins, and is named with the
others: so a deployment that changes a label takes over when its first container is up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lbcore.config.decode import plain
from lbcore.config.difference import patched
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.model import fields_of

KINDS = {
    "http": ("routers", "services", "middlewares"),
    "tcp": ("routers", "services", "middlewares"),
    "udp": ("routers", "services"),
    "tls": ("stores",),
}
TEXTS = {"routers": "router", "services": "service", "middlewares": "middleware", "stores": "store"}

Place = tuple[str, str, str]  # of an object: layer, kind, name


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


class Combiner:
    """Combines again and again. Objects about which only the same parts say something are not made again."""

    def __init__(self) -> None:
        self._parts: dict[int, Part] = {}  # by the identity of the object, which is kept here
        self._said: dict[Place, dict[int, tuple[Part, Any]]] = {}  # what parts say of an object, by their identity
        self._problems: dict[Place, str] = {}
        self._content: dict[tuple[str, str], dict[str, Any]] = {}  # objects by name, by layer and kind
        self._config = DynamicConfig()

    def combine(self, parts: Iterable[Part]) -> tuple[DynamicConfig, list[str]]:
        """The configuration of all, and what they do not agree about."""
        present = {id(part): part for part in parts}
        touched: dict[Place, None] = {}
        for key, part in self._parts.items():
            if key not in present:
                for place, _ in _objects(part.config):
                    del self._said[place][key]
                    touched[place] = None
        fresh = [part for key, part in present.items() if key not in self._parts]
        for part in sorted(fresh, key=lambda part: part.name):
            for place, thing in _objects(part.config):
                self._said.setdefault(place, {})[id(part)] = part, thing
                touched[place] = None
        self._parts = present
        if touched:
            self._make(touched)
        return self._config, [self._problems[place] for place in sorted(self._problems)]

    def _make(self, touched: Iterable[Place]) -> None:
        """Make these objects again, and the configuration."""
        changed: dict[tuple[str, str], dict[str, Any]] = {}
        gone: dict[tuple[str, str], list[str]] = {}
        for place in touched:
            layer, kind, name = place
            self._problems.pop(place, None)
            if versions := sorted(self._said[place].values(), key=lambda version: version[0].name):
                changed.setdefault((layer, kind), {})[name] = self._one(place, versions)
            else:
                del self._said[place]
                gone.setdefault((layer, kind), []).append(name)
        for where in dict.fromkeys((*changed, *gone)):
            before = self._content.get(where, {})
            self._content[where] = patched(before, changed.get(where, {}), gone.get(where, ()))
        sections: dict[str, Any] = {}
        for layer, kinds in KINDS.items():
            if told := {kind: things for kind in kinds if (things := self._content.get((layer, kind)))}:
                # Each object has been validated.
                sections[layer] = plain(fields_of(DynamicConfig)[layer].annotation).model_construct(**told)
        self._config = DynamicConfig.model_validate(sections)

    def _one(self, place: Place, versions: list[tuple[Part, Any]]) -> Any:
        """The object that several containers define."""
        layer, kind, name = place
        part, chosen = max(versions, key=lambda version: _rank(*version))
        others = [
            other.name
            for other, thing in versions
            if other is not part
            and not other.is_gone
            and not thing.faults
            and _settings(kind, thing) != _settings(kind, chosen)
        ]
        what = TEXTS[kind] if layer == "http" else f"{layer} {TEXTS[kind]}"
        faults = [] if chosen.faults else [thing.faults[0] for _, thing in versions if thing.faults]
        if faults:
            count = f"{len(faults)} of {len(versions)} definitions do" if len(faults) > 1 else "one definition does"
            self._problems[place] = f"{what} {name}: {count} not count: {faults[0]}"
        if others:
            shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
            self._problems[place] = (
                f"{what} {name} is defined differently by {part.name} and by {shown}: {part.name} is newer, and counts"
            )
        return _with_servers(chosen, [thing for _, thing in versions]) if kind == "services" else chosen


def combine(parts: Iterable[Part]) -> tuple[DynamicConfig, list[str]]:
    """The configuration of all, and what they do not agree about."""
    return Combiner().combine(parts)


def _objects(config: DynamicConfig) -> Iterator[tuple[Place, Any]]:
    for layer, kinds in KINDS.items():
        section = getattr(config, layer)
        for kind in kinds:
            for name, thing in getattr(section, kind).items():
                yield (layer, kind, name), thing


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
