"""Validation of the services of HTTP, by themselves and as parts of each other. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lbcore.config.difference import qualify
from lbcore.config.dynamic import HttpConfig, LoadBalancer, Middleware, ServersTransport, Service
from lbcore.config.middlewares.headers import OF_CONNECTIONS
from lbcore.config.network import has_user, is_relative, split_url
from lbcore.config.spiffe import NOT_CONFIGURED
from lbcore.config.static import StaticConfig
from lbcore.config.units import status_ranges
from lbcore.config.validate.findings import MULTIPLE, Fault, Findings
from lbcore.config.validate.graph import MAX_DEPTH, children_first, find_cycle

STRATEGIES = frozenset({"wrr", "p2c", "hrw", "leasttime", "leastconn", "peakewma"})
DEFAULT_TRANSPORT = "default@internal"
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_transports(some: Mapping[str, ServersTransport], static: StaticConfig, found: Findings) -> None:
    """Add the errors of these transports of servers."""
    for name, transport in some.items():
        if transport.faults:
            found.transports[name] = list(transport.faults)
        if transport.needs_identity and static.spiffe is None:
            found.transports.setdefault(name, []).append(Fault(NOT_CONFIGURED, "spiffe"))


def check_services(some: Mapping[str, Service], http: HttpConfig, found: Findings) -> None:
    """Add the errors that these services have by themselves, or by their middlewares and transports."""
    for name, service in some.items():
        said = len(found.warnings)
        if errors := _service_errors(name, service, http, found):
            found.services[name] = errors
        if len(found.warnings) > said:
            found.odd["service"].add(name)


def _service_errors(name: str, service: Service, http: HttpConfig, found: Findings) -> list[str]:
    """Errors of a service by itself, and of its middlewares."""
    if service.faults:
        return list(service.faults)
    if len(service.kinds) > 1:
        return [MULTIPLE.format("service")]
    if not service.kinds:
        return [f'the service "{name}" does not have any type defined']
    errors: list[str] = []
    others: list[str] = []
    for reference in service.middlewares:
        qualified = qualify(reference, name)
        (others if qualified in http.middlewares else errors).extend(
            _middleware_reference(qualified, http.middlewares, found)
        )
    if service.load_balancer is not None:
        errors += _balancer_errors(name, service.load_balancer, http, found)
        if transport := service.load_balancer.servers_transport:
            others += found.transports.get(qualify(transport, name), [])
    if service.mirroring is not None:
        if any(not 0 <= mirror.percent <= 100 for mirror in service.mirroring.mirrors):
            errors.append(Fault("percent must be between 0 and 100", "mirroring", "mirrors"))
        errors += [Fault(text, "mirroring", "headers") for text in _header_errors(service.mirroring.headers)]
    if service.failover is not None and service.failover.errors is not None:
        try:
            status_ranges(service.failover.errors.status)
        except ValueError as error:
            errors.append(Fault(f"creating HTTP code ranges: {error}", "failover", "errors", "status"))
    if others and not errors:
        found.following.add(("service", name))
    return [*errors, *others]


def _middleware_reference(name: str, middlewares: Mapping[str, Middleware], found: Findings) -> list[str]:
    if name not in middlewares:
        return [Fault(f'middleware "{name}" does not exist', "middlewares", missing=name)]
    return found.middlewares.get(name, [])


def _header_errors(headers: Mapping[str, str]) -> list[str]:
    """Errors of headers that are set on copies of requests."""
    errors = []
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            errors.append(f"headers: {name!r} is not the name of a header")
        elif name.lower() in OF_CONNECTIONS:
            errors.append(f"headers: {name} belongs to the connection and cannot be set")
        elif any((ord(letter) < 32 and letter != "\t") or ord(letter) == 127 for letter in value):
            errors.append(f"headers: control characters in the value of {name}")
    return errors


def _balancer_errors(name: str, balancer: LoadBalancer, http: HttpConfig, found: Findings) -> list[str]:
    errors: list[str] = []
    lb = "loadBalancer"
    if balancer.strategy not in STRATEGIES:
        known = f"one of {', '.join(sorted(STRATEGIES))}"
        errors.append(Fault(f'unsupported load-balancer strategy "{balancer.strategy}": {known}', lb, "strategy"))
    if balancer.hash_on is not None and balancer.strategy != "hrw":
        errors.append(Fault(f'hashOn goes with strategy "hrw", not "{balancer.strategy}"', lb, "hashOn"))
    if balancer.queue is not None and not balancer.is_limited:
        errors.append(Fault("queue goes with maxConnections: without a limit no request waits", lb, "queue"))
    if balancer.health_check is not None and not is_relative(balancer.health_check.path):
        text = f'health check path must be a relative URL, got: "{balancer.health_check.path}"'
        errors.append(Fault(text, lb, "healthCheck", "path"))
    asked = set(map(id, balancer.sited))
    for number, server in enumerate(balancer.servers):
        try:
            if id(server) in asked:
                split_url(server.url)
                if has_user(server.url):
                    found.warnings.append(f"service {name}: the user in the URL of a server is not sent: take it out")
        except ValueError as error:
            errors.append(Fault(str(error), lb, "servers", number, "url"))
    transport = balancer.servers_transport
    named = qualify(transport, name) if transport else DEFAULT_TRANSPORT
    if named != DEFAULT_TRANSPORT and named not in http.servers_transports:
        errors.append(Fault(f"servers transport not found {named}", lb, "serversTransport", missing=named))
    return errors


def check_parents(parents: Mapping[str, Service], services: Mapping[str, Service], found: Findings) -> None:
    """Errors of services that contain themselves, or services that do not exist, cannot run, or have no status."""

    def children(name: str) -> list[str]:
        return [qualify(child, name) for child in services[name].children] if name in services else []

    done: set[str] = set()
    for name in parents:
        if name not in found.services and (cycle := find_cycle(name, children, done)):
            way = "->service:".join(cycle)
            found.services[name] = [f"could not instantiate service {name}: recursion detected in service:{way}"]
    depths: dict[str, int] = {}
    # Children first, so that an error reaches every parent above it.
    for name in children_first(parents, children):
        depths[name] = 1 + max((depths.get(part, int(part in services)) for part in children(name)), default=0)
        if depths[name] > MAX_DEPTH and name not in found.services:
            found.services[name] = [f"services are nested more than {MAX_DEPTH} levels deep"]
        if name in found.services:
            continue
        for child in services[name].children:
            part = qualify(child, name)
            if part not in services:
                text = f'building HTTP service "{child}": the service "{part}" does not exist'
                found.services[name] = [Fault(text, missing=part)]
                break
            if part in found.services:
                error = found.services[part][0]
                text = f'building HTTP service "{child}": {error}'
                found.services[name] = [error.about(text) if isinstance(error, Fault) else text]
                found.following.add(("service", name))
                break
        else:
            if error := _watch_error(name, services):
                found.services[name] = [error]


def _has_status(name: str, services: Mapping[str, Service]) -> bool:
    """Whether there is a status to watch; that of mirroring is the one of its main service."""
    service = services[name]
    while service.watches and service.mirroring is not None:
        name = qualify(service.mirroring.service, name)
        service = services[name]
    return service.watches


def _watch_error(name: str, services: Mapping[str, Service]) -> str:
    """The error of a parent that watches children without a status, which it would take for healthy."""
    service = services[name]
    if not service.watches or service.load_balancer is not None or service.mirroring is not None:
        return ""
    for child in service.children:
        part = qualify(child, name)
        other = services[part]
        if _has_status(part, services) or (other.failover is not None and other.failover.errors is not None):
            continue
        failover = service.failover
        if failover is None or child != failover.service or failover.errors is None:
            kind = "mirroring service" if other.mirroring else "failover service" if other.failover else "WRR service"
            return f"cannot register {child} as updater for {name}: healthCheck not enabled in config for this {kind}"
    return ""
