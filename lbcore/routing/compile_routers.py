"""Compilation of the routers of HTTP: what each of them does, and in which order an entry point tries them."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config import dynamic as model
from lbcore.config.claims import entry_points_claimed, is_guarded, options_claimed, parents_claimed
from lbcore.config.difference import qualify, without
from lbcore.config.resolved import entry_points_of, options_name, rule_of, tls_of
from lbcore.config.rule import hosts_in
from lbcore.config.tls import DEFAULT
from lbcore.config.validate.findings import Todo, in_order
from lbcore.config.validate.routers import spread_in_trees
from lbcore.middleware.recursion import RefuseRecursion
from lbcore.routing.closed import closed, closed_status
from lbcore.routing.compile_middlewares import Compilation, MiddlewareCompiler, reason_of
from lbcore.routing.compile_own import (
    NO_SERVICE,
    NO_SLOT,
    SERVED_BY_ADMIN,
    OwnRouters,
    router_identity,
    router_name_in_traefik,
)
from lbcore.routing.compile_services import ServiceCompiler
from lbcore.routing.compile_spans import traced
from lbcore.routing.compile_tls import TlsCompiler
from lbcore.routing.index import RouteIndex, file_rule
from lbcore.routing.order import CLOSED, Compiled, Order, Placed, Rank, Ranked, rank_of, ranked
from lbcore.routing.route import Route
from lbcore.routing.table import Closed, Table

# By entry point, and whether it is of requests over TLS.
RoutersThere = dict[tuple[str, bool], list[Ranked]]


class RouterCompiler:
    """Builds the routers of HTTP, and finds those that cannot run.

    order     the routers in the order of trial, by whether they are of requests over TLS, and entry point.
    indexes   the same, to find the router of a request by.
    routes, placed, in_trees, closed
              for the table that follows: see `MadeOf`.
    """

    def __init__(
        self,
        given: Compilation,
        tls: TlsCompiler,
        middlewares: MiddlewareCompiler,
        services: ServiceCompiler,
        own: OwnRouters,
    ) -> None:
        self.given, self.http, self.static, self.found = given, given.dynamic.http, given.static, given.found
        self.tls, self.middlewares, self.services, self.own = tls, middlewares, services, own
        self.trees = given.found.trees
        self.before: Table | None = None
        self.todo: Todo | None = None
        self.order: dict[bool, dict[str, list[Compiled]]] = {False: {}, True: {}}
        self.indexes: dict[bool, dict[str, RouteIndex]] = {False: {}, True: {}}
        self.routes: dict[str, dict[str, Route]] = {}
        self.placed: dict[tuple[str, bool], Order] = {}
        self.ranks_gone: list[Rank] = []  # in the table in force, of those that have to be made again
        self.in_trees: set[str] = set()
        self.lost = self.lost_children()
        self.closed: Closed = {}

    def lost_children(self) -> dict[str, list[str]]:
        """By router: those that name it as one above them in a text that could not be read."""
        lost: dict[str, list[str]] = {}
        for name in self.found.routers if self.trees.children else ():
            if (router := self.http.routers.get(name)) is not None and router.texts and not router.parent_refs:
                for parent in parents_claimed(router, name, self.trees.children):
                    lost.setdefault(parent, []).append(name)
        return lost

    def follow(self, before: Table, todo: Todo) -> None:
        """Take over the routers of the table in force but those that have to be made again."""
        made_of, gone = before.made_of, todo["router"]
        self.before, self.todo = before, todo
        self.in_trees = made_of.in_trees - gone
        self.routes = {point: without(gone, routes) for point, routes in made_of.routes.items()}
        self.placed = dict(made_of.placed)
        routers = made_of.services.http.routers
        self.ranks_gone = [self.rank(ranked(name, routers[name])) for name in gone if name in routers]

    def build(self, routes: bool) -> None:
        """Build all; `routes`: with the indexes to route by."""
        todo = in_order(None if self.todo is None else self.todo["router"], self.http.routers)
        for name, router in todo.items():
            if name not in self.found.routers and (errors := self.middlewares.errors_of(router, name)):
                self.found.routers[name] = errors
        spread_in_trees(self.trees, self.http.routers, self.found)
        sound, out = self.sorted_out(todo)
        for point in self.static.stream_points:
            all_encrypted = self.static.entry_points[point].http.tls is not None
            for encrypted in (False, True):
                there = point, encrypted
                placed = self.place(point, encrypted, sound.get(there, []), out.get(there, []))
                compiled = self.own.add(point, placed) if all_encrypted == encrypted else placed.compiled
                self.order[encrypted][point] = compiled
                if routes:
                    self.given.give_way()
                    self.indexes[encrypted][point] = self.indexed(point, encrypted, compiled)
                self.given.give_way()
            if all_encrypted:
                self.tls.accept(point)
        spread_in_trees(self.trees, self.http.routers, self.found)
        self.accept_for_disabled()

    def sorted_out(self, todo: Mapping[str, model.Router]) -> tuple[RoutersThere, RoutersThere]:
        """The routers that can run on an entry point, and those that cannot. Without those below others."""
        sound: RoutersThere = {}
        out: RoutersThere = {}
        points: dict[tuple[str, str], list[str]] = {}  # errors of entry points, also by the provider of a router

        def errors_on(point: str, name: str) -> list[str]:
            key = (point, name.rpartition("@")[2])
            if key not in points:
                points[key] = self.middlewares.errors_of_entry_point(point, name)
            return points[key]

        for name, router in todo.items():
            if router.parent_refs:
                continue
            wanted, runs = entry_points_of(router, self.static), name not in self.found.routers
            runs_on = [point for point in wanted if not errors_on(point, name)] if runs else []
            if runs and not runs_on:
                errors = [error for point in wanted for error in errors_on(point, name)]
                self.found.routers[name] = list(dict.fromkeys(errors))
                if not any(self.middlewares.lacks_middlewares(point, name) for point in wanted):
                    self.found.following.add(("router", name))
            for point in wanted if runs else entry_points_claimed(router, self.static):
                there = sound if point in runs_on else out
                for encrypted in self.kinds(point, router):
                    there.setdefault((point, encrypted), []).append(ranked(name, router))
                if runs_on and point not in runs_on:
                    text = "; ".join(errors_on(point, name))
                    self.found.warnings.append(f"router {name} is not on entry point {point}: {text}")
                    self.found.odd["router"].add(name)
        return sound, out

    def rank(self, entry: Ranked) -> Rank:
        """See `rank_of`."""
        return rank_of(entry, self.static)

    def place(self, point: str, encrypted: bool, entries: list[Ranked], out: list[Ranked]) -> Order:
        """The routers of an entry point in the order of trial. Those that cannot be built are left out, or closed.

        entries  those that have to be made; the others are taken over from the table in force.
        out      those that cannot run.
        """
        out = [*out]
        placed: list[Placed] = []
        for entry in sorted(entries, key=self.rank):
            _, name, router = entry
            try:
                compiled = file_rule(rule_of(router, self.static)), self.route(point, name, router)
            except Exception as error:
                self.found.routers[name] = [reason_of(error)]
                out.append(entry)
                continue
            tls = tls_of(router, point, self.static)
            placed.append((self.rank(entry), compiled, "" if tls is None else options_name(tls, name)))
        placed += [(self.rank(entry), each, CLOSED) for entry in out if (each := self.close(point, encrypted, entry))]
        before = self.placed.get((point, encrypted))
        order = Order(placed) if self.todo is None or before is None else before.changed(self.ranks_gone, placed)
        self.placed[point, encrypted] = order
        if encrypted and any(options != CLOSED for options in order.options):
            self.tls.add_all(point, order)
        return order

    def kinds(self, point: str, router: model.Router) -> tuple[bool, ...]:
        """Whether a router takes what comes over TLS, or the rest; both if its text does not tell."""
        is_sure = router.tls is not None or not router.faults
        return (tls_of(router, point, self.static) is not None,) if is_sure else (False, True)

    def close(self, point: str, encrypted: bool, entry: Ranked) -> Compiled | None:
        """What stands in the place of a router that cannot run. None: nothing has to."""
        _, name, router = entry
        tls = tls_of(router, point, self.static) if encrypted else None
        options = options_claimed(router, name, tls, self.tls.names) if encrypted else DEFAULT
        guarded = is_guarded(name, self.http, self.trees.children)
        key = point, encrypted, name
        status = closed_status(router, self.static, guarded, options != DEFAULT)
        of, before, found = (self.before.made_of.closed if self.before is not None else {}).get(key, (None, 0, None))
        if of is not router or before != status:
            found = closed(name, router, self.static, status)
        if found is None:
            return None
        self.closed[key] = router, status, found
        if options != DEFAULT and hosts_in(found[0].rule):
            self.tls.close(point, name, found[0].rule, options, accept=tls is not None)
        else:
            self.found.warnings.append(
                f"router {name} cannot run on entry point {point}: no other router takes its requests"
            )
        return found

    def accept_for_disabled(self) -> None:
        """TLS on the entry points of routers with it that cannot run: their clients get 404, and no error of TLS."""
        points = self.static.stream_points
        for name in self.found.routers.keys() & self.http.routers.keys():
            router = self.http.routers[name]
            for point in entry_points_of(router, self.static):
                if point in points and tls_of(router, point, self.static) is not None:
                    self.tls.accept(point)

    def leads(self, name: str) -> bool:
        """Whether a router sends requests to its service."""
        return name in self.in_trees or any(name in routes for routes in self.routes.values())

    def indexed(self, point: str, encrypted: bool, order: list[Compiled]) -> RouteIndex:
        """The index of routers in the order of trial: that of the table in force, if they are the same."""
        if self.before is not None:
            before, indexes = self.before.order, self.before.indexes
            if encrypted:
                before, indexes = self.before.encrypted_order, self.before.encrypted_indexes
            if point in indexes and before[point] == order:
                return indexes[point]
        return RouteIndex(order)

    def route(self, point: str, name: str, router: model.Router, outer: Route | None = None) -> Route:
        """The route of a router.

        outer  that of its parent, whose middlewares come before its own; None: it has none.
        """
        names = [qualify(reference, name) for reference in router.middlewares]
        observability = router.observability
        if outer is None:
            names[:0] = [qualify(reference, name) for reference in self.static.entry_points[point].http.middlewares]
        else:
            observability = self.http.routers[outer.root].observability
        own = self.middlewares.expand(names)
        for reference in own:
            self.middlewares.note_place(reference, name if outer is None else f"{outer.name} -> {name}")
        steps = (*(outer.middlewares if outer else ()), *(self.middlewares.built[step] for step in own))
        service = qualify(router.service, name) if router.service else ""
        target = NO_SERVICE
        if service in SERVED_BY_ADMIN:
            target = self.own.admin_service()
            steps += self.own.narrowed(service)
        elif service.endswith("@internal"):
            steps += (self.own.answer(service),)
        elif service:
            target = self.services.service(service)
            if router.ruled_by_default:
                steps += (RefuseRecursion(router_name_in_traefik(self.static, point, name, router)),)
        slot = self.given.slots.services.get(router_identity(name), NO_SLOT)
        route = Route(name, steps, target, slot, outer).count_in(self.given.region, self.given.worker)
        about = traced(
            self.static,
            point,
            observability,
            name=name,
            service=service,
            rule=router.rule,
            configs=self.http.middlewares,
            middlewares=own,
        )
        observed = self.own.observed(point, service, observability)
        route.observe(*observed, *about)
        if self.trees.children.get(name):
            route.fork(self.below(point, name, route))
        if self.trees.children.get(name) or outer is not None:
            self.in_trees.add(name)
        else:
            self.routes.setdefault(point, {})[name] = route
        return route

    def below(self, point: str, name: str, outer: Route) -> RouteIndex:
        """The children of a router. Those that cannot be built are left out; ValueError if all are."""
        children = dict.fromkeys([*self.trees.children[name], *self.lost.get(name, ())])
        entries = [ranked(child, self.http.routers[child]) for child in children]
        compiled: list[Compiled] = []
        runs = False
        for _, child, router in sorted(entries, key=self.rank):
            if child not in self.found.routers:
                try:
                    filed = file_rule(rule_of(router, self.static))
                    compiled.append((filed, self.route(point, child, router, outer)))
                    runs = True
                    continue
                except Exception as error:
                    self.found.routers[child] = [reason_of(error)]
            guarded = is_guarded(child, self.http, self.trees.children)
            if (place := closed(child, router, self.static, closed_status(router, self.static, guarded))) is not None:
                compiled.append(place)
        if not runs:
            raise ValueError("building child routers muxer: no child routers could be added to muxer")
        return RouteIndex(compiled)
