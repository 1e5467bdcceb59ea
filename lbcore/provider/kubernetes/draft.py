"""The configuration that is made of the objects of a cluster, as it comes about. No I/O.

Each object of the configuration is decoded by itself, and once: until what it is made of changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lbcore.config.decode import decode
from lbcore.config.dynamic import DynamicConfig, Outside
from lbcore.config.tree import Path, Tree, as_text, dotted
from lbcore.errors import ConfigError
from lbcore.provider.kubernetes.names import aside

Place = tuple[str, str, str]  # layer, kind, name
Owner = tuple[str, ...]  # kind, namespace and name of an object of the cluster, and which part of it
CERTIFICATES = "certificates"
ATTRIBUTES = {"serversTransports": "servers_transports"}  # by kind, where it differs


@dataclass(slots=True)
class _ObjectTree(Tree):
    """A configuration of one object. `at`: where that is written."""

    at: str = ""

    def key(self, path: Path) -> str:
        below = dotted(path[3:])
        return f"{self.at}.{below}" if below else self.at


@dataclass(slots=True)
class _Written:
    """What an object is made of."""

    content: dict[str, Any]
    source: str
    at: str
    faults: list[str]


@dataclass(slots=True)
class _Known:
    """An object that was decoded, and the warnings about it."""

    written: _Written
    thing: Any
    warnings: list[str]


@dataclass(slots=True)
class Memory:
    """What was decoded for the previous configuration."""

    known: dict[Place, _Known] = field(default_factory=dict)


class Draft:
    """problems  what cannot be used of the cluster's objects, by object and key.
    warnings  what is probably not intended.
    """

    def __init__(self, memory: Memory) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._memory = memory
        self._written: dict[Place, _Written] = {}
        self._certificates: dict[str, _Written] = {}
        self._owners: dict[Place, Owner] = {}
        self._names: dict[tuple[str, str, Owner], str] = {}
        self._outside: list[Outside] = []

    def claim(self, layer: str, kind: str, wanted: str, owner: Owner) -> str:
        """The name of what an object becomes: the one that is wanted, unless that is another object's.

        Namespaces and names can be told apart no more once they are one text. What refers to an object has to ask for
        the name by the owner: nobody gets what only reads like it.
        """
        known = self._names.get((layer, kind, owner))
        if known is not None:
            return known
        name, number = wanted, 0
        while (layer, kind, name) in self._owners or (layer, kind, name) in self._written:
            name = aside(wanted, owner, number)
            number += 1
        self._owners[(layer, kind, name)] = owner
        self._names[(layer, kind, owner)] = name
        return name

    def name_of(self, layer: str, kind: str, owner: Owner) -> str | None:
        """The name that an owner has claimed; None: it has claimed none."""
        return self._names.get((layer, kind, owner))

    def is_claimed(self, layer: str, kind: str, name: str) -> bool:
        """Whether a name is that of an object."""
        return (layer, kind, name) in self._owners

    def refer(self, user: Place, reference: str, source: str) -> None:
        """Note that an object refers to one of another provider, which has to be made of `source`."""
        self._outside.append(Outside(*user, reference, source))

    def has(self, layer: str, kind: str, name: str) -> bool:
        return (layer, kind, name) in self._written

    def content(self, layer: str, kind: str, name: str) -> dict[str, Any] | None:
        """What an object was made of; None: there is none of this name."""
        found = self._written.get((layer, kind, name))
        return None if found is None else found.content

    def put(
        self,
        layer: str,
        kind: str,
        name: str,
        content: dict[str, Any],
        source: str,
        at: str = "spec",
        faults: Iterable[str] = (),
    ) -> bool:
        """Add an object, unless an older one has its name.

        source  the object of the cluster that it is made of: `IngressRoute default/web`.
        at      where that says so.
        faults  why it cannot run.
        """
        taken = self._written.get((layer, kind, name))
        if taken is not None:
            self.problems.append(f"{source}: {at}: {taken.source} has the name {name} already, and is older")
            return False
        self._written[(layer, kind, name)] = _Written(content, source, at, list(faults))
        return True

    def put_certificate(self, key: str, content: dict[str, Any], source: str) -> None:
        """Add a certificate, unless there is one of this key."""
        self._certificates.setdefault(key, _Written(content, source, source, []))

    def config(self) -> DynamicConfig:
        """The configuration of all objects."""
        known: dict[Place, _Known] = {}
        parts: dict[str, dict[str, Any]] = {}
        certificates = []
        for place, written in self._written.items():
            if (found := self._decoded(place, written)) is not None:
                known[place] = found
                layer, kind, name = place
                parts.setdefault(layer, {}).setdefault(kind, {})[name] = found.thing
        for key, written in sorted(self._certificates.items()):
            place = ("tls", CERTIFICATES, key)
            if (found := self._decoded(place, written)) is not None:
                known[place] = found
                certificates.append(found.thing)
        if certificates:
            parts.setdefault("tls", {})[CERTIFICATES] = certificates
        for found in known.values():
            self.warnings += found.warnings
        self._memory.known = known
        return DynamicConfig.model_validate(parts).with_outside(tuple(dict.fromkeys(self._outside)))

    def _decoded(self, place: Place, written: _Written) -> _Known | None:
        before = self._memory.known.get(place)
        if before is not None and before.written == written:
            return before
        layer, kind, name = place
        text = as_text(written.content)
        content: Any = [text] if kind == CERTIFICATES else {name: text}
        tree = _ObjectTree({layer: {kind: content}}, written.source, prefix="spec.", at=written.at)
        try:
            decoded = decode(tree, DynamicConfig)
        except ConfigError as error:
            self.problems += map(str, error.problems)
            return None
        found = getattr(getattr(decoded.model, layer), ATTRIBUTES.get(kind, kind))
        thing = found[0 if kind == CERTIFICATES else name]
        if written.faults:
            thing = thing.model_copy(update={"faults": (*thing.faults, *written.faults)})
        return _Known(written, thing, [str(warning) for warning in decoded.warnings])
