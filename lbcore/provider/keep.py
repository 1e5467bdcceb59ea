"""Keeping the running versions of objects that a reload has broken. No I/O.

A router, service, middleware, transport, or set of TLS options whose new version is broken stays in its running
version, with all that this refers to and the new configuration lacks. Objects that are new and broken are disabled;
deleted objects to which no kept object, and no entry point, refers are removed. If a kept object refers to one whose
new version is sound, it gets the new version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lbcore.config.difference import qualify, references
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.resolved import entry_points_of, options_name, tls_of
from lbcore.config.static import StaticConfig
from lbcore.config.tls import DEFAULT
from lbcore.config.validate.findings import Disabled

Key = tuple[str, str]  # kind as in `Disabled`, and qualified name

OPTIONS = "tlsOptions"  # which are never `Disabled`: what names them is
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
    OPTIONS: ("tls", "options"),
}
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
    out = {(entry.kind, entry.name) for entry in disabled} | _broken_options(running).keys()
    sound, objects = Objects(running, out), Objects(new)
    found = _errors(problems, new)
    kept: dict[Key, Kept] = {}
    lacking = [(key, points) for key, points in lacked_by_entry_points(running, new, static).items() if key in sound]
    for key, points in lacking:
        text = f"it is not there any more, and entry point {', '.join(points)} has it in front of its routers"
        kept[key] = Kept(*key, [text], sound[key].place)
        objects[key] = sound[key]
        _restore(key, sound, objects, static)
    if lacking:
        found = _errors(find(objects.config()), objects.config())
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
            objects[key] = sound[key]
            _restore(key, sound, objects, static)
        found = _errors(find(objects.config()), objects.config())
    if not kept:
        return new, []
    return objects.config(), [entry for key, entry in kept.items() if key not in found]


def lacked_by_entry_points(running: DynamicConfig, new: DynamicConfig, static: StaticConfig) -> dict[Key, list[str]]:
    """The middlewares that run, that are not in `new`, and that entry points have in front of routers of `new`: by
    their keys, the names of these entry points."""
    found: dict[Key, list[str]] = {}
    for point, settings in static.entry_points.items():
        for reference in settings.http.middlewares:
            providers = [reference.rpartition("@")[2]] if "@" in reference else sorted(_providers(running))
            for provider in providers:
                name = qualify(reference, f"@{provider}")
                gone = name in running.http.middlewares and name not in new.http.middlewares
                if gone and any(
                    qualify(reference, router) == name and point in entry_points_of(thing, static)
                    for router, thing in new.http.routers.items()
                ):
                    found.setdefault(("middleware", name), []).append(point)
    return found


def _providers(config: DynamicConfig) -> set[str]:
    return {name.rpartition("@")[2] for name in config.http.middlewares}


def _errors(problems: Iterable[Disabled], config: DynamicConfig) -> dict[Key, list[str]]:
    """What is wrong with the objects of a configuration, by their keys."""
    return {(entry.kind, entry.name): entry.errors for entry in problems} | _broken_options(config)


def _broken_options(config: DynamicConfig) -> dict[Key, list[str]]:
    return {(OPTIONS, name): list(options.faults) for name, options in config.tls.options.items() if options.faults}


def _restore(key: Key, sound: Objects, objects: Objects, static: StaticConfig) -> None:
    """Restore those objects below a restored one that do not exist any more."""
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
    if thing is None or kind == OPTIONS:
        return []
    layer = kind[:3] if kind.startswith(("tcp", "udp")) else ""
    plain = kind[3:4].lower() + kind[4:] if layer else kind
    found = [*references(plain, name, thing)]
    if kind == "router":
        for point in entry_points_of(thing, static):
            own = static.entry_points[point].http.middlewares
            found += [("middleware", qualify(reference, name)) for reference in own]
    if layer:
        found = [(f"{layer}{of[0].upper()}{of[1:]}", to) for of, to in found]
    return [*found, *_options_of(key, thing, objects, static)]


def _options_of(key: Key, thing: Any, objects: Objects, static: StaticConfig) -> Iterator[Key]:
    """The TLS options of a router. All routers of HTTP with TLS need the default ones to be sound, if there are any."""
    kind, name = key
    if kind == "router":
        all_of = [tls_of(thing, point, static) for point in entry_points_of(thing, static)]
    elif kind == "tcpRouter" and thing.tls is not None and not thing.tls.passthrough:
        all_of = [thing.tls]
    else:
        return
    for tls in all_of:
        if tls is not None:
            for options in (options_name(tls, name), DEFAULT):
                if options != DEFAULT or (OPTIONS, DEFAULT) in objects:
                    yield OPTIONS, options
