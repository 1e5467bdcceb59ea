"""Warnings about configuration that runs but is probably not intended. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from lbcore.config.decode import Decoded, nearest
from lbcore.config.dynamic import DynamicConfig, LoadBalancer
from lbcore.config.model import UNSUPPORTED, Object
from lbcore.config.network import is_nowhere
from lbcore.config.plugins import how_to_bypass
from lbcore.config.report import SHOWN
from lbcore.config.rule import parse_rule, placeholders
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpService
from lbcore.config.tls import RouterTls
from lbcore.config.udp import UdpService
from lbcore.config.validate import entry_points_of, is_of_version_2, qualify, tls_of
from lbcore.config.validate_udp import udp_entry_points_of
from lbcore.errors import Problem

# Sections of entry points that do nothing for datagrams, and for connections.
OF_STREAMS = {
    "http": "http",
    "http2": "http2",
    "forwarded_headers": "forwardedHeaders",
    "proxy_protocol": "proxyProtocol",
}
OF_UDP = {"udp": "udp"}


def lint(dynamic: DynamicConfig, static: StaticConfig, disabled: Container[str] = ()) -> list[str]:
    """The warnings about a merged configuration, whose names are qualified. Cost: linear in its size.

    disabled  names of routers that cannot run.
    """
    routers = [*_same_rules(dynamic, static, disabled), *_old_rules(dynamic, static, disabled)]
    strange = [*routers, *_services(dynamic), *_layer4_services("tcp", dynamic.tcp.services)]
    strange += [*_layer4_services("udp", dynamic.udp.services), *_udp_routers(dynamic, static)]
    strange += _unused(dynamic, static)
    return [*strange, *_cert_resolvers(dynamic, static)]


def static_notes(decoded: Decoded[StaticConfig], file: str) -> list[Problem]:
    """The problems and warnings of a static configuration that was read."""
    static, found = decoded.model, [*decoded.broken, *decoded.warnings]
    prometheus = static.metrics.prometheus if static.metrics else None
    for path, settings in ((("ping",), static.ping), (("metrics", "prometheus"), prometheus)):
        if settings is not None and not settings.manual_routing and settings.entry_point not in static.stream_points:
            known = [] if settings.entry_point in static.closed else list(static.stream_points)
            text = f"{settings.entry_point} {'does not exist' if known else 'cannot run'}: {path[-1]} is not served"
            line = decoded.line((*path, "entryPoint"))
            hint = nearest(settings.entry_point, known) if known else ""
            found.append(Problem(".".join((*path, "entryPoint")), text, hint, file, line, "warning"))
    return [*found, *_plugins(decoded, file)]


def _plugins(decoded: Decoded[StaticConfig], file: str) -> Iterable[Problem]:
    """The plugins of Traefik that are declared: each runs nowhere, and is bypassed if the configuration says so."""
    static = decoded.model
    for kind, names in (("plugins", static.experimental.plugins), ("localPlugins", static.experimental.local_plugins)):
        for name in names:
            path = ("experimental", kind, name)
            where = (".".join(path), file, decoded.line(path))
            if static.bypasses(name):
                text, hint = "plugins of Traefik do not run in lbcore", "requests pass without it"
                yield Problem(where[0], text, hint, *where[1:], "warning")
            else:
                text = f"plugins of Traefik are {UNSUPPORTED}"
                hint = f"routers with its middlewares are disabled; {how_to_bypass(name)}"
                yield Problem(where[0], text, hint, *where[1:], "missing")


def lint_static(static: StaticConfig) -> list[str]:
    """The warnings about a static configuration."""
    found = []
    for name, point in static.entry_points.items():
        where = f"{point.place}: entry point {name}" if point.place else f"entry point {name}"
        if point.address.endswith(":0") and "address" not in point.model_fields_set:
            found.append(f"{where} has no address: it listens on a port that the system chooses")
        of_other = OF_STREAMS if point.is_udp else OF_UDP
        if strange := [key for name, key in of_other.items() if name in point.model_fields_set]:
            kind = "UDP" if point.is_udp else "TCP"
            found.append(f"{where} is one of {kind}: {', '.join(strange)} {'have' if strange[1:] else 'has'} no effect")
    return found


def _place(thing: Object, kind: str, name: str) -> str:
    plain = name.rpartition("@")[0] or name
    return f"{thing.place}: {kind} {plain}" if thing.place else f"{kind} {name}"


def _same_rules(dynamic: DynamicConfig, static: StaticConfig, disabled: Container[str]) -> Iterable[str]:
    """Routers that get no requests, because another one with the same rule precedes them."""
    seen: dict[tuple[tuple[str, bool], str], str] = {}
    routers = dynamic.http.routers
    by_rule: dict[str, list[str]] = {}
    for name, router in routers.items():
        if not router.faults and router.rule and name not in disabled:
            by_rule.setdefault("".join(router.rule.split()), []).append(name)
    alike = {name: rule for rule, names in by_rule.items() if len(names) > 1 for name in names}
    rank = static.providers.rank
    priorities = {name: routers[name].priority or len(routers[name].rule.encode()) for name in alike}
    order = sorted(alike, key=lambda name: (-priorities[name], rank(name), name))
    for name in order:
        router, rule = routers[name], alike[name]
        # Routers with and without TLS do not compete.
        points = [(point, tls_of(router, point, static) is not None) for point in entry_points_of(router, static)]
        before = {seen[point, rule] for point in points if (point, rule) in seen}
        if points and len(before) == 1 and all((point, rule) in seen for point in points):
            first = before.pop()
            other = routers[first].place or first
            first_name = first.rpartition("@")[0]
            yield f"{_place(router, 'router', name)} has the rule of {first_name} ({other}), which is asked first"
        for point in points:
            seen.setdefault((point, rule), name)


def _old_rules(dynamic: DynamicConfig, static: StaticConfig, disabled: Container[str]) -> Iterable[str]:
    """Routers whose rules have placeholders of version 2, and are read as those of version 3."""
    for name, router in dynamic.http.routers.items():
        if router.faults or name in disabled or "{" not in router.rule:
            continue
        if is_of_version_2(router.rule_syntax, static):
            continue
        for part in placeholders(parse_rule(router.rule)):
            where = _place(router, "router", name)
            yield f"{where}: {part} has a placeholder of version 2: since version 3, use PathRegexp or HostRegexp"


def _cert_resolvers(dynamic: DynamicConfig, static: StaticConfig) -> Iterable[str]:
    """References to resolvers that do not exist, which lead to the default certificate."""
    known = {name for name, resolver in static.certificates_resolvers.items() if not resolver.faults}
    users: dict[str, RouterTls | None] = {}
    encrypted = {name: router for name, router in dynamic.http.routers.items() if router.tls is not None}
    users |= {_place(router, "router", name): router.tls for name, router in encrypted.items()}
    users |= {f"tcp router {name}": tcp.tls for name, tcp in dynamic.tcp.routers.items()}
    users |= {f"entry point {name}": point.http.tls for name, point in static.entry_points.items()}
    for where, tls in users.items():
        if tls is not None and tls.cert_resolver and tls.cert_resolver not in known:
            yield f"{where} uses a nonexistent certificate resolver: {tls.cert_resolver}"


def _services(dynamic: DynamicConfig) -> Iterable[str]:
    for name, service in dynamic.http.services.items():
        balancer = service.load_balancer
        if service.faults or (balancer is not None and _is_plain(balancer)):
            continue
        where = _place(service, "service", name)
        if balancer is not None:
            yield from _members(
                where, [server.url for server in balancer.servers], [s.weight for s in balancer.servers]
            )
            nowhere = [server.url for server in balancer.servers if is_nowhere(server.url)]
            if nowhere and len(nowhere) < len(balancer.servers):
                yield f"{where}: a server's url {nowhere[0]!r} names no host: the server gets no request"
            elif nowhere:
                yield f"{where}: its url {nowhere[0]!r} names no host: what is sent there is answered with 500"
        for parent in (service.weighted, service.highest_random_weight):
            if parent is not None:
                yield from _members(where, [c.name for c in parent.services], [c.weight for c in parent.services])


def _is_plain(balancer: LoadBalancer) -> bool:
    """Whether it has one server, about which there is nothing to say: as most do."""
    if len(balancer.servers) != 1:
        return False
    (server,) = balancer.servers
    return server.weight > 0 and not is_nowhere(server.url)


def _layer4_services(layer: str, services: Mapping[str, TcpService] | Mapping[str, UdpService]) -> Iterable[str]:
    for name, service in services.items():
        if service.faults:
            continue
        where = _place(service, f"{layer} service", name)
        if service.load_balancer is not None:
            servers = service.load_balancer.servers
            yield from _members(where, [server.address for server in servers], [server.weight for server in servers])
        if service.weighted is not None:
            children = service.weighted.services
            yield from _members(where, [child.name for child in children], [child.weight for child in children])


def _udp_routers(dynamic: DynamicConfig, static: StaticConfig) -> Iterable[str]:
    """Routers that get no datagrams, because an entry point of UDP has one router: the last by name, as in Traefik."""
    routers = dynamic.udp.routers
    for point in static.udp_points:
        here = sorted(name for name, router in routers.items() if point in udp_entry_points_of(router, static))
        for name in here[:-1]:
            last = here[-1].rpartition("@")[0]
            yield f"{_place(routers[name], 'udp router', name)} gets nothing on {point}: that has one router, {last}"


def _members(where: str, names: list[str], weights: list[int]) -> Iterable[str]:
    if not names:
        yield f"{where} has nothing to send requests to"
        return
    if len(set(names)) < len(names):
        seen: set[str] = set()
        for name in names:
            if name in seen:
                yield f"{where} names {name} more than once"
                break
            seen.add(name)
    if below := [name for name, weight in zip(names, weights, strict=True) if weight < 0]:
        yield f"{where}: the weight of {below[0]} is below 0, and counts as 0"
    if all(weight <= 0 for weight in weights):
        yield f"{where} sends nothing anywhere: all weights are 0"


def _unused(dynamic: DynamicConfig, static: StaticConfig) -> Iterable[str]:
    """Objects that no router uses: one line for each kind."""
    http, tcp = dynamic.http, dynamic.tcp
    middlewares = {qualify(m, name) for name, router in http.routers.items() for m in router.middlewares}
    middlewares |= {qualify(m, name) for name, service in http.services.items() for m in service.middlewares}
    if any(point.http.middlewares for point in static.entry_points.values()):
        middlewares |= {
            qualify(m, name)
            for name, router in http.routers.items()
            for point in entry_points_of(router, static)
            for m in static.entry_points[point].http.middlewares
        }

    def parts(name: str) -> list[str]:
        chain = http.middlewares[name].chain
        return [qualify(part, name) for part in chain.middlewares] if chain else []

    def children(name: str) -> list[str]:
        return [qualify(child, name) for child in http.services[name].children]

    middlewares = _reached(middlewares, http.middlewares, parts)
    wanted = {qualify(router.service, name) for name, router in http.routers.items() if router.service}
    wanted |= {qualify(asked, name) for name in middlewares for asked in http.middlewares[name].asks}
    yield from _names("service", http.services, _reached(wanted, http.services, children))
    yield from _names("middleware", http.middlewares, middlewares)
    transports = {
        qualify(service.load_balancer.servers_transport, name)
        for name, service in http.services.items()
        if service.load_balancer and service.load_balancer.servers_transport
    }
    yield from _names("servers transport", http.servers_transports, transports)

    def below(name: str) -> list[str]:
        return [qualify(child, name) for child in tcp.services[name].children]

    wanted = {qualify(router.service, name) for name, router in tcp.routers.items() if router.service}
    yield from _names("tcp service", tcp.services, _reached(wanted, tcp.services, below))
    yield from _names(
        "tcp middleware",
        tcp.middlewares,
        {qualify(m, name) for name, router in tcp.routers.items() for m in router.middlewares},
    )
    udp = dynamic.udp

    def below_udp(name: str) -> list[str]:
        return [qualify(child, name) for child in udp.services[name].children]

    wanted = {qualify(router.service, name) for name, router in udp.routers.items() if router.service}
    yield from _names("udp service", udp.services, _reached(wanted, udp.services, below_udp))


def _reached(wanted: set[str], objects: Mapping[str, Object], below: Callable[[str], list[str]]) -> set[str]:
    """The names in `wanted`, and all below them."""
    reached: set[str] = set()
    ahead = list(wanted)
    while ahead:
        name = ahead.pop()
        if name in objects and name not in reached:
            reached.add(name)
            ahead += below(name)
    return reached


def _names(kind: str, objects: Mapping[str, Object], used: set[str]) -> Iterable[str]:
    idle = [name for name in objects if name not in used and not objects[name].faults]
    if not idle:
        return
    shown = []
    files = {objects[name].place.rpartition(":")[0] for name in idle}
    for name in idle[:SHOWN]:
        place = objects[name].place
        where = place.rpartition(":")[2] if len(files) == 1 else place
        shown.append(f"{name.rpartition('@')[0] or name}" + (f":{where}" if where else ""))
    more = f" and {len(idle) - SHOWN} more" if len(idle) > SHOWN else ""
    head = f"{files.pop()}: " if len(files) == 1 and "" not in files else ""
    plural = len(idle) > 1
    yield f"{head}{kind}{'s' if plural else ''} {', '.join(shown)}{more}: not used by any router"
