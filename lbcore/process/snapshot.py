"""Published configurations: numbered, with slots for their services and servers. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_args

from lbcore.config.decode import plain
from lbcore.config.difference import LAYERS, Difference, Kind, changed_names, patched
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.middlewares.upstream import origin_of
from lbcore.config.model import Model, Object, fields_of
from lbcore.config.static import StaticConfig
from lbcore.config.tls import TlsConfig
from lbcore.process.control import Message
from lbcore.routing.compile_middlewares import calls_identity, upstream_identity
from lbcore.routing.compile_own import API, router_identity
from lbcore.routing.compile_tcp import tcp_identity, tcp_router_identity
from lbcore.routing.compile_udp import udp_identity
from lbcore.state.region import Region
from lbcore.state.slots import SlotAllocator, SlotMap

PART = 250  # objects, or slots, of one message


# A service of HTTP with such a name has the identity of another object.
CLASHING = ("router:", "tcp:", "tcpRouter:", "udp:", "middleware:")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dynamic configuration that is ready to run. `generation` counts from 1."""

    generation: int
    dynamic: DynamicConfig
    slots: SlotMap


class Publisher:
    """Numbers configurations and assigns slots to their objects: reserves them, then commits or aborts.

    admin  URL of the admin server, if there is one.
    own    lbcore's own routers that are counted.
    oldest_generation  returns the lowest number of the configurations that any worker may still use.
    """

    def __init__(
        self,
        region: Region,
        admin: str = "",
        own: Iterable[str] = (),
        oldest_generation: Callable[[], int] | None = None,
    ) -> None:
        self._own = [router_identity(name) for name in own]
        self._region = region
        self._admin = admin
        self._allocator = (
            SlotAllocator(region, oldest_generation=oldest_generation) if oldest_generation else SlotAllocator(region)
        )
        self._numbered = region.generation  # the last number assigned; numbers of aborted configurations are not reused
        self.current: Snapshot | None = None

    def reserve(self, dynamic: DynamicConfig, instead_of: Snapshot | None = None) -> Snapshot:
        """A snapshot of `dynamic` that is not in force yet. Raises ConfigError if the slots do not suffice.

        instead_of  a reserved snapshot that no worker has got: its number is taken over.
        """
        slots = self._followed(dynamic)
        if slots is None:
            services, servers = identities(dynamic, self._admin)
            slots = self._allocator.reserve([*services, *self._own], servers)
        if instead_of is None:
            self._numbered += 1
        return Snapshot(self._numbered, dynamic, slots)

    def _followed(self, dynamic: DynamicConfig) -> SlotMap | None:
        """The slots in force, with those of objects that differ in `dynamic`; None: all have to be looked at."""
        if self.current is None:
            return None
        before = self.current.dynamic
        difference = Difference.of(before, dynamic)
        if any(name.startswith(CLASHING) for name in difference.touched("http", "services")):
            return None
        less, more = _touched(before, difference), _touched(dynamic, difference)
        slots, reserved = self.current.slots, self._allocator.reserve(more.services, more.servers)
        return SlotMap(
            _exchanged(slots.services, less.services, reserved.services),
            _exchanged(slots.servers, less.servers, reserved.servers),
        )

    def commit(self, snapshot: Snapshot) -> None:
        """Put a snapshot in force, and free the slots of objects that are not in it."""
        self.current = snapshot
        self._region.generation = snapshot.generation
        self._allocator.commit(snapshot.slots.services, snapshot.slots.servers, snapshot.generation)

    def abort(self, snapshot: Snapshot) -> None:
        """Free the slots that were reserved in addition to those of the configuration in force."""
        slots = self.current.slots if self.current else SlotMap()
        self._allocator.commit(slots.services, slots.servers, snapshot.generation)

    def publish(self, dynamic: DynamicConfig) -> Snapshot:
        """`reserve` and `commit` at once."""
        snapshot = self.reserve(dynamic)
        self.commit(snapshot)
        return snapshot


Data = dict[str, Any]  # a configuration as JSON values: objects are texts, by layer, kind and name


