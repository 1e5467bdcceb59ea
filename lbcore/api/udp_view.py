"""Objects of UDP in the form of Traefik's API. No I/O."""

from __future__ import annotations

from lbcore.api.runtime import Runtime
from lbcore.api.shape import View, add_users, named, shape
from lbcore.api.view import server_status
from lbcore.config.difference import qualify
from lbcore.config.resolved import udp_entry_points_of
from lbcore.config.udp import UdpRouter, UdpService
from lbcore.config.validate.udp import unknown_udp_points


def udp_router_view(runtime: Runtime, name: str, router: UdpRouter) -> View:
    """One router."""
    errors, strange = runtime.findings("udpRouter", name)
    if not errors:
        strange += unknown_udp_points(router, runtime.static)
    view = named(shape(router), name, errors, strange)
    if using := udp_entry_points_of(router, runtime.static):
        view["using"] = using
    return view


def udp_service_view(runtime: Runtime, name: str, service: UdpService) -> View:
    """One service."""
    view = named(shape(service), name, *runtime.findings("udpService", name))
    routers = runtime.dynamic.udp.routers
    add_users(view, [router for router, config in routers.items() if qualify(config.service, router) == name])
    balancer = service.load_balancer
    view["type"] = next((kind.replace("_", "") for kind in service.kinds), "")
    if balancer is not None and balancer.health_check is not None:
        view["serverStatus"] = {
            server.address: server_status(runtime, f"udp:{name}|{server.address}") for server in balancer.servers
        }
    return view
