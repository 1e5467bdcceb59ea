"""Objects of layer 4 in the form of Traefik's API. No I/O."""

from __future__ import annotations

from lbcore.api.runtime import Runtime
from lbcore.api.shape import View, add_users, named, shape
from lbcore.api.view import server_status
from lbcore.config.difference import qualify
from lbcore.config.resolved import tcp_entry_points_of
from lbcore.config.tcp import TcpMiddleware, TcpRouter, TcpService
from lbcore.config.validate.tcp import unknown_tcp_points
from lbcore.routing.compile_tcp import priority_of


def tcp_router_view(runtime: Runtime, name: str, router: TcpRouter) -> View:
    """One router."""
    errors, strange = runtime.findings("tcpRouter", name)
    if not errors:
        strange += unknown_tcp_points(router, runtime.static)
    view = named(shape(router), name, errors, strange)
    using = tcp_entry_points_of(router, runtime.static)
    view["entryPoints"] = router.entry_points or sorted(using)
    if using:
        view["using"] = using
    view["priority"] = priority_of(router)
    view["priorityStr"] = str(view["priority"])
    if router.tls is not None:
        view["tls"] = {"passthrough": router.tls.passthrough, **shape(router.tls)}
    if router.middlewares:
        view["middlewares"] = [qualify(reference, name) for reference in router.middlewares]
    return view


def tcp_service_view(runtime: Runtime, name: str, service: TcpService) -> View:
    """One service."""
    view = named(shape(service), name, *runtime.findings("tcpService", name))
    routers = runtime.dynamic.tcp.routers
    add_users(view, [router for router, config in routers.items() if qualify(config.service, router) == name])
    view["type"] = "loadbalancer" if service.load_balancer is not None else "weighted"
    if service.load_balancer is not None and service.load_balancer.servers_transport:
        view["loadBalancer"]["serversTransport"] = qualify(service.load_balancer.servers_transport, name)
    if service.load_balancer is not None and service.load_balancer.servers:
        view["serverStatus"] = {
            server.address: server_status(runtime, f"tcp:{name}|{server.address}")
            for server in service.load_balancer.servers
        }
    return view


def tcp_middleware_view(runtime: Runtime, name: str, middleware: TcpMiddleware) -> View:
    """One middleware."""
    view = named(shape(middleware), name, *runtime.findings("tcpMiddleware", name))
    view["type"] = next((key.lower() for key in shape(middleware)), "")
    return view
