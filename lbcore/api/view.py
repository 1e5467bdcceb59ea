"""The objects of a configuration as Traefik's API shows them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from lbcore.api.health import health_of
from lbcore.api.runtime import Runtime
from lbcore.config.dynamic import Middleware, Router, Service
from lbcore.config.model import Model
from lbcore.config.static import EntryPoint
from lbcore.config.units import format_duration
from lbcore.config.validate import entry_points_of, qualify

View = dict[str, Any]
# Keys whose defaults say nothing: shown only where the configuration sets them.
ONLY_WHEN_SET = frozenset(
    {
        "weight",
        "path",
        "rise",
        "fall",
        "max_ejection_percent",
        "max_ejection_time",
        "max_concurrent",
        "max_buffered_bytes",
    }
)
TYPES = {
    "load_balancer": "loadbalancer",
    "weighted": "weighted",
    "highest_random_weight": "highestrandomweight",
    "failover": "failover",
    "mirroring": "mirroring",
}


def shape(value: Any) -> Any:
    """A model as JSON values by Traefik's names; what is empty, zero or false is left out, as Go does."""
    if isinstance(value, Model):
        found = {}
        for name, info in type(value).model_fields.items():
            item = getattr(value, name)
            if name in ONLY_WHEN_SET and name not in value.model_fields_set:
                continue
            empty = item is None or item is False or item == "" or item == 0 or item == [] or item == {}
            if empty or (isinstance(item, timedelta) and not item):
                continue
            found[info.alias or name] = shape(item)
        return found
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return format_duration(value) if isinstance(value, timedelta) else value


def _named(view: View, name: str, errors: list[str]) -> View:
    view["status"] = "disabled" if errors else "enabled"
    view["name"] = name
    view["provider"] = name.rpartition("@")[2]
    if errors:
        view["error"] = errors
    return view


def router_view(runtime: Runtime, name: str, router: Router) -> View:
    """One router."""
    view = _named(shape(router), name, list(runtime.errors("router").get(name, [])))
    view["entryPoints"] = entry_points_of(router, runtime.static)
    view["using"] = [] if view["status"] == "disabled" else view["entryPoints"]
    view["priority"] = router.priority or len(router.rule.encode())
    view["priorityStr"] = str(view["priority"])
    if router.middlewares:
        view["middlewares"] = [qualify(reference, name) for reference in router.middlewares]
    return view


def service_view(runtime: Runtime, name: str, service: Service, with_health: bool = False) -> View:
    """One service; `with_health` adds the tree below it."""
    view = _named(shape(service), name, list(runtime.errors("service").get(name, [])))
    routers = runtime.dynamic.http.routers
    view["usedBy"] = sorted(router for router, config in routers.items() if qualify(config.service, router) == name)
    view["type"] = TYPES[service.kinds[0]] if service.kinds else ""
    if service.load_balancer is not None:
        status = {}
        for server in service.load_balancer.servers:
            slot = runtime.slots.servers.get(f"{name}|{server.url}")
            status[server.url] = "UP" if slot is None or runtime.region.is_up(slot) else "DOWN"
        view["serverStatus"] = status
    compiled = runtime.table.services.get(name) if runtime.table else None
    if with_health and compiled is not None:
        view["health"] = health_of(runtime, compiled)
    return view


def middleware_view(runtime: Runtime, name: str, middleware: Middleware) -> View:
    """One middleware."""
    view = _named(shape(middleware), name, list(runtime.errors("middleware").get(name, [])))
    routers = runtime.dynamic.http.routers
    view["usedBy"] = sorted(
        router for router, config in routers.items() if name in {qualify(m, router) for m in config.middlewares}
    )
    kind = middleware.kinds[0] if middleware.kinds else ""
    view["type"] = kind.replace("_", "")
    return view


def entry_point_view(name: str, point: EntryPoint) -> View:
    """One entry point."""
    return {**shape(point), "name": name}


def overview(runtime: Runtime) -> View:
    """How many objects there are, and how many cannot run."""

    def counts(kind: str, total: int) -> View:
        return {"total": total, "warnings": 0, "errors": len(runtime.errors(kind))}

    http, static = runtime.dynamic.http, runtime.static
    nothing = {"total": 0, "warnings": 0, "errors": 0}
    return {
        "http": {
            "routers": counts("router", len(http.routers)),
            "services": counts("service", len(http.services)),
            "middlewares": counts("middleware", len(http.middlewares)),
        },
        "tcp": {"routers": nothing, "services": nothing, "middlewares": nothing},
        "udp": {"routers": nothing, "services": nothing},
        "features": {
            "tracing": "",
            "metrics": "Prometheus" if static.metrics and static.metrics.prometheus else "",
            "accessLog": static.access_log is not None,
        },
        "providers": ["File"] if static.providers.file else [],
    }


def raw_data(runtime: Runtime) -> View:
    """Everything at once, by name."""
    http = runtime.dynamic.http
    return {
        "routers": {name: router_view(runtime, name, router) for name, router in http.routers.items()},
        "middlewares": {name: middleware_view(runtime, name, config) for name, config in http.middlewares.items()},
        "services": {name: service_view(runtime, name, service) for name, service in http.services.items()},
    }


def tree(runtime: Runtime) -> list[View]:
    """The services that routers lead to, each with all below it."""
    roots: dict[str, None] = {}
    for name, router in runtime.dynamic.http.routers.items():
        roots[qualify(router.service, name)] = None
    services = runtime.table.services if runtime.table else {}
    return [health_of(runtime, services[name]) for name in roots if name in services]


def select(views: Iterable[View], search: str, status: str, service: str, middleware: str) -> list[View]:
    """Those that fit the filters of a list; empty ones let everything through."""
    found = []
    for view in views:
        text = " ".join(str(view.get(key, "")) for key in ("name", "rule", "service"))
        if search.lower() not in text.lower() or (status and view["status"] != status):
            continue
        if service and qualify(str(view.get("service", "")), view["name"]) != service:
            continue
        if middleware and middleware not in view.get("middlewares", []):
            continue
        found.append(view)
    return sorted(found, key=lambda view: str(view["name"]))


def instant(unix_s: float) -> str:
    """As ISO 8601, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
