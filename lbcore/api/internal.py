"""lbcore's own routers, services and middlewares, in the form of Traefik's lists. No I/O."""

from __future__ import annotations

from lbcore.api.shape import View, add_users, named, shape
from lbcore.config.resolved import challenge_points
from lbcore.config.static import MAX_PRIORITY, StaticConfig
from lbcore.routing.compile_own import ACME_HTTP, CHALLENGE_RULE, METRICS_RULE, PING_RULE, REST_RULE, dashboard_rule

Views = dict[str, View]


def internal_routers(static: StaticConfig) -> Views:
    """By qualified name."""
    found: Views = {}

    def add(name: str, point: str, rule: str, priority: int) -> None:
        view = {"entryPoints": [point], "service": name, "rule": rule, "priority": priority, "using": [point]}
        told = shape(static.entry_points[point].observability) if point in static.entry_points else {}
        found[name] = named({**view, "observability": told, "priorityStr": str(priority)}, name, [])

    if static.ping is not None and not static.ping.manual_routing:
        add("ping@internal", static.ping.entry_point, PING_RULE, MAX_PRIORITY)
    for point in sorted(challenge_points(static)):
        by_pass = static.entry_points[point].allow_acme_by_pass
        add(ACME_HTTP, point, CHALLENGE_RULE, len(CHALLENGE_RULE) if by_pass else MAX_PRIORITY)
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
    return found


def internal_services(static: StaticConfig, users: dict[str, list[str]]) -> Views:
    """By qualified name. `users`: the routers that refer to each."""
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
