"""Keeping the running versions of objects that a reload has broken. No I/O.

A router, service or middleware whose new version is broken stays in its running version, with all that this refers to
and the new configuration lacks. Objects that are new and broken are disabled; deleted objects to which no kept object
refers are removed. If a kept object refers to one whose new version is sound, it gets the new version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from lbcore.config.difference import qualify
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Disabled

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
Find = Callable[[DynamicConfig], Iterable[Disabled]]


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that stays in its running version, the errors of its new version, and where that is written."""

    kind: str
    name: str
    errors: list[str]
    place: str = ""


class Objects:
    """The objects of a configuration by key, without some, some of which may be replaced."""

    def __init__(self, config: DynamicConfig, out: Collection[Key] = ()) -> None:
        self._config = config
        self._out = out
        self._replaced: dict[Key, Any] = {}

    def get(self, key: Key) -> Any:
        """An object; None: there is none."""
        if key in self._replaced or key in self._out:
            return self._replaced.get(key)
        part, section = PLACES[key[0]]
        return getattr(getattr(self._config, part), section).get(key[1])

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __getitem__(self, key: Key) -> Any:
        return self.get(key)

    def __setitem__(self, key: Key, thing: Any) -> None:
        self._replaced[key] = thing

    def config(self) -> DynamicConfig:
        """The configuration with what was replaced."""
        others: dict[tuple[str, str], dict[str, Any]] = {}
        for (kind, name), thing in self._replaced.items():
            others.setdefault(PLACES[kind], {})[name] = thing
        config = self._config
        for (part, section), things in others.items():
            of = getattr(config, part)
            merged = {**getattr(of, section), **things}
            config = config.model_copy(update={part: of.model_copy(update={section: merged})})
        return config


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
    sound, objects = Objects(running, {(entry.kind, entry.name) for entry in disabled}), Objects(new)
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
        found = {(entry.kind, entry.name): entry.errors for entry in find(objects.config())}
    if not kept:
        return new, []
    return objects.config(), [entry for key, entry in kept.items() if key not in found]


def _restore(key: Key, sound: Objects, objects: Objects, static: StaticConfig) -> None:
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
