"""The configuration in the keys of a store: `traefik/http/routers/web/rule`. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lbcore.config.decode import Decoded, decode, keys_of, known_to, nearest, plain
from lbcore.config.difference import LAYERS, patched
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.flat import FlatTree, in_order
from lbcore.config.model import fields_of
from lbcore.config.report import lines
from lbcore.config.tree import Tree
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading

LOCK = "___lock"  # keys that clients of some stores leave

Group = tuple[str, ...]  # layer, kind and name of an object, in lower case; ("tls",)


@dataclass(slots=True)
class _Object:
    """An object: its keys, and what they say."""

    keys: set[str] = field(default_factory=set)
    name: str = ""  # as it is written first
    value: Any = None  # its model; None: there is none
    told: str = ""  # the name by which it is in the content


class KeyReader:
    """Reads keys again and again. Objects whose keys are as they were before are not decoded again.

    A key that belongs to no object is a problem of its own.
    """

    def __init__(self, root: str, place: str) -> None:
        self._prefix = f"{root}/"
        self._place = place
        self.values: dict[str, str] = {}  # all, by key; to be read only
        self.size = 0  # characters of them
        self._objects: dict[Group, _Object] = {}
        self._strays: dict[str, str] = {}  # problems of keys that belong to no object
        self._problems: dict[Group, tuple[str, ...]] = {}
        self._warnings: dict[Group, tuple[Problem, ...]] = {}
        self._content: dict[str, dict[str, Any]] = {layer: {} for layer in LAYERS}  # objects by name, by layer and kind
        self._sections = {key.lower() for key in known_to(DynamicConfig)}
        self._wholes: list[Group] = [(section,) for section in self._sections if section not in LAYERS]
        self._kinds: dict[str, dict[str, str]] = {}  # the fields of each layer, by key in lower case
        for layer in LAYERS:
            model = plain(keys_of(DynamicConfig)[layer])
            self._kinds[layer] = {(info.alias or name).lower(): name for name, info in fields_of(model).items()}

    def read(self, values: Mapping[str, str], again_s: float | None = None) -> Reading:
        """What these keys say, which are all."""
        return self.update(values, [key for key in self.values if key not in values], again_s)

    def update(self, values: Mapping[str, str], gone: Iterable[str], again_s: float | None = None) -> Reading:
        """What all keys say, of which these have other values, or are gone."""
        dirty: set[Group] = set()
        for key in gone:
            if key not in self.values:
                continue
            self.size -= len(key) + len(self.values.pop(key))
            self._strays.pop(key, None)
            group = self._group(key)
            if group in self._objects:
                self._objects[group].keys.discard(key)
                dirty.add(group)
        known = self.values.get
        for key, value in [(key, value) for key, value in values.items() if known(key) != value]:
            self.size += len(value) - len(self.values[key]) if key in self.values else len(key) + len(value)
            self.values[key] = value
            group = self._group(key)
            if group and (problem := self._stray(key)) is None:
                self._objects.setdefault(group, _Object()).keys.add(key)
                dirty.add(group)
            elif group:
                self._strays[key] = str(problem)
        self._decode(dirty)
        return self._reading(again_s)

    def size_with(self, values: Mapping[str, str]) -> int:
        """Characters of all keys and values, if some had other values."""
        added = sum(
            len(value) - len(self.values[key]) if key in self.values else len(key) + len(value)
            for key, value in values.items()
        )
        return self.size + added

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
        if not dirty:
            return
        groups = [group for group in sorted(dirty) if self._objects[group].keys]
        try:
            if groups:
                self._take(groups, *self._decoded(groups))
        except ConfigError:
            for group in groups:
                try:
                    self._take([group], *self._decoded([group]))
                except ConfigError as error:
                    self._problems[group] = tuple(map(str, error.problems))
        told: dict[tuple[str, str], tuple[dict[str, Any], list[str]]] = {}
        for group in dirty:
            self._tell(group, told)
        for (layer, kind), (changed, gone) in told.items():
            self._content[layer][kind] = patched(self._content[layer].get(kind, {}), changed, gone)

    def _tell(self, group: Group, told: dict[tuple[str, str], tuple[dict[str, Any], list[str]]]) -> None:
        """Note what an object changes of the content, by layer and kind: objects by name, and names that are gone."""
        thing = self._objects[group]
        if not thing.keys:
            del self._objects[group]
            self._problems.pop(group, None)
            self._warnings.pop(group, None)
        if len(group) == 1:
            return
        name = thing.name if thing.keys and thing.value is not None else ""
        if not name and not thing.told:
            return
        changed, gone = told.setdefault((group[0], self._kinds[group[0]][group[1]]), ({}, []))
        if thing.told and thing.told != name:
            gone.append(thing.told)
        if name:
            changed[name] = thing.value
        thing.told = name

    def _decoded(self, groups: list[Group]) -> tuple[Decoded[DynamicConfig], dict[Group, list[str]]]:
        flat = FlatTree(DynamicConfig, opens=True)
        problems: dict[Group, list[str]] = {}
        for group in groups:
            for key in in_order(self._objects[group].keys):
                said = problems.setdefault(group, [])
                value = self.values[key]
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
            _note(self._problems, group, problems.get(group, ()))
            _note(self._warnings, group, warnings.get(group, ()))

    def _reading(self, again_s: float | None) -> Reading:
        problems = [*self._strays.values(), *(text for texts in self._problems.values() for text in texts)]
        warnings = [warning for some in self._warnings.values() for warning in some]
        parts: dict[str, Any] = {}
        for layer, kinds in self._content.items():
            if told := {kind: things for kind, things in kinds.items() if things}:
                # Each object has been validated.
                parts[layer] = plain(keys_of(DynamicConfig)[layer]).model_construct(**told)
        for group, thing in ((group, self._objects.get(group)) for group in self._wholes):
            if thing is not None and thing.value is not None:
                parts[group[0]] = thing.value
        config = DynamicConfig.model_validate(parts)
        return Reading(config, tuple(sorted(problems)), tuple(sorted(lines(warnings))), again_s)


def _note(found: dict[Group, tuple[Any, ...]], group: Group, what: Iterable[Any]) -> None:
    """Keep what there is about an object, if anything."""
    if some := tuple(what):
        found[group] = some
    else:
        found.pop(group, None)
