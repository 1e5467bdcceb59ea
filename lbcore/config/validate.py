"""What is wrong with the objects of a dynamic configuration: each problem disables its object alone. No I/O.

Names are qualified (`web@file`), as providers are merged; a reference without provider means the provider of its owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lbcore.config.dynamic import DynamicConfig, HttpConfig, Middleware, Router, Service
from lbcore.config.network import split_url
from lbcore.config.rule import RuleError, parse_rule
from lbcore.config.static import StaticConfig

INTERNAL_SERVICES = frozenset({"noop@internal", "ping@internal"})
DEFAULT_TRANSPORT = "default@internal"
MULTIPLE = "cannot create {0}: multi-types {0} not supported, consider declaring two different pieces of {0} instead"


@dataclass(frozen=True, slots=True)
class Disabled:
    """An object that cannot run. `kind`: router, service or middleware."""

    kind: str
    name: str
    errors: list[str]


@dataclass(slots=True)
class Findings:
    """Errors by qualified name, and what is strange but runs."""

    routers: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, list[str]] = field(default_factory=dict)
    middlewares: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def disabled(self) -> list[Disabled]:
        kinds = {"router": self.routers, "service": self.services, "middleware": self.middlewares}
        return [Disabled(kind, name, errors) for kind, found in kinds.items() for name, errors in sorted(found.items())]


def qualify(name: str, owner: str) -> str:
    """`name` as seen from the object `owner`: `web` in `shop@file` is `web@file`."""
    return name if "@" in name else f"{name}@{owner.rpartition('@')[2]}"


def entry_points_of(router: Router, static: StaticConfig) -> list[str]:
    """Where a router listens: what it names, else the default entry points, else all but Traefik's internal one."""
    if router.entry_points:
        return [name for name in router.entry_points if name in static.entry_points]
    default = [name for name, point in static.entry_points.items() if point.as_default]
    return default or [name for name in static.entry_points if name != "traefik"]


def check(dynamic: DynamicConfig, static: StaticConfig) -> Findings:
    """Check every object. Cost: linear in the configuration."""
    http, found = dynamic.http, Findings()
    for name, middleware in http.middlewares.items():
        if errors := _middleware_errors(middleware):
            found.middlewares[name] = errors
    for name in http.middlewares:
        if name not in found.middlewares and (error := _chain_error(name, http.middlewares, ())):
            found.middlewares[name] = [error]
    for name, service in http.services.items():
        if errors := _service_errors(name, service, http):
            found.services[name] = errors
    for name in http.services:
        if name not in found.services and (error := _tree_error(name, http.services, found, ())):
            found.services[name] = [error]
    for name, router in http.routers.items():
        if errors := _router_errors(name, router, http, static, found):
            found.routers[name] = errors
    return found


def _router_errors(name: str, router: Router, http: HttpConfig, static: StaticConfig, found: Findings) -> list[str]:
    errors = []
    try:
        parse_rule(router.rule)
    except RuleError as error:
        errors.append(str(error))
    for point in router.entry_points:
        if point not in static.entry_points:
            (found.warnings if entry_points_of(router, static) else errors).append(
                f'entryPoint "{point}" doesn\'t exist'
            )
    if not entry_points_of(router, static):
        errors.append("no valid entryPoint for this router")
    for reference in router.middlewares:
        errors += _middleware_reference(qualify(reference, name), http.middlewares, found)
    if not router.service:
        return [*errors, "the service is missing on the router"]
    service = qualify(router.service, name)
    if service.endswith("@internal"):
        if service not in INTERNAL_SERVICES:
            errors.append(f'the service "{service}" is not supported by this version of lbcore')
    elif service not in http.services:
        errors.append(f'the service "{service}" does not exist')
    else:
        errors += found.services.get(service, [])
    return errors


def _middleware_reference(name: str, middlewares: Mapping[str, Middleware], found: Findings) -> list[str]:
    if name not in middlewares:
        return [f'middleware "{name}" does not exist']
    return found.middlewares.get(name, [])


def _middleware_errors(middleware: Middleware) -> list[str]:
    kinds = middleware.kinds
    if len(kinds) > 1:
        return [MULTIPLE.format("middleware")]
    return [] if kinds else ["the middleware does not have any type defined"]


def _chain_error(name: str, middlewares: Mapping[str, Middleware], above: tuple[str, ...]) -> str:
    if name in above:
        return f"recursion detected in middleware:{'->middleware:'.join((*above[above.index(name) :], name))}"
    chain = middlewares[name].chain
    for reference in chain.middlewares if chain else ():
        part = qualify(reference, name)
        if part not in middlewares:
            return f'middleware "{part}" does not exist'
        if error := _chain_error(part, middlewares, (*above, name)):
            return error
    return ""


def _service_errors(name: str, service: Service, http: HttpConfig) -> list[str]:
    balancer = service.load_balancer
    if balancer is not None and service.weighted is not None:
        return [MULTIPLE.format("service")]
    if balancer is None:
        return [] if service.weighted is not None else [f'the service "{name}" does not have any type defined']
    errors = []
    if balancer.strategy != "wrr":
        known = balancer.strategy in ("p2c", "hrw", "leasttime")
        strategy = f'"{balancer.strategy}"' + (" is not supported by this version of lbcore" if known else "")
        errors.append(f"unsupported load-balancer strategy {strategy}")
    for server in balancer.servers:
        try:
            split_url(server.url)
        except ValueError as error:
            errors.append(str(error))
    transport = balancer.servers_transport
    if transport and qualify(transport, name) not in {*http.servers_transports, DEFAULT_TRANSPORT}:
        errors.append(f"servers transport not found {qualify(transport, name)}")
    return errors


def _tree_error(name: str, services: Mapping[str, Service], found: Findings, above: tuple[str, ...]) -> str:
    if name in above:
        return (
            f"could not instantiate service {name}: recursion detected in "
            f"service:{'->service:'.join((*above[above.index(name) :], name))}"
        )
    weighted = services[name].weighted
    for child in weighted.services if weighted else ():
        part = qualify(child.name, name)
        if part not in services:
            return f'building HTTP service "{child.name}": the service "{part}" does not exist'
        if part in found.services:
            return f'building HTTP service "{child.name}": {found.services[part][0]}'
        if error := _tree_error(part, services, found, (*above, name)):
            return error
    return ""
