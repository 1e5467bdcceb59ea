"""Validation of the objects of UDP of a dynamic configuration: each problem disables its object alone. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from lbcore.config.difference import qualify
from lbcore.config.model import Object
from lbcore.config.network import split_host_port
from lbcore.config.resolved import udp_entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.udp import UdpConfig, UdpRouter, UdpService
from lbcore.config.validate.findings import MULTIPLE, Disabled, Fault, Todo, in_order
from lbcore.config.validate.layer4 import check_tree

T = TypeVar("T")


def check_udp(
    udp: UdpConfig, static: StaticConfig, todo: Todo | None = None
) -> tuple[list[Disabled], dict[str, list[str]]]:
    """The objects that cannot run, with their errors, and what is strange about routers that run, by their names. Cost:
    linear in what is looked at.

    todo  the objects that are looked at: all others can run. None: all.
    """

    def some(kind: str, objects: Mapping[str, T]) -> Mapping[str, T]:
        return in_order(None if todo is None else todo[kind], objects)

    following: set[tuple[str, str]] = set()
    some_services = some("service", udp.services)
    services = {name: errors for name, service in some_services.items() if (errors := _service_errors(name, service))}
    check_tree(udp.services, services, "udpService", following, some_services)
    routers: dict[str, list[str]] = {}
    warnings: dict[str, list[str]] = {}
    for name, router in some("router", udp.routers).items():
        own, others, strange = _router_errors(name, router, udp, static, services)
        if own or others:
            routers[name] = [*own, *others]
        elif strange:
            warnings[name] = [f"udp router {name}: {text}" for text in strange]
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
        errors.append(Fault(f'the UDP service "{service}" does not exist', "service", missing=service))
    return errors, [*others, *services.get(service, [])], strange


def _service_errors(name: str, service: UdpService) -> list[str]:
    if service.faults:
        return list(service.faults)
    if len(service.kinds) > 1:
        return [MULTIPLE.format("service")]
    if not service.kinds:
        return [f'the UDP service "{name}" does not have any type defined']
    errors: list[str] = []
    asked = set(map(id, service.load_balancer.sited if service.load_balancer else []))
    for number, server in enumerate(service.load_balancer.servers if service.load_balancer else []):
        if id(server) not in asked:
            continue
        try:
            split_host_port(server.address)
        except ValueError as error:
            errors.append(Fault(str(error), "loadBalancer", "servers", number, "address"))
    return errors
