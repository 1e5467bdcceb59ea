"""Validation of the objects of a dynamic configuration: each problem disables its object alone. No I/O.

Names are qualified (`web@file`), because providers are merged; a reference without provider means that of its owner.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from lbcore.config.difference import OF_KIND, Difference, Users
from lbcore.config.difference import qualify as qualify
from lbcore.config.dynamic import DynamicConfig, HttpConfig, LoadBalancer, Middleware, Router, Service
from lbcore.config.middlewares.headers import OF_CONNECTIONS
from lbcore.config.middlewares.python import TRUSTED
from lbcore.config.model import Object
from lbcore.config.network import UNIX, has_user, is_nowhere, is_relative, split_url
from lbcore.config.plugins import how_to_bypass
from lbcore.config.router_tree import RouterTrees, router_trees
from lbcore.config.rule import Rule, RuleError, parse_rule
from lbcore.config.rule_v2 import parse_rule_v2
from lbcore.config.spiffe import NOT_CONFIGURED
from lbcore.config.static import EntryPoint, RedirectEntryPoint, StaticConfig
from lbcore.config.tls import DEFAULT, RouterTls, TlsConfig, TlsOptions
from lbcore.config.units import status_ranges

# Services of lbcore itself that are there only if their section of the static configuration is.
SECTIONS_OF_SERVICES = {
    "api@internal": "api",
    "dashboard@internal": "api",
    "ping@internal": "ping",
    "prometheus@internal": "prometheus",
    "rest@internal": "rest",
    "acme-http@internal": "HTTP challenge",
}
STRATEGIES = frozenset({"wrr", "p2c", "hrw", "leasttime", "leastconn", "peakewma"})
MAX_DEPTH = 100  # of services below a service, and of chains in a chain
MAX_CHAIN = 1000  # middlewares of one chain, those of its chains included
DEFAULT_TRANSPORT = "default@internal"
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
T = TypeVar("T")
MULTIPLE = "cannot create {0}: multi-types {0} not supported, consider declaring two different pieces of {0} instead"


class Fault(str):
    """A problem of an object, and the key that has it; empty = the object as a whole."""

    key: tuple[str | int, ...]

    def __new__(cls, text: str, *key: str | int) -> Fault:
        """The text is the string itself."""
        fault = super().__new__(cls, text)
        fault.key = key
        return fault


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
    """

    static: StaticConfig
    http: HttpConfig
    options: Mapping[str, TlsOptions]
    users: Users
    errors: Mapping[str, Mapping[str, list[str]]]
    odd: Mapping[str, set[str]]
    trees: RouterTrees
    parents: set[str]
    linked: set[str]

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
        in_trees = self.trees.order or any(routers[n].parent_refs for n in todo["router"] if n in routers)
        of_points = {name for point in static.entry_points.values() for name in point.http.middlewares}
        before_all = any(name in of_points or name.rpartition("@")[0] in of_points for name in todo["middleware"])
        if in_trees or before_all:
            todo["router"].update(self.http.routers, routers)
        return users, todo


def in_order(names: Collection[str] | None, objects: Mapping[str, T]) -> Mapping[str, T]:
    """The objects with these names, which need not exist, in the order of `objects`. None: all."""
    if names is None:
        return objects
    if len(names) < 2:
        return {name: objects[name] for name in names if name in objects}
    return {name: thing for name, thing in objects.items() if name in names}


def is_of_version_2(syntax: str, static: StaticConfig) -> bool:
    """Whether a rule with this `ruleSyntax` is written in the language of version 2."""
    return (syntax if syntax not in ("", "default") else static.core.default_rule_syntax) == "v2"


def rule_of(router: Router, static: StaticConfig) -> Rule:
    """The rule of a router, in the language of version 3. Raises RuleError."""
    return parse_rule_v2(router.rule) if is_of_version_2(router.rule_syntax, static) else parse_rule(router.rule)


