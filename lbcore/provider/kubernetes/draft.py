"""The configuration that is made of the objects of a cluster, as it comes about. No I/O.

Each object of the configuration is decoded by itself, and once: until what it is made of changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lbcore.config.decode import decode, plain
from lbcore.config.difference import patched
from lbcore.config.dynamic import DynamicConfig, Outside
from lbcore.config.model import fields_of
from lbcore.config.tree import Path, Tree, as_text, dotted
from lbcore.errors import ConfigError
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.ledger import Cell, Ledger, Order
from lbcore.provider.kubernetes.names import aside
from lbcore.provider.kubernetes.wanted import Wanted

Place = tuple[str, str, str]  # layer, kind, name
Owner = tuple[str, ...]  # kind, namespace and name of an object of the cluster, and which part of it
TLS, CERTIFICATES = "tls", "certificates"
SAID, OWNER, NAME, WRITTEN = "said", "owner of a name", "name of an owner", "object"  # kinds of cells
PROBLEMS, WARNINGS, STATUSES, OUTSIDE = "problems", "warnings", "statuses", "references"  # kinds of what tasks tell
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


class Memory:
    """What was read the last time, and what became of it.

    ledger    who has said what.
    objects   of the cluster, by kind.
    slices    EndpointSlices by the namespace and name of their service, and by their own.
    ranks     the place of objects in the order of their ages, by kind.
    is_whole  whether a reading came to its end; if not, the next one begins anew.
    """

    def __init__(self) -> None:
        self.is_whole = False
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.ledger = Ledger()
        self.objects: Mapping[str, Mapping[tuple[str, str], Thing]] = {}
        self.slices: dict[tuple[str, str], dict[tuple[str, str], Thing]] = {}
        self.ranks: dict[str, dict[tuple[str, str], int]] = {}
        self.known: dict[Place, _Known] = {}
        self.refused: dict[Place, tuple[Order, list[str]]] = {}  # why, and the task that has written it
        self.warned: set[Place] = set()
        self.parts: dict[tuple[str, str], Mapping[str, Any]] = {}  # objects by name, by layer and kind
        self.config = DynamicConfig()


class Draft:
    """What objects of the cluster become, as tasks of a ledger say.

    A name, or an object, is that of the first task that wants it: the others see that.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    @property
    def _ledger(self) -> Ledger:
        return self._memory.ledger

    def complain(self, *problems: str) -> None:
        """Tell what cannot be used of the object that is read, by object and key."""
        for problem in problems:
            self._ledger.tell(PROBLEMS, problem)

    def warn(self, warning: str) -> None:
        """Tell what is probably not intended with it."""
        self._ledger.tell(WARNINGS, warning)

    def tell(self, what: Cell, value: Any) -> None:
        """Tell the tasks that follow something."""
        self._ledger.write((SAID, what), value)

    def told(self, what: Cell) -> Any:
        """What a task before this one has told; None: nothing."""
        return self._ledger.first((SAID, what))

    def note(self, what: Cell, value: Any) -> None:
        """Add to what tasks tell together about something."""
        self._ledger.note(what, value)

    def notes(self, what: Cell) -> list[Any]:
        """What tasks before this one have noted about something."""
        return self._ledger.notes(what)

    def want(self, status: Wanted) -> None:
        """Add a status that an object should have."""
        self._ledger.tell(STATUSES, status)

    def claim(self, layer: str, kind: str, wanted: str, owner: Owner) -> str:
        """The name of what an object becomes: the one that is wanted, unless that is another object's.

        Namespaces and names can be told apart no more once they are one text. What refers to an object has to ask for
        the name by the owner: nobody gets what only reads like it.
        """
        known = self.name_of(layer, kind, owner)
        if known is not None:
            return known
        name, number = wanted, 0
        while self.is_claimed(layer, kind, name) or self.has(layer, kind, name):
            name = aside(wanted, owner, number)
            number += 1
        self._ledger.write((OWNER, layer, kind, name), owner)
        self._ledger.write((NAME, layer, kind, owner), name)
        return name

    def name_of(self, layer: str, kind: str, owner: Owner) -> str | None:
        """The name that an owner has claimed; None: it has claimed none."""
        found: str | None = self._ledger.first((NAME, layer, kind, owner))
        return found

    def is_claimed(self, layer: str, kind: str, name: str) -> bool:
        """Whether a name is that of an object."""
        return self._ledger.has((OWNER, layer, kind, name))

    def refer(self, user: Place, reference: str, source: str) -> None:
        """Note that an object refers to one of another provider, which has to be made of `source`."""
        self._ledger.tell(OUTSIDE, Outside(*user, reference, source))

    def has(self, layer: str, kind: str, name: str) -> bool:
        return self._ledger.has((WRITTEN, layer, kind, name))

    def content(self, layer: str, kind: str, name: str) -> dict[str, Any] | None:
        """What an object was made of; None: there is none of this name."""
        found: _Written | None = self._ledger.first((WRITTEN, layer, kind, name))
        return None if found is None else found.content

    def faults(self, layer: str, kind: str, name: str) -> list[str]:
        """Why an object cannot run, as far as its task has said."""
        found: _Written | None = self._ledger.first((WRITTEN, layer, kind, name))
        return [] if found is None else found.faults

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
        cell = (WRITTEN, layer, kind, name)
        if self._ledger.has(cell):
            taken: _Written = self._ledger.first(cell)
            self.complain(f"{source}: {at}: {taken.source} has the name {name} already, and is older")
            return False
        self._ledger.write(cell, _Written(content, source, at, list(faults)))
        return True

    def put_certificate(self, key: str, content: dict[str, Any], source: str) -> None:
        """Add a certificate, unless there is one of this key."""
        cell = (WRITTEN, TLS, CERTIFICATES, key)
        if not self._ledger.has(cell):
            self._ledger.write(cell, _Written(content, source, source, []))

    def reading(self) -> Reading:
        """The configuration of all objects, and what is to be said about it."""
        memory, ledger = self._memory, self._ledger
        self._decode()
        problems, warnings = ledger.told(PROBLEMS), ledger.told(WARNINGS)
        for _, (_, refused) in sorted(memory.refused.items(), key=lambda item: (item[1][0], item[0])):
            problems += refused
        for place in sorted(memory.warned):
            warnings += memory.known[place].warnings
        outside = tuple(dict.fromkeys(ledger.told(OUTSIDE)))
        config = memory.config if outside == memory.config.outside else memory.config.model_copy()
        memory.config = config.with_outside(outside)
        memory.is_whole = True
        return Reading(config, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(warnings)))

    def statuses(self) -> tuple[Wanted, ...]:
        """The statuses that objects should have."""
        return tuple(self._ledger.told(STATUSES, ordered=False))

    def _decode(self) -> None:
        """Make the objects anew that are made of something else now."""
        memory, ledger = self._memory, self._ledger
        changed: dict[tuple[str, str], dict[str, Any]] = {}
        gone: dict[tuple[str, str], list[str]] = {}
        for cell in ledger.changed:
            if not isinstance(cell, tuple) or cell[0] != WRITTEN:
                continue
            place: Place = cell[1:]
            thing = self._one(place, ledger.value(cell))
            layer, kind, name = place
            if thing is None:
                gone.setdefault((layer, kind), []).append(name)
            else:
                changed.setdefault((layer, kind), {})[name] = thing
        ledger.changed.clear()
        where = dict.fromkeys((*changed, *gone))
        for each in where:
            memory.parts[each] = patched(memory.parts.get(each, {}), changed.get(each, {}), gone.get(each, ()))
        if not where:
            return
        sections: dict[str, Any] = {}
        for (layer, kind), things in memory.parts.items():
            if not things:
                continue
            listed = (layer, kind) == (TLS, CERTIFICATES)
            attribute = ATTRIBUTES.get(kind, kind)
            sections.setdefault(layer, {})[attribute] = [things[key] for key in sorted(things)] if listed else things
        for layer, told in sections.items():
            # Each object has been validated.
            sections[layer] = plain(fields_of(DynamicConfig)[layer].annotation).model_construct(**told)
        memory.config = DynamicConfig.model_validate(sections)

    def _one(self, place: Place, entry: tuple[Order, _Written] | None) -> Any:
        """The object at a place; None: there is none, or it cannot be used."""
        memory = self._memory
        memory.refused.pop(place, None)
        memory.warned.discard(place)
        before = memory.known.pop(place, None)
        if entry is None:
            return None
        order, written = entry
        if before is None or before.written != written:
            try:
                before = _decoded(place, written)
            except ConfigError as error:
                memory.refused[place] = order, list(map(str, error.problems))
                return None
        memory.known[place] = before
        if before.warnings:
            memory.warned.add(place)
        return before.thing


def _decoded(place: Place, written: _Written) -> _Known:
    """The object at a place. Raises ConfigError."""
    layer, kind, name = place
    text = as_text(written.content)
    content: Any = [text] if kind == CERTIFICATES else {name: text}
    tree = _ObjectTree({layer: {kind: content}}, written.source, prefix="spec.", at=written.at)
    decoded = decode(tree, DynamicConfig)
    found = getattr(getattr(decoded.model, layer), ATTRIBUTES.get(kind, kind))
    thing = found[0 if kind == CERTIFICATES else name]
    if written.faults:
        thing = thing.model_copy(update={"faults": (*thing.faults, *written.faults)})
    return _Known(written, thing, [str(warning) for warning in decoded.warnings])
