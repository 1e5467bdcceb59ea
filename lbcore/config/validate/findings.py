"""What a check has found: faults of objects, and what the next check begins with. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lbcore.config.difference import OF_KIND, Difference, Users
from lbcore.config.dynamic import DynamicConfig, HttpConfig
from lbcore.config.model import Object
from lbcore.config.router_tree import RouterTrees
from lbcore.config.static import StaticConfig
from lbcore.config.tls import TlsOptions

MULTIPLE = "cannot create {0}: multi-types {0} not supported, consider declaring two different pieces of {0} instead"
T = TypeVar("T")


class Fault(str):
    """A problem of an object.

    key      the key that has it; empty = the object as a whole.
    missing  the qualified name of the object that does not exist, if that is the problem; or empty.
    """

    key: tuple[str | int, ...]
    missing: str

    def __new__(cls, text: str, *key: str | int, missing: str = "") -> Fault:
        """The text is the string itself."""
        fault = super().__new__(cls, text)
        fault.key, fault.missing = key, missing
        return fault

    def about(self, text: str, *key: str | int) -> Fault:
        """This problem in other words, at another key."""
        return Fault(text, *key, missing=self.missing)


class Faults(ValueError):
    """Several problems of an object."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Disabled:
    """An object that cannot run. `kind`: router, service, middleware or serversTransport; of layer 4 tcpRouter, ...

    place    `dynamic.yml:7`.
    follows  whether all of its errors are those of objects to which it refers.
    """

    kind: str
    name: str
    errors: list[str]
    place: str = ""
    follows: bool = False


@dataclass(slots=True)
class Findings:
    """Errors of objects by qualified name, and warnings about objects that run.

    odd    by kind: names of objects about which there is something to say, or that every table has to make anew.
    todo   the objects that were looked at; None = all.
    trees  routers below routers.
    """

    routers: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, list[str]] = field(default_factory=dict)
    middlewares: dict[str, list[str]] = field(default_factory=dict)
    transports: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    following: set[tuple[str, str]] = field(default_factory=set)  # kind and name of what only others keep from running
    objects: dict[str, Mapping[str, Object]] = field(default_factory=dict)  # by kind
    odd: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in OF_KIND})
    checked: Checked | None = None
    todo: Todo | None = None
    trees: RouterTrees = field(default_factory=RouterTrees)

    def place(self, kind: str, name: str) -> str:
        """Where an object is written."""
        thing = self.objects.get(kind, {}).get(name)
        return thing.place if thing is not None else ""

    def by_kind(self) -> dict[str, dict[str, list[str]]]:
        """The errors by kind and name."""
        kinds = {"router": self.routers, "service": self.services, "middleware": self.middlewares}
        return kinds | {"serversTransport": self.transports}

    def disabled(self) -> list[Disabled]:
        """The objects that cannot run."""
        return [
            Disabled(kind, name, errors, self.place(kind, name), (kind, name) in self.following)
            for kind, found in self.by_kind().items()
            for name, errors in sorted(found.items())
        ]


Todo = Mapping[str, set[str]]  # by kind of object of HTTP: names


@dataclass(frozen=True, slots=True)
class Checked:
    """What was checked, with which a check of the next configuration begins.

    users    who refers to whom.
    errors   those found, by kind and name, and `odd` objects: see `Findings`. Both grow by what only building shows.
    parents  services with others below them.
    linked   middlewares that are chains, or ask services.
    ways     from routers that have others below them, and none above: to how many others.
    """

    static: StaticConfig
    http: HttpConfig
    options: Mapping[str, TlsOptions]
    users: Users
    errors: Mapping[str, Mapping[str, list[str]]]
    odd: Mapping[str, set[str]]
    parents: set[str]
    linked: set[str]
    ways: Mapping[str, int]

    def follow(self, dynamic: DynamicConfig, static: StaticConfig) -> tuple[Users, Todo] | None:
        """Who refers to whom in another configuration, and the objects that have to be looked at: those that differ,
        those that refer to them, and odd ones. None: all, because most of it has changed.

        The names of objects that are gone are among them.
        """
        if static is not self.static or dynamic.tls.options != self.options:
            return None
        difference = Difference.of_http(self.http, dynamic.http)
        touched = {kind: difference.touched("http", section) for kind, section in OF_KIND.items()}
        if sum(map(len, touched.values())) > len(dynamic.http.routers) + len(dynamic.http.services):
            return None
        users = self.users.follow(self.http, dynamic.http, touched)
        start = [(kind, name) for kind in OF_KIND for names in (touched, self.errors, self.odd) for name in names[kind]]
        todo = users.above(start)
        routers = dynamic.http.routers
        ahead = list(todo["router"])
        while ahead:  # trees are looked at as a whole
            name = ahead.pop()
            near = {*self.users.beside(name, self.http.routers), *users.beside(name, routers)} - todo["router"]
            todo["router"] |= near
            ahead += near
        of_points = {name for point in static.entry_points.values() for name in point.http.middlewares}
        before_all = any(name in of_points or name.rpartition("@")[0] in of_points for name in todo["middleware"])
        if before_all:
            todo["router"].update(self.http.routers, routers)
        return users, todo


def in_order(names: Collection[str] | None, objects: Mapping[str, T]) -> Mapping[str, T]:
    """The objects with these names, which need not exist, in the order of `objects`. None: all."""
    if names is None:
        return objects
    if len(names) < 2:
        return {name: objects[name] for name in names if name in objects}
    return {name: thing for name, thing in objects.items() if name in names}