def trees_of(routers: Mapping[str, Router]) -> RouterTrees:
    """The trees of routers of a merged configuration."""
    if not any(router.parent_refs for router in routers.values()):
        return RouterTrees()
    return router_trees({name: [qualify(above, name) for above in r.parent_refs] for name, r in routers.items()})


# The entry points of the configuration that was asked last, and those of routers that name none: asked for with each.
_unnamed: tuple[dict[str, EntryPoint], list[str]] = ({}, [])


def entry_points_of(router: Router, static: StaticConfig) -> list[str]:
    """The entry points of a router: those it names, else the default ones, else all but Traefik's internal one.

    A router below others has none: it gets its requests from them. The list must not be changed.
    """
    global _unnamed
    if router.parent_refs:
        return []
    points = static.stream_points
    if router.entry_points:
        return [name for name in router.entry_points if name in points]
    of, found = _unnamed
    if of is not points:
        found = [name for name, point in points.items() if point.as_default]
        found = found or [name for name in points if name != "traefik"]
        _unnamed = points, found
    return found


def redirection_port(redirect: RedirectEntryPoint, static: StaticConfig) -> str | None:
    """The port of a redirection: that of an entry point, or `:port`; None = the entry point does not exist."""
    target = static.entry_points.get(redirect.to) or static.closed.get(redirect.to)
    if target is not None:
        return target.address.rpartition(":")[2].partition("/")[0] if not target.address.startswith(UNIX) else ""
    port = redirect.to.removeprefix(":")
    return port if port != redirect.to and port.isascii() and port.isdigit() and int(port) <= 65535 else None


def unknown_entry_points(router: Router, static: StaticConfig) -> list[str]:
    """Warnings about entry points that a router names and that do not exist."""
    return [
        f'entryPoint "{name}" cannot run' if name in static.closed else f'entryPoint "{name}" doesn\'t exist'
        for name in router.entry_points
        if name not in static.stream_points
    ]


def check(dynamic: DynamicConfig, static: StaticConfig, before: Checked | None = None) -> Findings:
    """Check every object. Objects that were sound in `before`, and that no change concerns, are passed over."""
    http, found = dynamic.http, Findings()
    followed = before.follow(dynamic, static) if before is not None else None
    users, todo = followed if followed is not None else (Users.all(http), None)
    found.todo = todo

    def those(kind: str) -> set[str] | None:
        return None if todo is None else todo[kind]

    parents, linked = set[str](), set[str]()
    if before is not None and todo is not None:
        parents, linked = before.parents - todo["service"], before.linked - todo["middleware"]
    parents.update(name for name, each in in_order(those("service"), http.services).items() if each.children)
    middlewares = in_order(those("middleware"), http.middlewares)
    linked.update(name for name, each in middlewares.items() if each.chain is not None or each.asks)
    if todo is None or len(todo["router"]) >= len(http.routers):
        found.trees = trees_of(http.routers)
    errors_of = found.by_kind()
    options = dynamic.tls.options
    found.checked = Checked(static, http, options, users, errors_of, found.odd, found.trees, parents, linked)
    for name, point in static.entry_points.items():
        redirections = point.http.redirections
        target = redirections.entry_point if redirections else None
        if target is not None and redirection_port(target, static) is None:
            found.warnings.append(
                f'entryPoint "{name}": its redirection leads to "{target.to}", which doesn\'t exist: it is left out'
            )
    kinds: dict[str, Mapping[str, Object]] = {
        "router": http.routers,
        "service": http.services,
        "middleware": http.middlewares,
        "serversTransport": http.servers_transports,
    }
    found.objects = kinds
    for name, transport in in_order(those("serversTransport"), http.servers_transports).items():
        if transport.faults:
            found.transports[name] = list(transport.faults)
        if transport.needs_identity and static.spiffe is None:
            found.transports.setdefault(name, []).append(Fault(NOT_CONFIGURED, "spiffe"))
    for name, middleware in middlewares.items():
        if errors := _middleware_errors(middleware, static) or _code_errors(name, middleware, static):
            found.middlewares[name] = errors
        elif strange := _without_effect(middleware):
            found.warnings += [f"middleware {name}: {text}" for text in strange]
            found.odd["middleware"].add(name)
    some = in_order(linked, http.middlewares)
    _asking_errors(some, http, found)
    _chain_errors(some, http.middlewares, found)
    for name, service in in_order(those("service"), http.services).items():
        said = len(found.warnings)
        if errors := _service_errors(name, service, http, found):
            found.services[name] = errors
        if len(found.warnings) > said:
            found.odd["service"].add(name)
    _tree_errors(in_order(parents, http.services), http.services, found)
    for name, router in in_order(those("router"), http.routers).items():
        said = len(found.warnings)
        if errors := _router_errors(name, router, http, static, found.trees, found):
            found.routers[name] = errors
        elif errors := _tls_errors(name, router, dynamic, static):
            found.routers[name] = errors
            if not any(isinstance(error, Fault) for error in errors):
                found.following.add(("router", name))
        if len(found.warnings) > said:
            found.odd["router"].add(name)
    spread_in_trees(found.trees, http.routers, found)
    return found


