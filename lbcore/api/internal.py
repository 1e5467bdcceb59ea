"""lbcore's own routers, services and middlewares, in the form of Traefik's lists. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lbcore.api.shape import View, add_users, named, shape
from lbcore.config.difference import qualify
from lbcore.config.dynamic import RedirectScheme
from lbcore.config.resolved import challenge_points, redirection_port
from lbcore.config.static import MAX_PRIORITY, StaticConfig
from lbcore.routing.compile_own import (
    ACME_BY_PASS,
    ACME_HTTP,
    ANY_RULE,
    CHALLENGE_RULE,
    METRICS_RULE,
    NOOP,
    OWN,
    PING_RULE,
    REST_RULE,
    dashboard_rule,
    redirection_name,
    redirection_of,
)

Views = dict[str, View]


def redirections(static: StaticConfig) -> Iterator[tuple[str, str, int, RedirectScheme]]:
    """Each redirection of an entry point: the entry point, name and priority of its router, its middleware."""
    for point in static.stream_points:
        settings = static.entry_points[point]
        redirect = settings.http.redirections.entry_point if settings.http.redirections is not None else None
        if redirect is not None and (port := redirection_port(redirect, static)) is not None:
            yield point, redirection_name(point, redirect), redirect.priority, redirection_of(redirect, port)


def internal_middlewares(static: StaticConfig) -> Views:
    """lbcore's own middlewares, by qualified name."""
    found: Views = {}
    for _, router, _, middleware in redirections(static):
        name = f"redirect-{router}"
        found[name] = {"redirectScheme": shape(middleware), "type": "redirectscheme"}
        add_users(named(found[name], name, []), [router])
    return found


def internal_routers(static: StaticConfig, errors: Mapping[str, Sequence[str]]) -> Views:
    """lbcore's own routers, by qualified name. `errors`: by entry point, why none of them runs there."""
    found: Views = {}

    def add(name: str, point: str, rule: str, priority: int, service: str = "", middleware: str = "") -> None:
        points = [*found[name]["entryPoints"], point] if name in found else [point]
        view: View = {"entryPoints": points, "service": service or name, "rule": rule, "using": points}
        settings = static.entry_points.get(point)
        before = [qualify(each, OWN) for each in settings.http.middlewares] if settings is not None else []
        if middlewares := [*before, *([middleware] if middleware else [])]:
            view["middlewares"] = middlewares
        told = shape(settings.observability) if settings is not None else {}
        view |= {"observability": told, "priority": priority, "priorityStr": str(priority)}
        found[name] = named(view, name, list(errors.get(point, ())))

    if static.ping is not None and not static.ping.manual_routing:
        add("ping@internal", static.ping.entry_point, PING_RULE, MAX_PRIORITY)
    for by_pass, name, priority in (
        (False, ACME_HTTP, MAX_PRIORITY),
        (True, ACME_BY_PASS, len(CHALLENGE_RULE)),
    ):
        points = [each for each in challenge_points(static) if static.entry_points[each].allow_acme_by_pass is by_pass]
        for point in sorted(points):
            # As in Traefik, one of several entry points that has middlewares has a router of its own.
            is_apart = len(points) > 1 and static.entry_points[point].http.middlewares
            add(f"{point}-{name}" if is_apart else name, point, CHALLENGE_RULE, priority, ACME_HTTP)
    prometheus = static.metrics.prometheus if static.metrics else None
    if prometheus is not None and not prometheus.manual_routing:
        add("prometheus@internal", prometheus.entry_point, METRICS_RULE, MAX_PRIORITY)
    if static.providers.rest is not None and static.providers.rest.insecure:
        add("rest@internal", "traefik", REST_RULE, MAX_PRIORITY)
    if static.api is not None and static.api.insecure:
        base = static.api.base_path.rstrip("/")
        add("api@internal", "traefik", f"PathPrefix(`{base}/api`)", MAX_PRIORITY - 1)
        if static.api.dashboard:
            add("dashboard@internal", "traefik", dashboard_rule(base), MAX_PRIORITY - 2)
    for point, name, priority, _ in redirections(static):
        by_pass = static.entry_points[point].allow_acme_by_pass
        rule = f"{ANY_RULE} && !{CHALLENGE_RULE}" if by_pass else ANY_RULE
        add(name, point, rule, priority, NOOP, f"redirect-{name}")
    return found


def internal_services(static: StaticConfig, users: dict[str, list[str]]) -> Views:
    """lbcore's own services, by qualified name. `users`: the routers that refer to each."""
    names = ["noop@internal"]
    if static.ping is not None:
        names.append("ping@internal")
    if challenge_points(static):
        names.append(ACME_HTTP)
    if static.metrics is not None and static.metrics.prometheus is not None:
        names.append("prometheus@internal")
    if static.api is not None:
        names += ["api@internal", *(["dashboard@internal"] if static.api.dashboard else [])]
    if static.providers.rest is not None:
        names.append("rest@internal")
    return {name: add_users(named({}, name, []), users.get(name, [])) for name in names}
