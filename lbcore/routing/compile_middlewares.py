"""Compilation of middlewares: which of them stand in front of a router or a service, in what order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lbcore.config import dynamic as model
from lbcore.config.difference import copied, qualify, without
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Fault, Faults, Findings, Todo, in_order
from lbcore.middleware.base import Middleware
from lbcore.middleware.build import build
from lbcore.middleware.python import PythonMiddleware
from lbcore.routing.service import Service
from lbcore.state.counters import denial_key
from lbcore.state.holdings import Denials, State
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


def reason_of(error: Exception) -> str:
    """The reason why an object cannot be built, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def calls_of(dynamic: model.DynamicConfig) -> dict[str, str]:
    """The identities by which the calls of middlewares in Python are counted, by their qualified names."""
    names = [name for name, middleware in dynamic.http.middlewares.items() if middleware.python is not None]
    return {name: calls_identity(name) for name in names}


def calls_identity(name: str) -> str:
    """The identity by which the calls of a middleware in Python are counted, by its qualified name."""
    return f"{upstream_identity(name)}|calls"


def upstream_identity(name: str) -> str:
    """The identity of the service for the server that a middleware asks by its URL, by its qualified name."""
    return f"middleware:{name}"


@dataclass(frozen=True, slots=True)
class Compilation:
    """What is compiled, and for whom: see `compile_table`."""

    dynamic: model.DynamicConfig
    static: StaticConfig
    slots: SlotMap
    region: Region
    worker: int
    found: Findings
    state: State
    give_way: Callable[[], None]

    @property
    def http(self) -> model.HttpConfig:
        return self.dynamic.http


class MiddlewareCompiler:
    """Builds all middlewares, once.

    built   by qualified name.
    places  the routers and services in front of which each of them stands.
    """

    def __init__(self, given: Compilation) -> None:
        self.given, self.http, self.static, self.found = given, given.http, given.static, given.found
        self.built: dict[str, Middleware] = {}
        self.places: dict[str, dict[str, None]] = {}
        self._todo: set[str] | None = None  # that have to be built; None: all
        self._fresh: list[str] = []
        self._own_places: set[str] = set()  # those whose places are not those of the table in force

    def follow(
        self, built: Mapping[str, Middleware], places: Mapping[str, dict[str, None]], todo: Todo, in_trees: bool
    ) -> None:
        """Take over those of the table in force, but what has to be made again. `in_trees`: there were trees."""
        self._todo = todo["middleware"]
        self.built = without(self._todo, built)
        again = todo["router"] | todo["service"]
        self.places = copied(places)
        for name in [name for name, users in places.items() if in_trees or not users.keys().isdisjoint(again)]:
            # A router below others stands there as `above -> below`.
            self.places[name] = {user: None for user in places[name] if user.rpartition(" -> ")[2] not in again}
            self._own_places.add(name)
            if not self.places[name]:
                del self.places[name]

    def build(self) -> None:
        for name, config in in_order(self._todo, self.http.middlewares).items():
            if name in self.found.middlewares or config.chain is not None or config.plugin is not None:
                continue
            try:
                middleware = build(name, config, self.given.state)
                if isinstance(middleware, PythonMiddleware):
                    slot = self.given.slots.servers[calls_identity(name)]
                    middleware.count_in(self.given.region, self.given.worker, slot)
                key = denial_key("http", name)
                middleware.denials = Denials(self.given.state.table, key)
                self.built[name] = middleware
                self._fresh.append(name)
            except Exception as error:
                self.found.middlewares[name] = [*error.faults] if isinstance(error, Faults) else [reason_of(error)]

    def bind(self, finder: Callable[[str], Callable[[str], Service]]) -> None:
        """Give them the services that they ask.

        finder  of the qualified name of a middleware: what it finds services by.
        """
        for name in self._fresh:
            try:
                self.built[name].bind(finder(name))
            except Exception as error:
                self.found.middlewares[name] = [reason_of(error)]
                config = self.http.middlewares.get(name)
                asked = [qualify(each, name) for each in config.asks] if config is not None else []
                if any(service in self.found.services for service in asked):
                    self.found.following.add(("middleware", name))

    def expand(self, names: list[str]) -> list[str]:
        """Middlewares in the order in which they run, with chains expanded, and without plugins that are bypassed."""
        flat: list[str] = []
        for name in names:
            config = self.http.middlewares.get(name)
            if config is not None and config.chain is not None and name not in self.found.middlewares:
                flat += self.expand([qualify(reference, name) for reference in config.chain.middlewares])
            elif config is None or config.plugin is None or name in self.found.middlewares:
                flat.append(name)
        return flat

    def note_place(self, middleware: str, place: str) -> None:
        if middleware not in self._own_places:
            self._own_places.add(middleware)
            self.places[middleware] = dict(self.places.get(middleware, ()))
        self.places.setdefault(middleware, {})[place] = None

    def errors_of(self, router: model.Router, name: str) -> list[str]:
        """Errors of middlewares that only building has shown, also of those of services, and of services they ask."""
        errors: list[str] = []
        if not self.found.middlewares:
            return errors
        ways = [qualify(reference, name) for reference in router.middlewares]
        below, seen = [qualify(router.service, name)], set[str]()
        while ways or below:
            for reference in self.expand(ways):
                errors += self.found.middlewares.get(reference, [])
                if reference in self.http.middlewares:
                    below += [qualify(asked, reference) for asked in self.http.middlewares[reference].asks]
            ways = []
            service = below.pop() if below else ""
            if service in seen or service not in self.http.services:
                continue
            seen.add(service)
            ways = [qualify(reference, service) for reference in self.http.services[service].middlewares]
            below += [qualify(child, service) for child in self.http.services[service].children]
        return errors

    def errors_of_entry_point(self, point: str, router: str) -> list[str]:
        """The reasons why no router of a provider can run on an entry point: its middlewares are missing or broken."""
        errors: list[str] = []
        own = [qualify(reference, router) for reference in self.static.entry_points[point].http.middlewares]
        for reference in self.expand(own):
            if reference not in self.http.middlewares:
                errors.append(Fault(f'middleware "{reference}" does not exist', missing=reference))
            errors += self.found.middlewares.get(reference, [])
        return errors

    def lacks_middlewares(self, point: str, router: str) -> bool:
        """Whether a middleware of an entry point does not exist for a router."""
        own = [qualify(reference, router) for reference in self.static.entry_points[point].http.middlewares]
        return any(reference not in self.http.middlewares for reference in self.expand(own))