def spread_in_trees(trees: RouterTrees, routers: Mapping[str, Router], found: Findings) -> None:
    """Disable the routers none of whose children can run, and those none of whose parents can."""
    for name in trees.order:
        below = trees.children.get(name)
        if below and name not in found.routers and all(child in found.routers for child in below):
            text = f"building child routers muxer: no child routers could be added to muxer ({len(below)} skipped)"
            found.routers[name] = [text]
            found.following.add(("router", name))
    for name in reversed(trees.order):
        above = [qualify(parent, name) for parent in routers[name].parent_refs]
        if above and name not in found.routers and all(parent in found.routers for parent in above):
            found.routers[name] = [f"its parent {' and its parent '.join(above)} cannot run"]
            found.following.add(("router", name))


def _below_errors(name: str, router: Router, http: HttpConfig, trees: RouterTrees) -> list[str]:
    """Errors of the place of a router in its tree, as in Traefik."""
    errors: list[str] = []
    for number, reference in enumerate(router.parent_refs):
        if (parent := qualify(reference, name)) not in http.routers:
            errors.append(Fault(f'parent router "{parent}" does not exist', "parentRefs", number))
    if router.parent_refs and router.tls is not None:
        errors.append(Fault("non-root router cannot have TLS configuration", "tls"))
    elif router.parent_refs and "observability" in router.model_fields_set:
        errors.append(Fault("non-root router cannot have Observability configuration", "observability"))
    elif router.parent_refs and router.entry_points:
        errors.append(Fault("non-root router cannot have Entrypoints configuration", "entryPoints"))
    errors += [Fault(text, "parentRefs") for text in trees.errors.get(name, ())]
    if router.parent_refs and name not in trees.order:
        errors.append(Fault("router is not reachable", "parentRefs"))
    elif router.service and trees.children.get(name):
        text = "router has both a service and is referenced as a parent by other routers"
        errors.append(Fault(text, "service"))
    elif not router.service and not trees.children.get(name):
        errors.append("router has no service and no child routers")
    return errors