class Remembered:
    """Writes configurations for workers, and reads them, with each object as a text of its own.

    An object that has not changed is not written again, and one with the same text is not read again: it is the same
    object in both configurations.
    """

    def __init__(self) -> None:
        self._written: dict[Kind, tuple[Mapping[str, Object], dict[str, str]]] = {}  # objects and texts by name
        self._read: dict[Kind, tuple[Mapping[str, str], dict[str, Object]]] = {}  # texts and objects by name
        self._tls: tuple[TlsConfig, Any] = TlsConfig(), None  # what was written last, and as what

    def write(self, config: DynamicConfig) -> Data:
        """A configuration, for `read`. It must not be changed: parts of it are in the next one, too."""
        data: Data = {}
        for layer in config.model_fields_set & {*LAYERS}:
            data[layer] = {}
            for kind in getattr(config, layer).model_fields_set:
                things = getattr(getattr(config, layer), kind)
                before, texts = self._written.get((layer, kind), ({}, {}))
                changed, gone = changed_names(before, things)
                if changed or gone:
                    written = ((name, json.dumps(to_json(things[name]), separators=(",", ":"))) for name in changed)
                    fresh = {name: text for name, text in written if texts.get(name) != text}
                    texts = patched(texts, fresh, gone) if fresh or gone else texts
                self._written[layer, kind] = things, texts
                data[layer][kind] = texts
        if "tls" in config.model_fields_set:
            if self._tls[0] is not config.tls and (self._tls[1] is None or self._tls[0] != config.tls):
                self._tls = config.tls, to_json(config.tls)
            data["tls"] = self._tls[1]
        return data

    def read(self, data: Data) -> DynamicConfig:
        """The configuration that was written. Raises ConfigError or ValueError if it is none."""
        objects: dict[Kind, dict[str, Object]] = {}
        for layer in data.keys() & {*LAYERS}:
            for kind, texts in data[layer].items():
                before, things = self._read.get((layer, kind), ({}, {}))
                changed, gone = changed_names(before, texts)
                changed = [name for name in changed if before.get(name) != texts[name]]
                if changed or gone or not things:
                    things = patched(things, _read_all(layer, kind, texts, changed), gone)
                objects[layer, kind] = things
        config = _configuration({layer: [*data[layer]] for layer in LAYERS if layer in data}, objects, data.get("tls"))
        self._read = {place: (data[place[0]][place[1]], things) for place, things in objects.items()}
        return config


class Received:
    """In a worker: the configurations as they come, whole, or as what they change of the one in force."""

    def __init__(self) -> None:
        self._held: tuple[int, DynamicConfig, SlotMap] = 0, DynamicConfig(), SlotMap()  # in force
        self._offered = self._held

    def fits(self, prepare: Message) -> bool:
        """Whether the configuration on which a message builds is the one in force, if it builds on any."""
        return prepare["base"] in (0, self._held[0])

    def read(self, prepare: Message, parts: Sequence[Message]) -> tuple[DynamicConfig, SlotMap]:
        """The configuration of these messages, and its slots. Raises ConfigError or ValueError if it is none."""
        _, before, known = self._held if prepare["base"] else (0, DynamicConfig(), SlotMap())
        for part in parts:
            found: Any = prepare
            for key in part["place"]:
                found = found[key]
            found.update(part["entries"])
        data, gone = prepare["dynamic"], prepare["gone"]
        objects: dict[Kind, dict[str, Object]] = {}
        for layer in data.keys() & {*LAYERS}:
            for kind, texts in data[layer].items():
                things: dict[str, Object] = getattr(getattr(before, layer), kind)
                less = gone.get(layer, {}).get(kind, ())
                if texts or less:
                    things = patched(things, _read_all(layer, kind, texts, texts), less)
                objects[layer, kind] = things
        kinds = {layer: [*data[layer]] for layer in LAYERS if layer in data}
        config = _configuration(kinds, objects, data.get("tls"))
        if prepare["same_tls"] and "tls" in before.model_fields_set:
            config = config.model_copy(update={"tls": before.tls})
        slots = SlotMap(
            patched(known.services, prepare["slots"]["services"], gone.get("slots", {}).get("services", ())),
            patched(known.servers, prepare["slots"]["servers"], gone.get("slots", {}).get("servers", ())),
        )
        self._offered = int(prepare["generation"]), config, slots
        return config, slots

    def commit(self, generation: int) -> None:
        """The configuration that was read last is in force."""
        if self._offered[0] == generation:
            self._held = self._offered


def _read_all(layer: str, kind: str, texts: Mapping[str, str], names: Iterable[str]) -> dict[str, Object]:
    model = _model(layer, kind)
    # One by one, because another thread gets no turn in a call of pydantic.
    return {name: model.model_validate(json.loads(texts[name])) for name in names}  # type: ignore[misc]


def _configuration(
    kinds: Mapping[str, Sequence[str]], objects: Mapping[Kind, dict[str, Object]], tls: Any
) -> DynamicConfig:
    """A configuration of objects, each of which is one, and of the JSON values of its `tls`; None: it has none."""
    sections: dict[str, Any] = {}
    for layer, names in kinds.items():
        section = plain(fields_of(DynamicConfig)[layer].annotation)
        sections[layer] = section.model_construct(**{name: objects[layer, name] for name in names})
    if tls is not None:
        sections["tls"] = TlsConfig.model_validate(tls)
    return DynamicConfig.model_construct(**sections)


@cache
def _model(layer: str, kind: str) -> type[Model]:
    """The model of the objects of a kind."""
    section: type[Model] = plain(fields_of(DynamicConfig)[layer].annotation)
    found: type[Model] = get_args(fields_of(section)[kind].annotation)[1]
    return found


