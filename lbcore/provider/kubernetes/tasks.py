"""Readings of a cluster, of which only what changes concern is done: objects as tasks of a ledger. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lbcore.config.difference import changed_names
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.ledger import Order
from lbcore.provider.kubernetes.shape import mapping
from lbcore.provider.kubernetes.watch import Key, Snapshot, about, age_of

SLICES = "EndpointSlice"
SERVICE_LABEL = "kubernetes.io/service-name"
OBJECT, ALL, ENDPOINTS, RANK = "object of a kind", "all objects of a kind", "endpoints of a service", "rank by age"

C = TypeVar("C")


class Seen:
    """What is known at one moment, as tasks look at it: these are done again when that is not so any more."""

    def __init__(self, snapshot: Snapshot, memory: Memory) -> None:
        self._snapshot = snapshot
        self._memory = memory
        self._ledger = memory.ledger

    def all(self, kind: str) -> list[Thing]:
        """The objects of a kind, the oldest first."""
        self._ledger.look((ALL, kind))
        return self._snapshot.all(kind)

    def find(self, kind: str, namespace: str, name: str) -> Thing | None:
        self._ledger.look((OBJECT, kind, namespace, name))
        return self._snapshot.find(kind, namespace, name)

    def reads(self, namespace: str) -> bool:
        """Whether objects of a namespace are known."""
        return self._snapshot.reads(namespace)

    def slices(self, namespace: str, name: str) -> list[Thing]:
        """The EndpointSlices of a service, in the order of their names."""
        self._ledger.look((ENDPOINTS, namespace, name))
        found = self._memory.slices.get((namespace, name), {})
        return [found[key] for key in sorted(found)]

    def rank(self, kind: str, namespace: str, name: str) -> int:
        """The place of an object among those of its kind; 0 = the oldest one."""
        self._ledger.look((RANK, kind, namespace, name))
        return self._memory.ranks.get(kind, {}).get((namespace, name), 0)


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a reading.

    kind    each object of it is a task; empty: there is one task, without an object.
    read    does the task of an object ({}: there is none).
    ranked  whether it needs the place of objects among those of their kind.
    """

    kind: str
    read: Callable[[Any, Thing], None]
    ranked: bool = False


def follow(snapshot: Snapshot, memory: Memory, steps: Sequence[Step], make: Callable[[Seen], C]) -> C:
    """Do all steps in their order, each with the oldest object first, as far as the snapshot differs from the last one.

    make  makes the context that steps need. Returns it.
    """
    if not memory.is_whole:
        memory.clear()
        for number, step in enumerate(steps):
            if not step.kind:
                memory.ledger.set((number,), (step, {}))
    memory.is_whole = False
    before, memory.objects = memory.objects, snapshot.objects
    context = make(Seen(snapshot, memory))
    for kind in {**before, **snapshot.objects}:
        _compare(memory, kind, before.get(kind, {}), snapshot.objects.get(kind, {}), steps)
    memory.ledger.run(lambda work: work[0].read(context, work[1]))
    return context


def _compare(
    memory: Memory, kind: str, before: Mapping[Key, Thing], after: Mapping[Key, Thing], steps: Sequence[Step]
) -> None:
    """Have what is other, of one kind, be read."""
    changed, gone = changed_names(before, after)
    if not changed and not gone:
        return
    ledger, places_differ = memory.ledger, bool(gone)
    ledger.touch((ALL, kind))
    for key in (*changed, *gone):
        ledger.touch((OBJECT, kind, *key))
        old, new = before.get(key), after.get(key)
        places_differ |= old is None or new is None or age_of(old) != age_of(new)
        if kind == SLICES:
            _index(memory, key, old, new)
        for number, step in enumerate(steps):
            if step.kind != kind:
                continue
            if old is not None and (new is None or age_of(old) != age_of(new)):
                ledger.end(_order(number, old))
            if new is not None:
                ledger.set(_order(number, new), (step, new))
    if places_differ and any(step.ranked and step.kind == kind for step in steps):
        _rank(memory, kind, after.values())


def _order(step: int, thing: Thing) -> Order:
    created, (namespace, name) = age_of(thing)
    return (step, created, namespace, name)


def _index(memory: Memory, key: Key, old: Thing | None, new: Thing | None) -> None:
    """Note of which service an EndpointSlice is."""
    for thing, is_there in ((old, False), (new, True)):
        metadata = about(thing or {})
        name = mapping(metadata.get("labels")).get(SERVICE_LABEL)
        if not isinstance(name, str):
            continue
        service = (str(metadata.get("namespace")), name)
        if is_there:
            assert thing is not None
            memory.slices.setdefault(service, {})[key] = thing
        elif (known := memory.slices.get(service)) is not None:
            known.pop(key, None)
            if not known:
                del memory.slices[service]
        memory.ledger.touch((ENDPOINTS, *service))


def _rank(memory: Memory, kind: str, things: Iterable[Thing]) -> None:
    """Order all objects of a kind by their ages."""
    before = memory.ranks.get(kind, {})
    ranks = {key: rank for rank, (_, key) in enumerate(sorted(map(age_of, things)))}
    memory.ranks[kind] = ranks
    for key, rank in ranks.items():
        if before.get(key) != rank:
            memory.ledger.touch((RANK, kind, *key))