def _router_errors(
    name: str, router: Router, http: HttpConfig, static: StaticConfig, trees: RouterTrees, found: Findings
) -> list[str]:
    if router.faults:
        return list(router.faults)
    errors: list[str] = []
    where = f"{router.place}: router {name.rpartition('@')[0]}" if router.place else f"router {name}"
    try:
        rule = rule_of(router, static)
        if is_of_version_2(router.rule_syntax, static):
            found.warnings.append(f"{where}: its rule is of version 2, in version 3 it is {rule}")
    except RuleError as error:
        errors.append(Fault(str(error), "rule"))
    errors += _below_errors(name, router, http, trees)
    others: list[str] = []  # what is wrong with objects it refers to
    if router.parent_refs:
        pass
    elif entry_points_of(router, static):
        found.warnings += [f"{where}: {text}" for text in unknown_entry_points(router, static)]
    elif router.entry_points and all(point in static.closed for point in router.entry_points):
        others += unknown_entry_points(router, static)
    else:
        unknown = [*unknown_entry_points(router, static), "no valid entryPoint for this router"]
        errors += [Fault(text, "entryPoints") for text in unknown]
    for number, reference in enumerate(router.middlewares):
        qualified = qualify(reference, name)
        if qualified in http.middlewares:
            others += found.middlewares.get(qualified, [])
        else:
            errors.append(Fault(f'middleware "{qualified}" does not exist', "middlewares", number))
    service = qualify(router.service, name)
    if not router.service:
        pass
    elif service.endswith("@internal"):
        sections: dict[str, object] = {"api": static.api, "ping": static.ping, "rest": static.providers.rest}
        sections["prometheus"] = static.metrics and static.metrics.prometheus
        sections["HTTP challenge"] = challenge_points(static) or None
        section = SECTIONS_OF_SERVICES.get(service)
        if section is not None and sections[section] is None:
            errors.append(Fault(f"{section} is not enabled", "service"))
        elif service == "dashboard@internal" and static.api is not None and not static.api.dashboard:
            errors.append(Fault("dashboard is not enabled", "service"))
        elif section is None and service != "noop@internal":
            errors.append(Fault(f'the service "{service}" is not supported by this version of lbcore', "service"))
    elif service not in http.services:
        errors.append(Fault(f'the service "{service}" does not exist', "service"))
    else:
        others += found.services.get(service, [])
    if others and not errors:
        found.following.add(("router", name))
    return [*errors, *others]


def challenge_points(static: StaticConfig) -> set[str]:
    """Entry points that answer the http-01 challenge of ACME."""
    orders = (resolver.acme for resolver in static.certificates_resolvers.values() if not resolver.faults)
    answered = (acme.http_challenge for acme in orders if acme is not None)
    return {http.entry_point for http in answered if http is not None} & set(static.stream_points)


def tls_of(router: Router, point: str, static: StaticConfig) -> RouterTls | None:
    """The `tls` of a router on an entry point: its own, with the entry point's options if it names none."""
    of_point = static.entry_points[point].http.tls
    if router.tls is None or of_point is None:
        return router.tls or of_point
    return router.tls if router.tls.options else of_point


def options_name(tls: RouterTls, owner: str) -> str:
    """The qualified name of TLS options."""
    return DEFAULT if tls.options in ("", DEFAULT) else qualify(tls.options, owner)


def options_errors(tls: TlsConfig, wanted: str) -> list[str]:
    """Why the TLS options of this name cannot be used; empty if they can. A Fault if there are no such options."""
    options = tls.options.get(wanted)
    if options is None:
        return [] if wanted == DEFAULT else [Fault(f"unknown TLS options: {wanted}", "tls", "options")]
    return [f"TLS options {wanted}: {fault}" for fault in options.faults]


def _tls_errors(name: str, router: Router, dynamic: DynamicConfig, static: StaticConfig) -> list[str]:
    errors: list[str] = []
    for point in entry_points_of(router, static):
        tls = tls_of(router, point, static)
        if tls is None:
            continue
        # TLS needs sound default options, because clients that ask for no known name get them.
        for wanted in dict.fromkeys((options_name(tls, name), DEFAULT)):
            errors += options_errors(dynamic.tls, wanted)
    return list(dict.fromkeys(errors))


def _middleware_reference(name: str, middlewares: Mapping[str, Middleware], found: Findings) -> list[str]:
    if name not in middlewares:
        return [Fault(f'middleware "{name}" does not exist', "middlewares")]
    return found.middlewares.get(name, [])


