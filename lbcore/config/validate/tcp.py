"""Validation of the layer 4 objects of a dynamic configuration: each problem disables its object alone. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from lbcore.config.difference import qualify
from lbcore.config.model import Object
from lbcore.config.network import split_address
from lbcore.config.resolved import options_name, tcp_entry_points_of, tcp_rule_of
from lbcore.config.rule import RuleError, asserted_in
from lbcore.config.spiffe import NOT_CONFIGURED
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpConfig, TcpRouter, TcpService
from lbcore.config.tls import TlsConfig
from lbcore.config.validate.findings import MULTIPLE, Disabled, Fault, Todo, in_order
from lbcore.config.validate.layer4 import check_tree
from lbcore.config.validate.services import DEFAULT_TRANSPORT
from lbcore.config.validate.tls import options_errors

T = TypeVar("T")
EMPTY_RANGE = "sourceRange is empty, IPAllowLister not created"


def check_tcp(tcp: TcpConfig, static: StaticConfig, tls: TlsConfig, todo: Todo | None = None) -> list[Disabled]:
    """The objects that cannot run, with their errors. Cost: linear in what is looked at.

    todo  the objects that are looked at: all others can run. None: all.
    """

    def some(kind: str, objects: Mapping[str, T]) -> Mapping[str, T]:
        return in_order(None if todo is None else todo[kind], objects)

    following: set[tuple[str, str]] = set()
    some_transports = some("serversTransport", tcp.servers_transports)
    transports = {name: list(t.faults) for name, t in some_transports.items() if t.faults}
    for name, transport in some_transports.items():
        if transport.tls is not None and transport.tls.needs_identity and static.spiffe is None:
            transports.setdefault(name, []).append(Fault(NOT_CONFIGURED, "tls", "spiffe"))
    services = _services(tcp, some("service", tcp.services), transports, following)
    middlewares = {}
    for name, config in some("middleware", tcp.middlewares).items():
        if config.faults:
            middlewares[name] = list(config.faults)
        elif len(config.kinds) != 1:
            none = "the middleware does not have any type defined"
            middlewares[name] = [MULTIPLE.format("middleware") if config.kinds else none]
        elif config.ip_allow_list is not None and not config.ip_allow_list.source_range:
            middlewares[name] = [Fault(EMPTY_RANGE, "ipAllowList", "sourceRange")]
    routers = {}
    for name, router in some("router", tcp.routers).items():
        own = _own_errors(router, static)
        others: list[str] = []
        if not router.faults:
            missing, others = _errors_of_others(name, router, tcp, static, services, middlewares)
            own += missing
        for error in _tls_errors(name, router, tls):
            (own if isinstance(error, Fault) else others).append(error)
        if own or others:
            routers[name] = [*own, *others]
        if others and not own:
            following.add(("tcpRouter", name))
    kinds: dict[str, tuple[dict[str, list[str]], Mapping[str, Object]]] = {
        "tcpRouter": (routers, tcp.routers),
        "tcpService": (services, tcp.services),
        "tcpMiddleware": (middlewares, tcp.middlewares),
        "tcpServersTransport": (transports, tcp.servers_transports),
    }
    return [
        Disabled(kind, name, errors, objects[name].place, (kind, name) in following)
        for kind, (found, objects) in kinds.items()
        for name, errors in sorted(found.items())
    ]


def _own_errors(router: TcpRouter, static: StaticConfig) -> list[str]:
    """Errors of a router that follow from itself."""
    if router.faults:
        return list(router.faults)
    errors: list[str] = []
    try:
        rule = tcp_rule_of(router, static)
        names = [matcher.args[0] for matcher in asserted_in(rule) if matcher.name == "HostSNI"]
        if router.tls is None and names and names[0] != "*":
            text = f'invalid rule: "{router.rule}" , has HostSNI matcher, but no TLS on router'
            errors.append(Fault(text, "rule"))
    except RuleError as error:
        errors.append(Fault(str(error), "rule"))
    unknown = unknown_tcp_points(router, static)
    if unknown and not tcp_entry_points_of(router, static):
        errors += [*unknown, Fault("no valid entryPoint for this router", "entryPoints")]
    return errors


def unknown_tcp_points(router: TcpRouter, static: StaticConfig) -> list[Fault]:
    """The entry points that a router names and that do not exist: beside another one, it runs without them."""
    return [
        Fault(f'entryPoint "{point}" doesn\'t exist', "entryPoints")
        for point in router.entry_points
        if point not in static.closed and point not in static.stream_points
    ]


def _errors_of_others(
    name: str,
    router: TcpRouter,
    tcp: TcpConfig,
    static: StaticConfig,
    services: dict[str, list[str]],
    middlewares: dict[str, list[str]],
) -> tuple[list[str], list[str]]:
    """Errors of a router that refers to what is not there, and those of the objects to which it refers."""
    errors: list[str] = []
    others = [f'entryPoint "{point}" cannot run' for point in router.entry_points if point in static.closed]
    for reference in router.middlewares:
        middleware = qualify(reference, name)
        if middleware not in tcp.middlewares:
            errors.append(Fault(f'middleware "{middleware}" does not exist', "middlewares", missing=middleware))
        others += middlewares.get(middleware, [])
    service = qualify(router.service, name)
    if not router.service:
        errors.append("the service is missing on the router")
    elif service not in tcp.services:
        errors.append(Fault(f'the service "{service}" does not exist', "service", missing=service))
    return errors, [*others, *services.get(service, [])]


def _tls_errors(name: str, router: TcpRouter, tls: TlsConfig) -> list[str]:
    if router.faults or router.tls is None or router.tls.passthrough:
        return []
    return options_errors(tls, options_name(router.tls, name))


def _services(
    tcp: TcpConfig,
    services: Mapping[str, TcpService],
    transports: Mapping[str, list[str]],
    following: set[tuple[str, str]],
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, service in services.items():
        balancer = service.load_balancer
        if errors := _service_errors(name, service, tcp):
            found[name] = errors
        elif balancer is not None and (errors := transports.get(qualify(balancer.servers_transport, name), [])):
            found[name] = errors
            following.add(("tcpService", name))
    check_tree(tcp.services, found, "tcpService", following, services)
    return found


def _service_errors(name: str, service: TcpService, tcp: TcpConfig) -> list[str]:
    if service.faults:
        return list(service.faults)
    if service.load_balancer is not None and service.weighted is not None:
        return [MULTIPLE.format("service")]
    if service.load_balancer is None:
        return [] if service.weighted is not None else [f'the service "{name}" does not have any type defined']
    errors: list[str] = []
    lb = "loadBalancer"
    asked = set(map(id, service.load_balancer.sited))
    for number, server in enumerate(service.load_balancer.servers):
        if id(server) not in asked:
            continue
        try:
            split_address(server.address)
        except ValueError as error:
            errors.append(Fault(str(error), lb, "servers", number, "address"))
    transport = service.load_balancer.servers_transport
    named = qualify(transport, name)
    if transport and named not in {*tcp.servers_transports, DEFAULT_TRANSPORT}:
        errors.append(Fault(f"servers transport not found {named}", lb, "serversTransport", missing=named))
    return errors
