"""All objects by layer and kind, with the filters, sums and dumps of Traefik's API. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lbcore.api.condition import problems
from lbcore.api.health import health_of
from lbcore.api.internal import Views, internal_middlewares, internal_routers, internal_services
from lbcore.api.operating import ping_view
from lbcore.api.places import placed
from lbcore.api.runtime import Runtime
from lbcore.api.shape import View, instant
from lbcore.api.tcp_view import tcp_middleware_view, tcp_router_view, tcp_service_view
from lbcore.api.udp_view import udp_router_view, udp_service_view
from lbcore.api.view import middleware_view, router_view, service_users, service_view
from lbcore.config.difference import qualify

KINDS = {
    "http": ("routers", "services", "middlewares"),
    "tcp": ("routers", "services", "middlewares"),
    "udp": ("routers", "services"),
}
# Of providers, as Traefik shows them, in its order.
NAMES = {
    "docker": "Docker",
    "swarm": "Swarm",
    "file": "File",
    "kubernetes": "KubernetesIngress",
    "kubernetescrd": "KubernetesCRD",
    "kubernetesgateway": "KubernetesGateway",
    "rest": "Rest",
    "consul_catalog": "ConsulCatalog",
    "nomad": "Nomad",
    "consul": "Consul",
    "etcd": "Etcd",
    "zoo_keeper": "ZooKeeper",
    "redis": "Redis",
    "http": "HTTP",
}
# Where metrics are, of several the first one.
METRICS = {
    "prometheus": "Prometheus",
    "datadog": "Datadog",
    "stats_d": "StatsD",
    "influx_db2": "InfluxDB2",
    "otlp": "OTLP",
}
NOT_RAW = frozenset({"name", "provider", "type", "priorityStr"})


def objects(runtime: Runtime, layer: str, kind: str) -> Views:
    """The objects of a layer and kind by qualified name; empty for a layer that does not exist."""
    http, tcp, udp, static = runtime.dynamic.http, runtime.dynamic.tcp, runtime.dynamic.udp, runtime.static
    match layer, kind:
        case "http", "routers":
            own = {name: router_view(runtime, name, router) for name, router in http.routers.items()}
            return own | internal_routers(static, runtime.own_errors)
        case "http", "services":
            own = {name: service_view(runtime, name, service) for name, service in http.services.items()}
            users = {name: list(routers) for name, routers in service_users(runtime).items()}
            for name, router in internal_routers(static, runtime.own_errors).items():
                users.setdefault(router["service"], []).append(name)
            return own | internal_services(static, users)
        case "http", "middlewares":
            own = {name: middleware_view(runtime, name, config) for name, config in http.middlewares.items()}
            return own | internal_middlewares(static)
        case "tcp", "routers":
            return {name: tcp_router_view(runtime, name, router) for name, router in tcp.routers.items()}
        case "tcp", "services":
            return {name: tcp_service_view(runtime, name, service) for name, service in tcp.services.items()}
        case "tcp", "middlewares":
            return {name: tcp_middleware_view(runtime, name, config) for name, config in tcp.middlewares.items()}
        case "udp", "routers":
            return {name: udp_router_view(runtime, name, config) for name, config in udp.routers.items()}
        case "udp", "services":
            return {name: udp_service_view(runtime, name, config) for name, config in udp.services.items()}
    return {}


def overview(runtime: Runtime) -> View:
    """The numbers of objects, and of those that do not run, or not as configured."""
    static = runtime.static
    certificates = runtime.certificates()
    found: View = {}
    for layer, kinds in KINDS.items():
        found[layer] = {}
        for kind in kinds:
            statuses = Counter(view["status"] for view in objects(runtime, layer, kind).values())
            found[layer][kind] = {
                "total": statuses.total(),
                "warnings": statuses["warning"],
                "errors": statuses["disabled"],
            }
    return {
        **found,
        "certificates": {
            "total": len(certificates),
            "warnings": sum(each.status == "warning" for each in certificates),
            "errors": sum(each.status == "expired" for each in certificates),
        },
        "features": {
            "tracing": "OTLP" if static.tracing is not None else "",
            "metrics": next((METRICS[name] for name in METRICS if getattr(static.metrics, name, None)), ""),
            "accessLog": static.access_log is not None,
        },
        "providers": [NAMES[name] for name in NAMES if getattr(static.providers, name)],
    }


def raw_data(runtime: Runtime) -> View:
    """All objects by name; kinds without objects are omitted, as in Traefik."""
    found = {}
    for layer, kinds in KINDS.items():
        for kind in kinds:
            views = {
                name: {key: value for key, value in view.items() if key not in NOT_RAW}
                for name, view in objects(runtime, layer, kind).items()
            }
            if views:
                found[kind if layer == "http" else layer + kind.capitalize()] = views
    return found


def tree(runtime: Runtime) -> list[View]:
    """The services to which routers lead, each with all services below it."""
    return [health_of(runtime, service) | {"layer": layer} for layer, _, service, _ in runtime.roots()]


def state(runtime: Runtime) -> View:
    """Problems, reloads and workers, for `lbcore status`."""
    reload = runtime.reload
    return {
        "tls": runtime.tls_library(),
        "problems": [placed(runtime, problem) for problem in problems(runtime)],
        "accessLogLinesLost": runtime.region.log_lines_lost,
        "logLinesLost": runtime.log_lines_lost(),
        "connectionsShed": runtime.region.connections_shed,
        "denied": sum(
            runtime.region.entry_point_counters(index).denied for index in range(len(runtime.static.entry_points))
        ),
        "reload": {
            "generation": reload.generation,
            "inForce": reload.reloads,
            "failures": reload.failures,
            "lastSuccess": instant(reload.succeeded_unix_s) if reload.succeeded_unix_s else None,
            "lastFailure": instant(reload.failed_unix_s) if reload.failed_unix_s else None,
            "refused": list(reload.refused),
            "changed": reload.last.summary() if reload.last is not None else "",
            "lastChange": None
            if reload.changed is None
            else {
                "generation": reload.changed_at,
                "time": instant(reload.changed.unix_s),
                "changed": reload.changed.summary(),
            },
            "kept": [{"kind": kind, "name": name, "errors": why} for (kind, name), why in reload.kept.items()],
        },
        "providers": providers(runtime),
        "fleet": fleet(runtime),
        "log": runtime.log_level.view() if runtime.log_level is not None else None,
        "ping": ping_view(runtime.ping, runtime.stop),
        "end": runtime.stop.view() if runtime.stop is not None else None,
        "workers": [
            {"index": worker.index, "pid": worker.pid, "state": worker.state, "generation": worker.generation}
            for worker in runtime.workers()
        ],
    }


def providers(runtime: Runtime) -> list[View]:
    """What each provider has given, when, and what it lacks."""
    return [
        {
            "name": each.name,
            "objects": each.objects,
            "lastSuccess": instant(each.succeeded_unix_s) if each.succeeded_unix_s else None,
            "lastFailure": instant(each.failed_unix_s) if each.failed_unix_s else None,
            "failures": each.failures,
            "ageSeconds": round(each.age_s, 1),
            "problems": list(each.problems),
            "readable": each.is_readable,
        }
        for each in runtime.providers()
    ]


def fleet(runtime: Runtime) -> View | None:
    """The instances that serve the same; None: this one is alone."""
    found = runtime.fleet()
    if found is None:
        return None
    return {"name": found.name, "instances": found.instances, "problem": found.problem, "shed": found.shed}


def select(views: Iterable[View], search: str, status: str, service: str = "", middleware: str = "") -> list[View]:
    """The objects that match the filters of a list; empty filters match all. `service`, `middleware`: of routers."""
    found = []
    for view in views:
        text = f"{view['name']} {view.get('rule', '')}"
        if search.lower() not in text.lower() or (status and view["status"] != status.lower()):
            continue
        if service and service not in (asked := str(view.get("service", "")), qualify(asked, view["name"])):
            continue
        if middleware and middleware not in view.get("middlewares", []):
            continue
        found.append(view)
    return sorted(found, key=lambda view: str(view["name"]))