def _middleware_errors(middleware: Middleware, static: StaticConfig) -> list[str]:
    if middleware.faults:
        return list(middleware.faults)
    kinds = middleware.kinds
    if len(kinds) > 1:
        return [MULTIPLE.format("middleware")]
    plugins = list(middleware.plugin or ())
    if len(plugins) > 1:
        return [Fault(f"a middleware has one plugin: {', '.join(plugins)} go into one each", "plugin")]
    if plugins and not static.bypasses(plugins[0]):
        text = f"the plugin {plugins[0]} does not run in lbcore"
        return [Fault(f"{text}: {how_to_bypass(plugins[0])}", "plugin", plugins[0])]
    return [] if kinds else ["the middleware does not have any type defined"]


def _code_errors(name: str, middleware: Middleware, static: StaticConfig) -> list[str]:
    """Why a middleware may not run code: who starts containers, or fills a store, does not choose what runs here."""
    python, provider = middleware.python, name.rpartition("@")[2]
    if python is None or python.given or provider in TRUSTED | {*static.python.allowed_providers}:
        return []
    return [Fault(f"provider {provider} may not name code that runs here: python.allowedProviders allows it", "python")]


def _without_effect(middleware: Middleware) -> list[str]:
    """The settings of a middleware that have no effect, as in Traefik."""
    (kind,) = middleware.kinds
    if middleware.plugin is not None:
        return [f"requests pass without the plugin {next(iter(middleware.plugin))}"]
    if (of_kind := getattr(getattr(middleware, kind), "without_effect", None)) is not None:
        return [*of_kind()]
    if middleware.strip_prefix is not None:
        return [
            f"stripPrefix.prefixes: no path begins with {prefix!r}: write /{prefix}"
            for prefix in middleware.strip_prefix.prefixes
            if prefix and not prefix.startswith("/")
        ]
    return []


def find_cycle(start: str, edges: Callable[[str], list[str]], done: set[str]) -> list[str]:
    """A cycle that `start` leads to, as the names on the way and back; empty if there is none.

    done  names that lead to no cycle; grows.

    Iterative, and visits each name once: O(names and edges).
    """
    names: dict[str, None] = {start: None}  # on the way, in order
    rests = [iter(edges(start))]
    while rests:
        part = next(rests[-1], None)
        if part is None:
            done.add(names.popitem()[0])
            rests.pop()
        elif part in names:
            way = list(names)
            return [*way[way.index(part) :], part]
        elif part not in done:
            names[part] = None
            rests.append(iter(edges(part)))
    return []


def _asking_errors(some: Mapping[str, Middleware], http: HttpConfig, found: Findings) -> None:
    """Errors of those middlewares that ask a service which does not exist, or whose requests pass them again."""

    def ahead(node: str) -> list[str]:
        kind, _, name = node.partition(":")
        if kind == "service":
            service = http.services.get(name)
            if service is None:
                return []
            below = [f"service:{qualify(child, name)}" for child in service.children]
            return [*(f"middleware:{qualify(reference, name)}" for reference in service.middlewares), *below]
        middleware = http.middlewares.get(name)
        if middleware is None:
            return []
        parts = middleware.chain.middlewares if middleware.chain is not None else []
        below = [f"service:{qualify(asked, name)}" for asked in middleware.asks]
        return [*(f"middleware:{qualify(part, name)}" for part in parts), *below]

    done: set[str] = set()
    for name, middleware in some.items():
        if name in found.middlewares:
            continue
        for asked in middleware.asks:
            if qualify(asked, name) not in http.services:
                found.middlewares[name] = [f'the service "{qualify(asked, name)}", which it asks, does not exist']
                break
        else:
            cycle = find_cycle(f"middleware:{name}", ahead, done) if middleware.asks else []
            if f"middleware:{name}" in cycle:  # else the fault is of those on it
                found.middlewares[name] = [f"recursion detected in {'->'.join(cycle)}"]


