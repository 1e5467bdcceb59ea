"""Validation of the objects of UDP of a dynamic configuration: each problem disables its object alone. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.difference import qualify
from lbcore.config.model import Object
from lbcore.config.network import split_host_port
from lbcore.config.resolved import udp_entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.udp import UdpConfig, UdpRouter, UdpService
from lbcore.config.validate.findings import MULTIPLE, Disabled, Fault
from lbcore.config.validate.layer4 import check_tree


def check_udp(
    udp: UdpConfig, static: StaticConfig, sound: Mapping[str, UdpService] | None = None
) -> tuple[list[Disabled], list[str]]:
    """The objects that cannot run, with their errors, and warnings about others. Cost: linear in the configuration.

    sound  services that need not be looked at by themselves again, but only at what they refer to.
    """
    sound = sound or {}
    following: set[tuple[str, str]] = set()
    some = {name: service for name, service in udp.services.items() if sound.get(name) is not service}
    services = {name: errors for name, service in some.items() if (errors := _service_errors(name, service))}
    check_tree(udp.services, services, "udpService", following)
    routers: dict[str, list[str]] = {}
    warnings: list[str] = []
    for name, router in udp.routers.items():
        own, others, strange = _router_errors(name, router, udp, static, services)
        if own or others:
            routers[name] = [*own, *others]
        else:
            warnings += [f"udp router {name}: {text}" for text in strange]
        if others and not own:
            following.add(("udpRouter", name))
    kinds: dict[str, tuple[dict[str, list[str]], Mapping[str, Object]]] = {
        "udpRouter": (routers, udp.routers),
        "udpService": (services, udp.services),
    }
    disabled = [
        Disabled(kind, name, errors, objects[name].place, (kind, name) in following)
        for kind, (found, objects) in kinds.items()
        for name, errors in sorted(found.items())
    ]
    return disabled, warnings


def unknown_udp_points(router: UdpRouter, static: StaticConfig) -> list[Fault]:
    """The entry points that a router names and that are none of UDP."""
    return [
        Fault(f'entryPoint "{name}" doesn\'t exist', "entryPoints")
        for name in router.entry_points
        if name not in static.udp_points and name not in static.closed
    ]


def _router_errors(
    name: str, router: UdpRouter, udp: UdpConfig, static: StaticConfig, services: dict[str, list[str]]
) -> tuple[list[str], list[str], list[str]]:
    """Errors of a router, those of the objects to which it refers, and what is strange about a router that runs."""
    if router.faults:
        return list(router.faults), [], []
    errors: list[str] = []
    others = [f'entryPoint "{point}" cannot run' for point in router.entry_points if point in static.closed]
    strange: list[str] = list(unknown_udp_points(router, static))
    if not udp_entry_points_of(router, static) and not others:
        errors += [*strange, "no valid entryPoint for this router"]
    service = qualify(router.service, name)
    if not router.service:
        errors.append("the service is missing on the udp router")
    elif service not in udp.services:
        errors.append(Fault(f'the UDP service "{service}" does not exist', "service"))
    return errors, [*others, *services.get(service, [])], strange


def _service_errors(name: str, service: UdpService) -> list[str]:
    if service.faults:
        return list(service.faults)
    if len(service.kinds) > 1:
        return [MULTIPLE.format("service")]
    if not service.kinds:
        return [f'the UDP service "{name}" does not have any type defined']
    errors: list[str] = []
    for number, server in enumerate(service.load_balancer.servers if service.load_balancer else []):
        try:
            split_host_port(server.address)
        except ValueError as error:
            errors.append(Fault(str(error), "loadBalancer", "servers", number, "address"))
    return errors
