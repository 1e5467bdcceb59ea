"""What runs in place of what a reload has broken: a function of the configuration that runs and the new one. No I/O.

A router, service or middleware whose new version is broken keeps the version that runs, with whatever that refers to
and the new configuration lacks. What is new and broken is left to be disabled alone; what was deleted, and nothing
kept refers to, goes. Where a kept object refers to one that is sound in its new version, the new version is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.config.dynamic import DynamicConfig, HttpConfig
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpConfig
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
}

_LAYER_7 = ("middleware", "service", "serversTransport")
_LAYER_4 = ("tcpMiddleware", "tcpService", "tcpServersTransport")
Objects = Mapping[Key, Any]
Find = Callable[[DynamicConfig], Iterable[Disabled]]


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that runs in the version before, and what is wrong with its new one."""

    kind: str
    name: str
    errors: list[str]


def keep_running(
    running: DynamicConfig,
    disabled: Iterable[Disabled],
    new: DynamicConfig,
    problems: Iterable[Disabled],
    static: StaticConfig,
    find: Find,
) -> tuple[DynamicConfig, list[Kept]]:
    """The configuration to run in place of `new`, and what was kept of `running`.

    running, disabled  the merged configuration in force, and the objects of it that do not run.
    new, problems      the merged configuration that is to follow, and the objects of it that cannot run.
    find               the objects of any merged configuration that cannot run.

    Cost  one `find` for each level of objects that hide each other's problems; none when there are no problems.
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
        # What refers to a broken object that can be helped is looked at again when that was helped.
        roots = {key for key in candidates if not any(part in candidates for part in _references(key, objects, static))}
        if not candidates:
            break
        for key in roots or candidates:
            kept[key] = Kept(*key, found[key])
            _restore(key, sound, objects, static)
        found = {(entry.kind, entry.name): entry.errors for entry in find(_config(objects, new))}
    if not kept:
        return new, []
    return _config(objects, new), [entry for key, entry in kept.items() if key not in found]


def _restore(key: Key, sound: Objects, objects: dict[Key, Any], static: StaticConfig) -> None:
    """Put the version that runs in place, and whatever it refers to that is not there any more."""
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
    """Whether the version that runs would change anything: it is another one, or something below it has gone."""
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
    parts: dict[str, dict[str, dict[str, Any]]] = {"http": {}, "tcp": {}}
    for part, field in PLACES.values():
        parts[part][field] = {}
    for (kind, name), thing in objects.items():
        part, field = PLACES[kind]
        parts[part][field][name] = thing
    http, tcp = HttpConfig.model_validate(parts["http"]), TcpConfig.model_validate(parts["tcp"])
    return like.model_copy(update={"http": http, "tcp": tcp})


def _references(key: Key, objects: Objects, static: StaticConfig) -> list[Key]:
    """What an object refers to, by kind and qualified name; nothing for one that is not there."""
    kind, name = key
    thing = objects.get(key)
    if thing is None:
        return []
    middleware, service, transport = _LAYER_4 if kind.startswith("tcp") else _LAYER_7
    found: list[tuple[str, str]] = []
    if kind in ("router", "tcpRouter"):
        found += [(middleware, reference) for reference in thing.middlewares]
        found.append((service, thing.service))
    if kind == "router":
        for point in entry_points_of(thing, static):
            own = static.entry_points[point].http.middlewares
            found += [(middleware, qualify(reference, "@file")) for reference in own]
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