def _chain_errors(some: Mapping[str, Middleware], middlewares: Mapping[str, Middleware], found: Findings) -> None:
    """Errors of those chains that contain themselves, or middlewares that do not exist or cannot run."""

    def parts(name: str) -> list[str]:
        chain = middlewares[name].chain if name in middlewares else None
        return [qualify(reference, name) for reference in chain.middlewares] if chain else []

    done: set[str] = set()
    for name in some:
        if name in found.middlewares:
            continue
        if cycle := find_cycle(name, parts, done):
            found.middlewares[name] = [f"recursion detected in middleware:{'->middleware:'.join(cycle)}"]
            continue
        for part in parts(name):
            if part not in middlewares:
                found.middlewares[name] = [f'middleware "{part}" does not exist']
                break
            if part in found.middlewares:
                found.middlewares[name] = list(found.middlewares[part])
                found.following.add(("middleware", name))
                break
    sizes: dict[str, tuple[int, int]] = {}  # middlewares and levels below
    for name in children_first(some, parts):
        below = [sizes.get(part, (1, 1)) for part in parts(name)]
        size = sum(count for count, _ in below) if below else 1
        depth = 1 + max((levels for _, levels in below), default=0)
        sizes[name] = min(size, MAX_CHAIN + 1), depth
        if name not in found.middlewares and (size > MAX_CHAIN or depth > MAX_DEPTH):
            what = f"more than {MAX_CHAIN} middlewares" if size > MAX_CHAIN else f"more than {MAX_DEPTH} levels"
            found.middlewares[name] = [f"the chain is {what} long" if size > MAX_CHAIN else f"chains nest {what} deep"]


def _service_errors(name: str, service: Service, http: HttpConfig, found: Findings) -> list[str]:
    """Errors of a service by itself, and of its middlewares."""
    if service.faults:
        return list(service.faults)
    if len(service.kinds) > 1:
        return [MULTIPLE.format("service")]
    if not service.kinds:
        return [f'the service "{name}" does not have any type defined']
    errors: list[str] = []
    others: list[str] = []
    for reference in service.middlewares:
        qualified = qualify(reference, name)
        (others if qualified in http.middlewares else errors).extend(
            _middleware_reference(qualified, http.middlewares, found)
        )
    if service.load_balancer is not None:
        errors += _balancer_errors(name, service.load_balancer, http, found)
        if transport := service.load_balancer.servers_transport:
            others += found.transports.get(qualify(transport, name), [])
    if service.mirroring is not None:
        if any(not 0 <= mirror.percent <= 100 for mirror in service.mirroring.mirrors):
            errors.append(Fault("percent must be between 0 and 100", "mirroring", "mirrors"))
        errors += [Fault(text, "mirroring", "headers") for text in _header_errors(service.mirroring.headers)]
    if service.failover is not None and service.failover.errors is not None:
        try:
            status_ranges(service.failover.errors.status)
        except ValueError as error:
            errors.append(Fault(f"creating HTTP code ranges: {error}", "failover", "errors", "status"))
    if others and not errors:
        found.following.add(("service", name))
    return [*errors, *others]


def _header_errors(headers: Mapping[str, str]) -> list[str]:
    """Errors of headers that are set on copies of requests."""
    errors = []
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            errors.append(f"headers: {name!r} is not the name of a header")
        elif name.lower() in OF_CONNECTIONS:
            errors.append(f"headers: {name} belongs to the connection and cannot be set")
        elif any((ord(letter) < 32 and letter != "\t") or ord(letter) == 127 for letter in value):
            errors.append(f"headers: control characters in the value of {name}")
    return errors


