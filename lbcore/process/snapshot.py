"""Published configurations: numbered, with slots for their services and servers. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from lbcore.config.decode import plain
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.model import Model, Object, fields_of
from lbcore.config.static import StaticConfig
from lbcore.process.control import Message
from lbcore.routing.compile_middlewares import calls_of, upstreams_of
from lbcore.routing.compile_own import API, router_identity
from lbcore.routing.compile_tcp import tcp_identity, tcp_router_identity
from lbcore.routing.compile_udp import udp_identity
from lbcore.state.region import Region
from lbcore.state.slots import SlotAllocator, SlotMap

LAYERS = ("http", "tcp", "udp")  # of objects by kind and name
PART = 250  # objects, or slots, of one message


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
        services, servers = identities(dynamic, self._admin)
        slots = self._allocator.reserve([*services, *self._own], servers)
        if instead_of is None:
            self._numbered += 1
        return Snapshot(self._numbered, dynamic, slots)

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


class Remembered:
    """Writes configurations for workers, and reads them there, with each object as a text of its own.

    An object that has not changed is not written again, and one with the same text is not read again: it is the same
    object in both configurations.
    """

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], dict[str, tuple[Object, str]]] = {}  # by layer and kind, and by name
        self._read: dict[tuple[str, str], dict[str, tuple[str, Object]]] = {}

    def write(self, config: DynamicConfig) -> dict[str, Any]:
        """A configuration as JSON values, for `read`."""
        kinds = {layer: getattr(config, layer).model_fields_set for layer in LAYERS if layer in config.model_fields_set}
        data = config.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=kinds)
        written: dict[tuple[str, str], dict[str, tuple[Object, str]]] = {}
        for layer, names in kinds.items():
            for kind in names:
                before, now = self._written.get((layer, kind), {}), {}
                for name, thing in getattr(getattr(config, layer), kind).items():
                    known = before.get(name)
                    if known is None or known[0] is not thing:
                        text = json.dumps(to_json(thing), separators=(",", ":"))
                        known = (thing, text)
                    now[name] = known
                written[layer, kind] = now
                data[layer][kind] = {name: text for name, (_, text) in now.items()}
        self._written = written
        return data

    def read(self, data: Mapping[str, Any]) -> DynamicConfig:
        """The configuration that was written. Raises ConfigError or ValueError if it is none."""
        parts = dict(data)
        for layer in LAYERS:
            if layer not in data:
                continue
            parts[layer] = {}
            for kind, texts in data[layer].items():
                before = self._read.get((layer, kind), {})
                objects: dict[str, Any] = {}
                for name, text in texts.items():
                    known = before.get(name)
                    # One by one, because another thread gets no turn in a call of pydantic.
                    same = known is not None and known[0] == text
                    objects[name] = known[1] if known and same else _model(layer, kind).model_validate(json.loads(text))
                parts[layer][kind] = objects
        config = DynamicConfig.model_validate(parts)
        self._read = {
            (layer, kind): {name: (texts[name], thing) for name, thing in getattr(getattr(config, layer), kind).items()}
            for layer in LAYERS
            for kind, texts in data.get(layer, {}).items()
        }
        return config


@cache
def _model(layer: str, kind: str) -> type[Model]:
    """The model of the objects of a kind."""
    section: type[Model] = plain(fields_of(DynamicConfig)[layer].annotation)
    found: type[Model] = get_args(fields_of(section)[kind].annotation)[1]
    return found


def parts_of(generation: int, data: Mapping[str, Any], slots: SlotMap) -> list[Message]:
    """The messages that have a worker prepare a configuration: `part`s of what is in it, and `prepare`.

    They are short, because the loop of a worker serves nobody while it reads one.
    """
    parts: list[Message] = []
    rest = dict(data)
    for layer in LAYERS:
        for kind, texts in data.get(layer, {}).items():
            rest[layer] = {**rest[layer], kind: {}}
            parts += _parts(("dynamic", layer, kind), texts)
    slots_of = slots.to_json()
    for kind, numbers in slots_of.items():
        parts += _parts(("slots", kind), numbers)
    prepare = {"type": "prepare", "generation": generation, "dynamic": rest, "slots": {key: {} for key in slots_of}}
    return [*parts, prepare]


def _parts(place: tuple[str, ...], entries: Mapping[str, Any]) -> list[Message]:
    items = list(entries.items())
    at_once = range(0, len(items), PART)
    return [{"type": "part", "place": place, "entries": dict(items[first : first + PART])} for first in at_once]


def joined(prepare: Message, parts: Sequence[Message]) -> tuple[dict[str, Any], SlotMap]:
    """What `parts_of` was given, of its messages."""
    for part in parts:
        found: Any = prepare
        for key in part["place"]:
            found = found[key]
        found.update(part["entries"])
    return prepare["dynamic"], SlotMap.from_json(prepare["slots"])


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


def identities(dynamic: DynamicConfig, admin: str = "") -> tuple[list[str], list[str]]:
    """Identities of services (`name@file`) and routers (`router:name@file`), and of the services' members.

    admin  URL of the admin server, if there is one.
    """
    services = [*dynamic.http.services, *(router_identity(name) for name in dynamic.http.routers)]
    members = [f"{name}|{member}" for name, http in dynamic.http.services.items() for member in http.members]
    services += [tcp_router_identity(name) for name in dynamic.tcp.routers]
    for name, service in dynamic.tcp.services.items():
        services.append(tcp_identity(name))
        members += [f"{tcp_identity(name)}|{member}" for member in service.members]
    for identity, origin in upstreams_of(dynamic).items():
        services.append(identity)
        members.append(f"{identity}|{origin}")
    members += calls_of(dynamic).values()
    for name, udp in dynamic.udp.services.items():
        services.append(udp_identity(name))
        members += [f"{udp_identity(name)}|{member}" for member in udp.members]
    if admin:
        services.append(API)
        members.append(f"{API}|{admin}")
    return services, members
