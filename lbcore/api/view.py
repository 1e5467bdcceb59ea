"""Objects of layer 7 and entry points in the form of Traefik's API. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lbcore.api.health import health_of
from lbcore.api.internal import internal_routers
from lbcore.api.runtime import Runtime
from lbcore.api.shape import View, add_users, named, shape
from lbcore.config.difference import qualify
from lbcore.config.dynamic import Middleware, Router, RouterObservability, Service
from lbcore.config.model import fields_of
from lbcore.config.resolved import entry_points_of, tls_of
from lbcore.config.static import EntryPoint, EntryPointObservability, StaticConfig
from lbcore.config.tls import DEFAULT
from lbcore.config.validate.routers import unknown_entry_points
from lbcore.routing.sticky import cookie_name

TYPES = {
    "load_balancer": "loadbalancer",
    "weighted": "weighted",
    "highest_random_weight": "highestrandomweight",
    "failover": "failover",
    "mirroring": "mirroring",
}


def router_view(runtime: Runtime, name: str, router: Router) -> View:
    """One router."""
    errors, strange = runtime.findings("router", name)
    if not errors:
        strange += unknown_entry_points(router, runtime.static)
    view = named(shape(router), name, errors, strange)
    using = entry_points_of(router, runtime.static)
    if not router.parent_refs:
        view["entryPoints"] = router.entry_points or sorted(using)
    if using:
        view["using"] = using
    view["priority"] = router.priority or len(router.rule.encode())
    view["priorityStr"] = str(view["priority"])
    tls = next((found for point in using if (found := tls_of(router, point, runtime.static)) is not None), router.tls)
    if tls is not None:
        view["tls"] = {**shape(tls), "options": tls.options or DEFAULT}
    if router.parent_refs:
        view["parentRefs"] = [qualify(reference, name) for reference in router.parent_refs]
    if middlewares := middlewares_of(runtime, name, router):
        view["middlewares"] = middlewares
    if not router.parent_refs:
        view["observability"] = observability_of(router, using, runtime.static)
    return view


def middlewares_of(runtime: Runtime, name: str, router: Router) -> list[str]:
    """The middlewares that the requests of a router pass: those that all its entry points have, and its own."""
    points = [runtime.static.entry_points[point] for point in entry_points_of(router, runtime.static)]
    first = points[0].http.middlewares if points else []
    before = first if all(point.http.middlewares == first for point in points) else []
    return [*before, *(qualify(reference, name) for reference in router.middlewares)]


def observability_of(router: Router, using: Sequence[str], static: StaticConfig) -> View:
    """What is told of the requests of a router: by its own settings, or else by those of its first entry point."""
    point = static.entry_points[using[0]].observability if using else EntryPointObservability()
    found = {}
    for name, info in fields_of(RouterObservability).items():
        own = getattr(router.observability, name)
        found[info.alias or name] = getattr(point, name) if own is None else own
    return found


def service_view(runtime: Runtime, name: str, service: Service, with_health: bool = False) -> View:
    """One service; `with_health` adds the tree below it."""
    view = named(shape(service), name, *runtime.findings("service", name))
    add_users(view, service_users(runtime).get(name, []))
    view["type"] = TYPES[service.kinds[0]] if service.kinds else ""
    if service.load_balancer is not None and service.load_balancer.servers_transport:
        view["loadBalancer"]["serversTransport"] = qualify(service.load_balancer.servers_transport, name)
    for kind in ("loadBalancer", "weighted"):
        cookie = view.get(kind, {}).get("sticky", {}).get("cookie")
        if cookie is not None:
            cookie["name"] = cookie_name(cookie.get("name", ""), name)
    if service.load_balancer is not None and service.load_balancer.servers:
        view["serverStatus"] = {
            server.url: server_status(runtime, f"{name}|{server.url}") for server in service.load_balancer.servers
        }
    compiled = runtime.table.services.get(name) if runtime.table else None
    if with_health and compiled is not None:
        view["health"] = health_of(runtime, compiled)
    return view


def server_status(runtime: Runtime, identity: str) -> str:
    """UP or DOWN; a server that no worker has yet is up, as in Traefik."""
    slot = runtime.slots.servers.get(identity)
    return "UP" if slot is None or runtime.region.is_up(slot) else "DOWN"


def middleware_view(runtime: Runtime, name: str, middleware: Middleware, with_state: bool = False) -> View:
    """One middleware. `with_state`: with what it knows of requests, which takes time in front of many routers."""
    view = named(shape(middleware), name, *runtime.findings("middleware", name))
    users = middleware_users(runtime).get(name, [])
    if users and middleware.chain is not None:
        view["chain"]["middlewares"] = [qualify(reference, name) for reference in middleware.chain.middlewares]
    view["type"] = (middleware.kinds[0] if middleware.kinds else "").replace("_", "")
    if with_state and (states := middleware_states(runtime, name)):
        view["state"] = states
    if middleware.plugin:
        view["type"] = next(iter(middleware.plugin))
    return add_users(view, users)


def middleware_states(runtime: Runtime, name: str) -> list[View]:
    """What a middleware knows in front of each router and service, if there is anything to know."""
    compiled = runtime.table.middlewares.get(name) if runtime.table is not None else None
    if compiled is None or runtime.table is None:
        return []
    known = [(place, compiled.state_at(place, None)) for place in sorted(runtime.table.places.get(name, ()))]
    return [{"place": place, **state} for place, state in known if state is not None]


def entry_point_view(name: str, point: EntryPoint) -> View:
    """One entry point."""
    return {**shape(point), "name": name}


def service_users(runtime: Runtime) -> Mapping[str, list[str]]:
    """By service: the routers that refer to it."""

    def make() -> dict[str, list[str]]:
        users: dict[str, list[str]] = {}
        for router, config in runtime.dynamic.http.routers.items():
            users.setdefault(qualify(config.service, router), []).append(router)
        return users

    found: Mapping[str, list[str]] = runtime.derived("service users", make)
    return found


def middleware_users(runtime: Runtime) -> Mapping[str, list[str]]:
    """By middleware: the routers that refer to it, each once, lbcore's own among them."""

    def make() -> dict[str, list[str]]:
        users: dict[str, list[str]] = {}
        for router, config in runtime.dynamic.http.routers.items():
            for name in dict.fromkeys(middlewares_of(runtime, router, config)):
                users.setdefault(name, []).append(router)
        for router, view in internal_routers(runtime.static, runtime.own_errors).items():
            for name in dict.fromkeys(view.get("middlewares", ())):
                users.setdefault(name, []).append(router)
        return users

    found: Mapping[str, list[str]] = runtime.derived("middleware users", make)
    return found
