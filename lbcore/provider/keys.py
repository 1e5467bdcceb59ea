"""The configuration in the keys of a store: `traefik/http/routers/web/rule`. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lbcore.config.decode import Decoded, decode, keys_of, known_to, nearest, plain
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.flat import FlatTree, in_order
from lbcore.config.model import fields_of
from lbcore.config.report import lines
from lbcore.config.tree import Tree
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading

LAYERS = ("http", "tcp", "udp")  # of objects that are read one by one; `tls` is read as a whole
LOCK = "___lock"  # keys that clients of some stores leave

Group = tuple[str, ...]  # layer, kind and name of an object, in lower case; ("tls",)


@dataclass(slots=True)
class _Object:
    """An object: its keys, and what they say."""

    keys: set[str] = field(default_factory=set)
    name: str = ""  # as it is written first
    value: Any = None  # its model; None: there is none
    problems: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()


def reading_of(values: Mapping[str, str], root: str, place: str, again_s: float | None = None) -> Reading:
    """What the keys below `root` say. A key that belongs to no object is a problem of its own.

    values  by whole key.
    place   for messages.
    """
    return KeyReader(root, place).read(values, again_s)


class KeyReader:
    """Reads keys again and again. Objects whose keys are as they were before are not decoded again."""

    def __init__(self, root: str, place: str) -> None:
        self._prefix = f"{root}/"
        self._place = place
        self._values: dict[str, str] = {}
        self._objects: dict[Group, _Object] = {}
        self._strays: dict[str, str] = {}  # problems of keys that belong to no object
        self._sections = {key.lower() for key in known_to(DynamicConfig)}
        self._kinds: dict[str, dict[str, str]] = {}  # the fields of each layer, by key in lower case
        for layer in LAYERS:
            model = plain(keys_of(DynamicConfig)[layer])
            self._kinds[layer] = {(info.alias or name).lower(): name for name, info in fields_of(model).items()}

    def read(self, values: Mapping[str, str], again_s: float | None = None) -> Reading:
        """What all keys say now."""
        before = self._values
        changed = {key for key, value in values.items() if before.get(key) != value}
        gone = before.keys() - values.keys()
        self._values = dict(values)
        dirty: set[Group] = set()
        for key in gone:
            self._strays.pop(key, None)
            group = self._group(key)
            if group in self._objects:
                self._objects[group].keys.discard(key)
                dirty.add(group)
        for key in changed:
            group = self._group(key)
            if group and (problem := self._stray(key)) is None:
                self._objects.setdefault(group, _Object()).keys.add(key)
                dirty.add(group)
            elif group:
                self._strays[key] = str(problem)
        self._decode(dirty)
        return self._reading(again_s)

    def _parts(self, key: str) -> list[str]:
        return [part for part in key.removeprefix(self._prefix).split("/") if part]

    def _group(self, key: str) -> Group:
        """The object of a key; empty: the key is somebody else's."""
        parts = self._parts(key)
        if len(parts) < 2 or parts[0].lower() not in self._sections or LOCK in key:
            return ()
        layer = parts[0].lower()
        return (layer, *(part.lower() for part in parts[1:3])) if layer in LAYERS else (layer,)

    def _stray(self, key: str) -> Problem | None:
        """Why a key belongs to no object."""
        parts = self._parts(key)
        layer = plain(keys_of(DynamicConfig).get(parts[0].lower()))
        if layer is not None and parts[1].lower() not in known_to(layer):
            return Problem(key, f"unknown key {parts[1]!r}", nearest(parts[1], list(keys_of(layer))), self._place)
        if layer is not None and len(parts) == 2:
            return Problem(key, "needs names below it, not a value", "", self._place)
        return None

    def _decode(self, dirty: Iterable[Group]) -> None:
        """Decode objects, all at once; if that is refused, one by one: each stays as it was if it is refused alone."""
        groups = []
        for group in sorted(dirty):
            if self._objects[group].keys:
                groups.append(group)
            else:
                del self._objects[group]
        if not groups:
            return
        try:
            self._take(groups, *self._decoded(groups))
        except ConfigError:
            for group in groups:
                try:
                    self._take([group], *self._decoded([group]))
                except ConfigError as error:
                    self._objects[group].problems = tuple(map(str, error.problems))

    def _decoded(self, groups: list[Group]) -> tuple[Decoded[DynamicConfig], dict[Group, list[str]]]:
        flat = FlatTree(DynamicConfig)
        problems: dict[Group, list[str]] = {}
        for group in groups:
            for key in in_order(self._objects[group].keys):
                said = problems.setdefault(group, [])
                value = self._values[key]
                if "\ufffd" in key or "\ufffd" in value:
                    said.append(str(Problem(key, "not UTF-8", "", self._place)))
                try:
                    flat.put(self._parts(key), value)
                except ValueError as error:
                    said.append(str(Problem(key, str(error), "", self._place)))
        tree = Tree(flat.content(), self._place, prefix=self._prefix, separator="/")
        return decode(tree, DynamicConfig), problems

    def _take(self, groups: list[Group], decoded: Decoded[DynamicConfig], problems: dict[Group, list[str]]) -> None:
        """Record what was decoded."""
        found: dict[Group, tuple[str, Any]] = {}
        for layer, kinds in self._kinds.items():
            for key, kind in kinds.items():
                for name, thing in getattr(getattr(decoded.model, layer), kind).items():
                    found[(layer, key, name.lower())] = (name, thing)
        warnings: dict[Group, list[Problem]] = {}
        for warning in decoded.warnings:
            warnings.setdefault(self._group(warning.path) or groups[0], []).append(warning)
        for group in groups:
            thing = self._objects[group]
            if len(group) == 1:
                thing.value = getattr(decoded.model, group[0], None)
            else:
                thing.name, thing.value = found.get(group, ("", None))
            thing.problems, thing.warnings = tuple(problems.get(group, ())), tuple(warnings.get(group, ()))

    def _reading(self, again_s: float | None) -> Reading:
        content: dict[str, Any] = {}
        problems = list(self._strays.values())
        warnings: list[Problem] = []
        for group, thing in self._objects.items():
            problems += thing.problems
            warnings += thing.warnings
            if thing.value is None:
                continue
            if len(group) == 1:
                content[group[0]] = thing.value
            else:
                kind = self._kinds[group[0]][group[1]]
                content.setdefault(group[0], {}).setdefault(kind, {})[thing.name] = thing.value
        config = DynamicConfig.model_validate(content)
        return Reading(config, tuple(sorted(problems)), tuple(sorted(lines(warnings))), again_s)
