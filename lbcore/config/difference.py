"""What a configuration changes of another one, by object, and which objects that concerns. No I/O.

Objects are immutable: one that is the same object has not changed. With a large configuration of which little changes,
all that is linear is a comparison of identities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn, TypeVar, cast

from lbcore.config.dynamic import DynamicConfig, HttpConfig, Middleware, Router, Service
from lbcore.config.model import Model
from lbcore.config.tcp import TcpConfig, TcpMiddleware, TcpRouter, TcpService
from lbcore.config.udp import UdpConfig, UdpRouter, UdpService

LAYERS = ("http", "tcp", "udp")  # of objects by kind and name
PIECE = 1000  # entries that are copied at once, with the interpreter's lock
T = TypeVar("T")
K = TypeVar("K")

Layer = HttpConfig | TcpConfig | UdpConfig
Kind = tuple[str, str]  # layer, and attribute: ("http", "servers_transports")
Key = tuple[str, str]  # an object of HTTP: kind as in `Disabled`, and qualified name


class Patched(dict[str, T]):
    """Objects by name that know what they change of those of which they are a copy. They cannot be changed any more.

    base  None: what follows is forgotten, since a next copy knows more.
    """

    __slots__ = ("base", "changed", "gone", "has_gaps")

    base: Mapping[str, T] | None
    changed: list[str]
    gone: list[str]
    has_gaps: bool  # whether entries were removed from its table

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("these objects are compared by what was changed: make a copy with `patched`")

    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse


def patched(before: Mapping[str, T], changed: Mapping[str, T], gone: Iterable[str]) -> Patched[T]:
    """A copy with other entries: those that stay keep their order."""
    after: Patched[T] = Patched() if isinstance(before, Patched) and before.has_gaps else Patched(before)
    if len(after) != len(before):  # each entry of a table with gaps is entered again: in pieces
        entries = iter(before.items())
        while piece := dict(islice(entries, PIECE)):
            dict.update(after, piece)
    dict.update(after, changed)
    after.base, after.changed = before, list(changed)
    after.gone = [name for name in gone if name not in changed and dict.pop(after, name, None) is not None]
    after.has_gaps = bool(after.gone)
    if isinstance(before, Patched):
        before.base = None  # so that only one generation is kept
    return after


def copied(before: Mapping[str, T]) -> dict[str, T]:
    """A copy. It copies the table as it is, where `dict(before)` enters each again once any was removed."""
    return before.copy() if isinstance(before, dict) else dict(before)


def without(gone: Iterable[str], before: Mapping[str, T]) -> dict[str, T]:
    """A copy without some entries, which need not exist."""
    after = copied(before)
    for name in gone:
        after.pop(name, None)
    return after


def changed_names(before: Mapping[K, object], after: Mapping[K, object]) -> tuple[list[K], list[K]]:
    """The names of objects that are new or others in `after`, and of those that are gone. Not to be changed."""
    if after is before:
        return [], []
    if isinstance(after, Patched) and after.base is before:
        return cast("list[K]", after.changed), cast("list[K]", after.gone)
    get = before.get
    changed = [name for name, thing in after.items() if get(name) is not thing]
    if len(before) + sum(name not in before for name in changed) == len(after):
        return changed, []
    return changed, [name for name in before if name not in after]


@dataclass(frozen=True, slots=True)
class Difference:
    """What one configuration changes of another one. `changed`, `gone`: names by kind, of the kinds that differ."""

    changed: Mapping[Kind, list[str]]
    gone: Mapping[Kind, list[str]]

    @staticmethod
    def of(before: DynamicConfig, after: DynamicConfig) -> Difference:
        """The difference of two configurations."""
        changed: dict[Kind, list[str]] = {}
        gone: dict[Kind, list[str]] = {}
        for layer in LAYERS:
            _compare(layer, getattr(before, layer), getattr(after, layer), changed, gone)
        return Difference(changed, gone)

    @staticmethod
    def of_http(before: HttpConfig, after: HttpConfig) -> Difference:
        """The difference of their parts for HTTP."""
        return Difference._of("http", before, after)

    @staticmethod
    def of_layer(layer: str, before: Layer, after: Layer) -> Difference:
        """The difference of their parts for another layer."""
        return Difference._of(layer, before, after)

    @staticmethod
    def _of(layer: str, before: Model, after: Model) -> Difference:
        changed: dict[Kind, list[str]] = {}
        gone: dict[Kind, list[str]] = {}
        _compare(layer, before, after, changed, gone)
        return Difference(changed, gone)

    def touched(self, layer: str, kind: str) -> list[str]:
        """The names of objects that are new, others, or gone."""
        return [*self.changed.get((layer, kind), ()), *self.gone.get((layer, kind), ())]


def _compare(layer: str, old: Model, new: Model, changed: dict[Kind, list[str]], gone: dict[Kind, list[str]]) -> None:
    for kind in type(new).model_fields:
        more, less = changed_names(getattr(old, kind), getattr(new, kind))
        if more:
            changed[layer, kind] = more
        if less:
            gone[layer, kind] = less


def qualify(name: str, owner: str) -> str:
    """`name` as seen from the object `owner`: `web` in `shop@file` is `web@file`."""
    return name if "@" in name else f"{name}@{owner.rpartition('@')[2]}"


OF_KIND = {
    "router": "routers",
    "service": "services",
    "middleware": "middlewares",
    "serversTransport": "servers_transports",
}


def references(kind: str, name: str, thing: Any) -> Iterator[Key]:
    """The objects of its layer to which one of them refers, whether or not they exist. Those of entry points are not
    among them."""
    if kind == "router":
        yield from _of_router(name, thing)
    elif kind == "service":
        yield from _of_service(name, thing)
    elif kind == "middleware":
        yield from _of_middleware(name, thing)


def _of_router(name: str, router: Router | TcpRouter | UdpRouter) -> Iterator[Key]:
    for reference in () if isinstance(router, UdpRouter) else router.middlewares:
        yield "middleware", qualify(reference, name)
    for parent in router.parent_refs if isinstance(router, Router) else ():
        yield "router", qualify(parent, name)
    if router.service:
        yield "service", qualify(router.service, name)


def _of_service(name: str, service: Service | TcpService | UdpService) -> Iterator[Key]:
    for reference in service.middlewares if isinstance(service, Service) else ():
        yield "middleware", qualify(reference, name)
    for child in service.children:
        yield "service", qualify(child, name)
    if isinstance(service, UdpService):
        return
    if service.load_balancer is not None and service.load_balancer.servers_transport:
        yield "serversTransport", qualify(service.load_balancer.servers_transport, name)


def _of_middleware(name: str, middleware: Middleware | TcpMiddleware) -> Iterator[Key]:
    if isinstance(middleware, TcpMiddleware):
        return
    for part in middleware.chain.middlewares if middleware.chain is not None else ():
        yield "middleware", qualify(part, name)
    for asked in middleware.asks:
        yield "service", qualify(asked, name)


@dataclass(frozen=True, slots=True)
class Users:
    """By kind and name of an object of one layer: the objects that refer to it, if there are any."""

    of: Mapping[str, dict[str, tuple[Key, ...]]] = field(default_factory=lambda: {kind: {} for kind in OF_KIND})

    @staticmethod
    def all(config: Layer) -> Users:
        """The users of all objects."""
        found = Users()
        for kind, section in OF_KIND.items():
            for name, thing in getattr(config, section, {}).items():
                found._add(kind, name, thing)
        return found

    def follow(
        self,
        before: Layer,
        after: Layer,
        touched: Mapping[str, Collection[str]],
    ) -> Users:
        """The users in another configuration, which differs in these names of each kind."""
        found = Users({kind: names.copy() for kind, names in self.of.items()})
        for kind, names in touched.items():
            old, new = getattr(before, OF_KIND[kind], {}), getattr(after, OF_KIND[kind], {})
            for name in names:
                if name in old:
                    found._remove(kind, name, old[name])
                if name in new:
                    found._add(kind, name, new[name])
        return found

    def _add(self, kind: str, name: str, thing: Any) -> None:
        for used, reference in dict.fromkeys(references(kind, name, thing)):
            self.of[used][reference] = (*self.of[used].get(reference, ()), (kind, name))

    def _remove(self, kind: str, name: str, thing: Any) -> None:
        for used, reference in dict.fromkeys(references(kind, name, thing)):
            rest = tuple(user for user in self.of[used].get(reference, ()) if user != (kind, name))
            if rest:
                self.of[used][reference] = rest
            else:
                self.of[used].pop(reference, None)

    def in_trees(self) -> set[str]:
        """The routers below others, and those that they name as their parents, which need not exist."""
        of = self.of["router"]
        return {*of, *(name for users in of.values() for _, name in users)}

    def beside(self, name: str, routers: Mapping[str, Router]) -> Iterator[str]:
        """The routers directly below and above one of `routers`, which need not exist."""
        yield from (child for _, child in self.of["router"].get(name, ()))
        if name in routers:
            yield from (qualify(parent, name) for parent in routers[name].parent_refs)

    def above(self, start: Iterable[Key]) -> dict[str, set[str]]:
        """These objects, and all that refer to them, directly or by others, by kind."""
        found: dict[str, set[str]] = {kind: set() for kind in OF_KIND}
        ahead = list(start)
        while ahead:
            kind, name = ahead.pop()
            if name not in found[kind]:
                found[kind].add(name)
                ahead += self.of[kind].get(name, ())
        return found