def parts_of(
    generation: int, data: Data, slots: SlotMap, base: int = 0, before: Data | None = None, known: SlotMap | None = None
) -> list[Message]:
    """The messages that have a worker prepare a configuration: `part`s of what is in it, and `prepare`.

    base           the generation of the configuration that the worker runs, of which only what changes is told; 0: all.
    before, known  what that was written as, and its slots.

    They are short, because the loop of a worker serves nobody while it reads one.
    """
    before, known = before or {}, known or SlotMap()
    parts: list[Message] = []
    rest: Data = {}
    gone: Data = {}
    for layer in LAYERS:
        if layer in data:
            rest[layer] = {}
        for kind, texts in data.get(layer, {}).items():
            rest[layer][kind] = {}
            changed, less = changed_names(before.get(layer, {}).get(kind, {}), texts)
            parts += _parts(("dynamic", layer, kind), {name: texts[name] for name in changed})
            if less:
                gone.setdefault(layer, {})[kind] = less
    same_tls = bool(base) and before.get("tls") is data.get("tls")
    if "tls" in data and not same_tls:
        rest["tls"] = data["tls"]
    for kind in ("services", "servers"):
        numbers: Mapping[str, int] = getattr(slots, kind)
        changed, less = changed_names(getattr(known, kind), numbers)
        parts += _parts(("slots", kind), {name: numbers[name] for name in changed})
        if less:
            gone.setdefault("slots", {})[kind] = less
    prepare = {"type": "prepare", "generation": generation, "base": base, "dynamic": rest, "gone": gone}
    return [*parts, {**prepare, "same_tls": same_tls, "slots": {"services": {}, "servers": {}}}]


def _parts(place: tuple[str, ...], entries: Mapping[str, Any]) -> list[Message]:
    items = list(entries.items())
    at_once = range(0, len(items), PART)
    return [{"type": "part", "place": place, "entries": dict(items[first : first + PART])} for first in at_once]


def to_json(config: Model) -> dict[str, Any]:
    """A configuration as JSON values, for `model_validate` in a worker.

    Keys that were written are kept even with their default value, because a section may need one to exist at all.
    """
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)


def accepting_of(static: StaticConfig) -> dict[str, float]:
    """Seconds for which each entry point continues to accept after the signal to stop."""
    points = static.entry_points.items()
    return {name: point.transport.life_cycle.request_accept_grace_timeout.total_seconds() for name, point in points}


def graces_of(static: StaticConfig) -> dict[str, float]:
    """Seconds for which each entry point may drain."""
    points = static.entry_points.items()
    return {name: point.transport.life_cycle.grace_time_out.total_seconds() for name, point in points}


def _exchanged(slots: Mapping[str, int], less: Iterable[str], more: Mapping[str, int]) -> Mapping[str, int]:
    """Slots by identity without some, and with others. Those that are in both stay."""
    fresh = {name: slot for name, slot in more.items() if slots.get(name) != slot}
    gone = [name for name in less if name not in more]
    return patched(slots, fresh, gone) if fresh or gone else slots


@dataclass(frozen=True, slots=True)
class Identities:
    """Identities of services (`name@file`) and routers (`router:name@file`), and of the services' members."""

    services: list[str] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)

    def add(self, layer: str, kind: str, name: str, thing: Any) -> None:
        """Add those of an object."""
        if kind == "routers" and layer != "udp":
            self.services.append(router_identity(name) if layer == "http" else tcp_router_identity(name))
        elif kind == "services":
            identity = name if layer == "http" else tcp_identity(name) if layer == "tcp" else udp_identity(name)
            self.services.append(identity)
            self.servers.extend(f"{identity}|{member}" for member in thing.members)
        elif kind == "middlewares" and layer == "http":
            if url := thing.upstream:
                self.services.append(upstream_identity(name))
                self.servers.append(f"{upstream_identity(name)}|{origin_of(url)}")
            if thing.python is not None:
                self.servers.append(calls_identity(name))


def identities(dynamic: DynamicConfig, admin: str = "") -> tuple[list[str], list[str]]:
    """All identities of a configuration: of services and routers, and of members.

    admin  URL of the admin server, if there is one.
    """
    found = Identities()
    for layer in LAYERS:
        for kind in type(getattr(dynamic, layer)).model_fields:
            for name, thing in getattr(getattr(dynamic, layer), kind).items():
                found.add(layer, kind, name, thing)
    if admin:
        found.services.append(API)
        found.servers.append(f"{API}|{admin}")
    return found.services, found.servers


def _touched(dynamic: DynamicConfig, difference: Difference) -> Identities:
    """The identities of those objects of a configuration that differ in another one."""
    found = Identities()
    for layer, kind in dict.fromkeys([*difference.changed, *difference.gone]):
        things = getattr(getattr(dynamic, layer), kind)
        for name in difference.touched(layer, kind):
            if name in things:
                found.add(layer, kind, name, things[name])
    return found
