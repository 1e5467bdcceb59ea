"""The lines that an instance logs at its start: what it runs, and the addresses of API and metrics. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbcore.api.runtime import Runtime
from lbcore.config.static import StaticConfig
from lbcore.process.listeners import Listener


def contents(runtime: Runtime) -> str:
    """How many objects of each kind a configuration has, and how many do not run."""
    http, tcp, udp = runtime.dynamic.http, runtime.dynamic.tcp, runtime.dynamic.udp
    servers = sum(len(http_service.members) for http_service in http.services.values() if http_service.load_balancer)
    servers += sum(len(tcp_service.members) for tcp_service in tcp.services.values() if tcp_service.load_balancer)
    servers += sum(len(udp_service.members) for udp_service in udp.services.values() if udp_service.load_balancer)
    counts = {
        "router": len(http.routers) + len(tcp.routers) + len(udp.routers),
        "service": len(http.services) + len(tcp.services) + len(udp.services),
        "server": servers,
        "middleware": len(http.middlewares) + len(tcp.middlewares),
    }
    text = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    disabled = len(runtime.table.disabled) if runtime.table is not None else 0
    return text + (f"; {disabled} disabled" if disabled else "")


def places(static: StaticConfig, listeners: Sequence[Listener]) -> Iterator[str]:
    """The addresses of API, metrics and ping, as far as entry points serve them without a router of the user."""
    urls = {listener.entry_point: listener.url for listener in listeners if not listener.quic}
    if static.api is not None and static.api.insecure and "traefik" in urls:
        base = urls["traefik"] + static.api.base_path.rstrip("/")
        pages = [f"API on {base}/api/overview", *([f"dashboard on {base}/dashboard/"] if static.api.dashboard else [])]
        yield f"{', '.join(pages)}; lbcore status --api {base}"
    prometheus = static.metrics.prometheus if static.metrics is not None else None
    if prometheus is not None and not prometheus.manual_routing and prometheus.entry_point in urls:
        yield f"metrics on {urls[prometheus.entry_point]}/metrics"
    if static.ping is not None and not static.ping.manual_routing and static.ping.entry_point in urls:
        yield f"ping on {urls[static.ping.entry_point]}/ping"