def _balancer_errors(name: str, balancer: LoadBalancer, http: HttpConfig, found: Findings) -> list[str]:
    errors: list[str] = []
    lb = "loadBalancer"
    if balancer.strategy not in STRATEGIES:
        known = f"one of {', '.join(sorted(STRATEGIES))}"
        errors.append(Fault(f'unsupported load-balancer strategy "{balancer.strategy}": {known}', lb, "strategy"))
    if balancer.hash_on is not None and balancer.strategy != "hrw":
        errors.append(Fault(f'hashOn goes with strategy "hrw", not "{balancer.strategy}"', lb, "hashOn"))
    if balancer.queue is not None and not balancer.is_limited:
        errors.append(Fault("queue goes with maxConnections: without a limit no request waits", lb, "queue"))
    if balancer.health_check is not None and not is_relative(balancer.health_check.path):
        text = f'health check path must be a relative URL, got: "{balancer.health_check.path}"'
        errors.append(Fault(text, lb, "healthCheck", "path"))
    for number, server in enumerate(balancer.servers):
        try:
            if not is_nowhere(server.url):
                split_url(server.url)
                if has_user(server.url):
                    found.warnings.append(f"service {name}: the user in the URL of a server is not sent: take it out")
        except ValueError as error:
            errors.append(Fault(str(error), lb, "servers", number, "url"))
    transport = balancer.servers_transport
    named = qualify(transport, name) if transport else DEFAULT_TRANSPORT
    if named != DEFAULT_TRANSPORT and named not in http.servers_transports:
        errors.append(Fault(f"servers transport not found {named}", lb, "serversTransport"))
    return errors


def _tree_errors(parents: Mapping[str, Service], services: Mapping[str, Service], found: Findings) -> None:
    """Errors of services that contain themselves, or services that do not exist, cannot run, or have no status."""

    def children(name: str) -> list[str]:
        return [qualify(child, name) for child in services[name].children] if name in services else []

    done: set[str] = set()
    for name in parents:
        if name not in found.services and (cycle := find_cycle(name, children, done)):
            way = "->service:".join(cycle)
            found.services[name] = [f"could not instantiate service {name}: recursion detected in service:{way}"]
    depths: dict[str, int] = {}
    # Children first, so that an error reaches every parent above it.
    for name in children_first(parents, children):
        depths[name] = 1 + max((depths.get(part, int(part in services)) for part in children(name)), default=0)
        if depths[name] > MAX_DEPTH and name not in found.services:
            found.services[name] = [f"services are nested more than {MAX_DEPTH} levels deep"]
        if name in found.services:
            continue
        for child in services[name].children:
            part = qualify(child, name)
            if part not in services:
                found.services[name] = [f'building HTTP service "{child}": the service "{part}" does not exist']
                break
            if part in found.services:
                found.services[name] = [f'building HTTP service "{child}": {found.services[part][0]}']
                found.following.add(("service", name))
                break
        else:
            if error := _watch_error(name, services):
                found.services[name] = [error]


def children_first(services: Mapping[str, object], children: Callable[[str], list[str]]) -> list[str]:
    """All services, each after those below it."""
    order: dict[str, None] = {}
    for root in services:
        way = [(root, False)]
        while way:
            name, below_done = way.pop()
            if name in order or name not in services:
                continue
            if below_done or all(part in order or part not in services for part in children(name)):
                order[name] = None
            else:
                way.append((name, True))
                # A service that contains itself comes up again; that error was reported before.
                on_way = {above for above, _ in way}
                way += [(part, False) for part in children(name) if part not in order and part not in on_way]
    return list(order)


def _has_status(name: str, services: Mapping[str, Service]) -> bool:
    """Whether there is a status to watch; that of mirroring is the one of its main service."""
    service = services[name]
    while service.watches and service.mirroring is not None:
        name = qualify(service.mirroring.service, name)
        service = services[name]
    return service.watches


def _watch_error(name: str, services: Mapping[str, Service]) -> str:
    """The error of a parent that watches children without a status, which it would take for healthy."""
    service = services[name]
    if not service.watches or service.load_balancer is not None or service.mirroring is not None:
        return ""
    for child in service.children:
        part = qualify(child, name)
        other = services[part]
        if _has_status(part, services) or (other.failover is not None and other.failover.errors is not None):
            continue
        failover = service.failover
        if failover is None or child != failover.service or failover.errors is None:
            kind = "mirroring service" if other.mirroring else "failover service" if other.failover else "WRR service"
            return f"cannot register {child} as updater for {name}: healthCheck not enabled in config for this {kind}"
    return ""
