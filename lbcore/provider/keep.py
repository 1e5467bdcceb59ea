"""Keeping the running versions of objects that a reload has broken. No I/O.

A router, service or middleware whose new version is broken stays in its running version, with all that this refers to
and the new configuration lacks. Objects that are new and broken are disabled; deleted objects to which no kept object
refers are removed. If a kept object refers to one whose new version is sound, it gets the new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.config.dynamic import DynamicConfig, HttpConfig
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpConfig
from lbcore.config.udp import UdpConfig
from lbcore.config.validate import Disabled, entry_points_of, qualify

Key = tuple[str, str]  # kind as in `Disabled`, and qualified name

PLACES = {
    "router": ("http", "routers"),
    "service": ("http", "services"),
    "middleware": ("http", "middlewares"),
    "serversTransport": ("http", "servers_transports"),
    "tcpRouter": ("tcp", "routers"),
    "tcpService": ("tcp", "services"),
    "tcpMiddleware": ("tcp", "middlewares"),
    "tcpServersTransport": ("tcp", "servers_transports"),
    "udpRouter": ("udp", "routers"),
    "udpService": ("udp", "services"),
}

_LAYER_7 = ("middleware", "service", "serversTransport")
_LAYER_4 = ("tcpMiddleware", "tcpService", "tcpServersTransport")
Objects = Mapping[Key, Any]
Find = Callable[[DynamicConfig], Iterable[Disabled]]


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that stays in its running version, the errors of its new version, and where that is written."""

    kind: str
    name: str
    errors: list[str]
    place: str = ""


def keep_running(
    running: DynamicConfig,
    disabled: Iterable[Disabled],
    new: DynamicConfig,
    problems: Iterable[Disabled],
    static: StaticConfig,
    find: Find,
) -> tuple[DynamicConfig, list[Kept]]:
    """The configuration to run in place of `new`, and the objects that were kept from `running`.

    running, disabled  the merged configuration in force, and its objects that do not run.
    new, problems      the merged configuration to follow, and its objects that cannot run.
    find               a function that returns the objects of a merged configuration that cannot run.

    Cost  one `find` for each level of objects that hide each other's problems; none if there are no problems.
    """
    sound, objects = _objects(running), _objects(new)
    for entry in disabled:
        sound.pop((entry.kind, entry.name), None)
    found = {(entry.kind, entry.name): entry.errors for entry in problems}
    kept: dict[Key, Kept] = {}
    while True:
        candidates = {
            key
            for key in found
            if key not in kept and key in sound and key in objects and _differs(key, sound, objects, static)
        }
        # An object that refers to a broken one is examined again after that one was restored.
        roots = {key for key in candidates if not any(part in candidates for part in _references(key, objects, static))}
        if not candidates:
            break
        for key in roots or candidates:
            kept[key] = Kept(*key, found[key], objects[key].place)
            _restore(key, sound, objects, static)
        found = {(entry.kind, entry.name): entry.errors for entry in find(_config(objects, new))}
    if not kept:
        return new, []
    return _config(objects, new), [entry for key, entry in kept.items() if key not in found]


def _restore(key: Key, sound: Objects, objects: dict[Key, Any], static: StaticConfig) -> None:
    """Restore the running version, and those objects to which it refers that do not exist any more."""
    objects[key] = sound[key]
    below, seen = [key], {key}
    while below:
        for part in _references(below.pop(), objects, static):
            if part not in seen:
                seen.add(part)
                below.append(part)
                if part not in objects and part in sound:
                    objects[part] = sound[part]


def _differs(key: Key, sound: Objects, objects: Objects, static: StaticConfig) -> bool:
    """Whether restoring the running version changes anything: it differs, or an object below it is missing."""
    if sound[key] != objects[key]:
        return True
    below, seen = [key], {key}
    while below:
        for part in _references(below.pop(), objects, static):
            if part not in objects and part in sound:
                return True
            if part not in seen:
                seen.add(part)
                below.append(part)
    return False


def _objects(config: DynamicConfig) -> dict[Key, Any]:
    return {
        (kind, name): thing
        for kind, (part, field) in PLACES.items()
        for name, thing in getattr(getattr(config, part), field).items()
    }


def _config(objects: Objects, like: DynamicConfig) -> DynamicConfig:
    parts: dict[str, dict[str, dict[str, Any]]] = {"http": {}, "tcp": {}, "udp": {}}
    for part, field in PLACES.values():
        parts[part][field] = {}
    for (kind, name), thing in objects.items():
        part, field = PLACES[kind]
        parts[part][field][name] = thing
    http, tcp = HttpConfig.model_validate(parts["http"]), TcpConfig.model_validate(parts["tcp"])
    update: dict[str, Any] = {"http": http, "tcp": tcp}
    if any(parts["udp"].values()):
        update["udp"] = UdpConfig.model_validate(parts["udp"])
    return like.model_copy(update=update)


def _references(key: Key, objects: Objects, static: StaticConfig) -> list[Key]:
    """The objects to which an object refers, by kind and qualified name; none if it does not exist."""
    kind, name = key
    thing = objects.get(key)
    if thing is None:
        return []
    middleware, service, transport = _LAYER_4 if kind.startswith("tcp") else _LAYER_7
    found: list[tuple[str, str]] = []
    if kind == "udpRouter":
        return [("udpService", qualify(thing.service, name))] if thing.service else []
    if kind == "udpService":
        return [("udpService", qualify(child, name)) for child in thing.children]
    if kind in ("router", "tcpRouter"):
        found += [(middleware, reference) for reference in thing.middlewares]
        found.append((service, thing.service))
    if kind == "router":
        found += [("router", parent) for parent in thing.parent_refs]
        for point in entry_points_of(thing, static):
            own = static.entry_points[point].http.middlewares
            found += [(middleware, qualify(reference, name)) for reference in own]
    if kind == "middleware" and thing.chain is not None:
        found += [(middleware, reference) for reference in thing.chain.middlewares]
    if kind == "service":
        found += [(middleware, reference) for reference in thing.middlewares]
        found += [(service, child) for child in thing.children]
    if kind == "tcpService" and thing.weighted is not None:
        found += [(service, child.name) for child in thing.weighted.services]
    if kind in ("service", "tcpService") and thing.load_balancer is not None:
        found.append((transport, thing.load_balancer.servers_transport))
    return [(kind, qualify(reference, name)) for kind, reference in found if reference]
