"""Warnings about configuration that runs but is probably not intended. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from lbcore.config.decode import Decoded, nearest
from lbcore.config.difference import OF_KIND, Difference, Key, Users, changed_names, qualify, references
from lbcore.config.dynamic import DynamicConfig, HttpConfig, LoadBalancer, Router, Service
from lbcore.config.hedged import without_effect
from lbcore.config.middlewares import Middleware
from lbcore.config.model import UNSUPPORTED, Object
from lbcore.config.network import is_nowhere
from lbcore.config.plugins import how_to_bypass
from lbcore.config.report import SHOWN, with_places
from lbcore.config.resolved import (
    entry_points_of,
    is_of_version_2,
    routers_of_points,
    tcp_entry_points_of,
    tls_of,
    udp_entry_points_of,
)
from lbcore.config.rule import is_catch_all, parse_rule, placeholders
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpService
from lbcore.config.tls import RouterTls
from lbcore.config.udp import UdpService
from lbcore.config.validate.findings import Checked, in_order
from lbcore.config.validate.http import check
from lbcore.config.validate.tcp import unknown_tcp_points
from lbcore.errors import Problem

# Sections of entry points that do nothing for datagrams, and for connections.
OF_STREAMS = {
    "http": "http",
    "http2": "http2",
    "forwarded_headers": "forwardedHeaders",
    "proxy_protocol": "proxyProtocol",
}
OF_UDP = {"udp": "udp"}
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def lint(dynamic: DynamicConfig, static: StaticConfig, disabled: Collection[str] = ()) -> list[str]:
    """The warnings about a merged configuration, whose names are qualified. Cost: linear in its size.

    disabled  names of routers that cannot run.
    """
    checked = check(dynamic, static).checked
    assert checked is not None
    return Linter(static).lint(dynamic, checked, disabled)


class Linter:
    """Finds what is strange in one configuration after the other. Objects that stay are not looked at again."""

    def __init__(self, static: StaticConfig) -> None:
        self._static = static
        self._known_resolvers = {name for name, each in static.certificates_resolvers.items() if not each.faults}
        self._forget()

    def _forget(self) -> None:
        self._http = HttpConfig()  # the one that was looked at last
        self._out: frozenset[str] = frozenset()  # its routers that cannot run
        self._rules: dict[str, str] = {}  # by router
        self._by_rule: dict[str, dict[str, None]] = {}
        self._shared: set[str] = set()  # rules of more than one router
        self._old_rules: dict[str, list[str]] = {}  # warnings by router
        self._resolvers: dict[str, str] = {}  # by router
        self._services: dict[str, list[str]] = {}  # by service
        self._middlewares: dict[str, str] = {}  # by middleware
        self._hedging: set[str] = set()  # middlewares that have it
        self._streams: tuple[DynamicConfig, Mapping[str, list[str]]] = DynamicConfig(), {}  # of TCP and UDP

    def lint(self, dynamic: DynamicConfig, checked: Checked, disabled: Collection[str] = ()) -> list[str]:
        """The warnings about a merged configuration.

        checked   what a check of it has found.
        disabled  names of routers that cannot run.
        """
        http, out = dynamic.http, frozenset(disabled)
        try:
            difference = Difference.of_http(self._http, http)
            for name in {*difference.touched("http", "routers"), *(self._out ^ out)}:
                self._look_at_router(name, http.routers.get(name), name in out)
            for name in difference.touched("http", "services"):
                self._look_at_service(name, http.services.get(name))
            for name in difference.touched("http", "middlewares"):
                self._look_at_middleware(name, http.middlewares.get(name))
        except BaseException:
            self._forget()
            raise
        self._http, self._out = http, out
        found = [*self._same_rules(http.routers)]
        found += [text for texts in in_order(self._old_rules, http.routers) for text in self._old_rules[texts]]
        found += [text for texts in in_order(self._services, http.services) for text in self._services[texts]]
        found += [self._middlewares[name] for name in in_order(self._middlewares, http.middlewares)]
        for name in in_order(self._hedging, http.middlewares):
            if text := without_effect(name, http, self._static, checked.users):
                found.append(f"{_place(http.middlewares[name], 'middleware', name)}: {text}")
        of_streams = self._of_streams(dynamic)
        found += [*of_streams["services"], *_unused(http, self._static, checked), *of_streams["others"]]
        found += [self._resolvers[name] for name in in_order(self._resolvers, http.routers)]
        return [*found, *of_streams["resolvers"]]

    def _of_streams(self, dynamic: DynamicConfig) -> Mapping[str, list[str]]:
        """What is said of TCP and UDP: that of the last time if nothing has changed there."""
        before, known = self._streams
        layers = ((before.tcp, dynamic.tcp), (before.udp, dynamic.udp))
        pairs = [(getattr(old, kind), getattr(new, kind)) for old, new in layers for kind in type(new).model_fields]
        if not known or any(changed_names(*pair) != ([], []) for pair in pairs):
            services = [*_layer4_services("tcp", dynamic.tcp.services), *_layer4_services("udp", dynamic.udp.services)]
            others = [*_tcp_points(dynamic, self._static), *_same_tcp_rules(dynamic, self._static)]
            others += _udp_routers(dynamic, self._static)
            others += _unused_streams(dynamic)
            known = {"services": services, "others": others, "resolvers": [*self._other_resolvers(dynamic)]}
        self._streams = dynamic, known
        return known

    def _look_at_router(self, name: str, router: Router | None, is_out: bool) -> None:
        self._old_rules.pop(name, None)
        self._resolvers.pop(name, None)
        if (rule := self._rules.pop(name, None)) is not None:
            users = self._by_rule[rule]
            del users[name]
            if len(users) < 2:
                self._shared.discard(rule)
            if not users:
                del self._by_rule[rule]
        if router is None:
            return
        if router.tls is not None and (text := self._resolver(_place(router, "router", name), router.tls)):
            self._resolvers[name] = text
        if router.faults or is_out or not router.rule:
            return
        rule = self._rules[name] = "".join(router.rule.split())
        users = self._by_rule.setdefault(rule, {})
        users[name] = None
        if len(users) > 1:
            self._shared.add(rule)
        if texts := list(_old_rules(name, router, self._static)):
            self._old_rules[name] = texts

    def _look_at_service(self, name: str, service: Service | None) -> None:
        self._services.pop(name, None)
        if service is not None and (texts := list(_of_service(name, service))):
            self._services[name] = texts

    def _look_at_middleware(self, name: str, middleware: Middleware | None) -> None:
        self._middlewares.pop(name, None)
        self._hedging.discard(name)
        if middleware is None or middleware.faults:
            return
        if middleware.retry is not None and middleware.retry.hedging is not None:
            self._hedging.add(name)
        if self._static.fleet is not None:
            return
        for key, limit in (("rateLimit", middleware.rate_limit), ("inFlightReq", middleware.in_flight_req)):
            if limit is not None and limit.fleet_wide:
                where = _place(middleware, "middleware", name)
                self._middlewares[name] = f"{where}: {key}.fleetWide has no effect without fleet in the static file"

    def _same_rules(self, routers: Mapping[str, Router]) -> Iterable[str]:
        """Routers that get no requests, because another one with the same rule precedes them."""
        if not self._shared:
            return
        static, rank = self._static, self._static.providers.rank
        seen: dict[tuple[tuple[str, bool], str], str] = {}
        alike = {name: rule for rule in self._shared for name in self._by_rule[rule]}
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

    def _resolver(self, where: str, tls: RouterTls | None) -> str:
        """A reference to a resolver that does not exist, which leads to the default certificate."""
        if tls is None or not tls.cert_resolver or tls.cert_resolver in self._known_resolvers:
            return ""
        return f"{where} uses a nonexistent certificate resolver: {tls.cert_resolver}"

    def _other_resolvers(self, dynamic: DynamicConfig) -> Iterable[str]:
        users: dict[str, RouterTls | None] = {f"tcp router {name}": r.tls for name, r in dynamic.tcp.routers.items()}
        users |= {f"entry point {name}": point.http.tls for name, point in self._static.entry_points.items()}
        found = filter(None, (self._resolver(where, tls) for where, tls in users.items()))
        return with_places(found, dynamic, self._static)


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
    prometheus = static.metrics.prometheus if static.metrics else None
    for label, header in (prometheus.header_labels if prometheus else {}).items():
        label = f"metrics.prometheus.headerLabels.{label}"
        text = ""
        if header.lower() == "host":
            text = "is always empty, as in Traefik: use X-Forwarded-Host in place of Host"
        elif not HEADER.fullmatch(header):
            text = f"is always empty: {header!r} is no name of a header"
        if text:
            found.append(str(static.located(Problem(label, text))))
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


def _old_rules(name: str, router: Router, static: StaticConfig) -> Iterable[str]:
    """The placeholders of version 2 in a rule that is read as one of version 3."""
    if "{" not in router.rule or is_of_version_2(router.rule_syntax, static):
        return
    for part in placeholders(parse_rule(router.rule)):
        where = _place(router, "router", name)
        yield f"{where}: {part} has a placeholder of version 2: since version 3, use PathRegexp or HostRegexp"


def _of_service(name: str, service: Service) -> Iterable[str]:
    balancer = service.load_balancer
    if service.faults or (balancer is not None and _is_plain(balancer)):
        return
    where = _place(service, "service", name)
    if balancer is not None:
        yield from _members(where, [server.url for server in balancer.servers], [s.weight for s in balancer.servers])
        asked = set(map(id, balancer.sited))
        for server in balancer.servers:
            if id(server) not in asked and not is_nowhere(server.url):
                yield f"{where}: a server's url {server.url!r} is no http://host:port: the server gets no request"
                break
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
            asked = set(map(id, service.load_balancer.sited))
            wrong = [server.address for server in servers if id(server) not in asked]
            if wrong:
                yield f"{where}: a server's address {wrong[0]!r} is no host:port: the server gets nothing"
        if service.weighted is not None:
            children = service.weighted.services
            yield from _members(where, [child.name for child in children], [child.weight for child in children])


def _same_tcp_rules(dynamic: DynamicConfig, static: StaticConfig) -> Iterable[str]:
    """Routers of TCP that get no connections, because another one with the same rule precedes them everywhere."""
    tcp, rank = dynamic.tcp, static.providers.rank

    def before(name: str) -> tuple[object, ...]:
        router = tcp.routers[name]
        usual = -1 if is_catch_all(router.rule) else len(router.rule.encode())
        return -(router.priority or usual), rank(name), name

    first: dict[tuple[str, bool, str], str] = {}
    runs = [name for name, r in tcp.routers.items() if not r.faults and qualify(r.service, name) in tcp.services]
    for name in sorted(runs, key=before):
        router, rule = tcp.routers[name], "".join(tcp.routers[name].rule.split())
        there = [(point, router.tls is not None, rule) for point in tcp_entry_points_of(router, static)]
        others = {first[each] for each in there if each in first}
        if len(others) == 1 and all(each in first for each in there):
            (other,) = others
            where = tcp.routers[other].place or other
            yield (
                f"{_place(router, 'tcp router', name)} has the rule of {other.rpartition('@')[0]} ({where}), "
                "which is asked first"
            )
        for each in there:
            first.setdefault(each, name)


def _tcp_points(dynamic: DynamicConfig, static: StaticConfig) -> Iterable[str]:
    """Routers that run without an entry point that they name."""
    for name, router in dynamic.tcp.routers.items():
        if not router.faults and tcp_entry_points_of(router, static):
            where = _place(router, "tcp router", name)
            yield from (f"{where}: {text}" for text in unknown_tcp_points(router, static))


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


def _unused(http: HttpConfig, static: StaticConfig, checked: Checked) -> Iterable[str]:
    """Objects that no router uses: one line for each kind."""
    above = [*(("service", name) for name in checked.parents), *(("middleware", name) for name in checked.linked)]
    # What others than routers refer to may be unused, too.
    below = {key for key in _below(above, http) if key[0] != "serversTransport"}
    used, ahead = set[Key](), [key for key in {*above, *below} if _is_led_to(key, checked.users, http, static)]
    while ahead:
        key = ahead.pop()
        if key not in used:
            used.add(key)
            ahead += _below([key], http)
    unused: dict[str, set[str]] = {}
    for kind, section in OF_KIND.items():
        unused[kind] = getattr(http, section).keys() - checked.users.of[kind].keys()
        unused[kind] |= {name for of, name in below - used if of == kind}
    unused["middleware"] = {name for name in unused["middleware"] if not _is_of_points(name, http, static)}
    yield from _names("service", http.services, unused["service"])
    yield from _names("middleware", http.middlewares, unused["middleware"])
    yield from _names("servers transport", http.servers_transports, unused["serversTransport"])


def _unused_streams(dynamic: DynamicConfig) -> Iterable[str]:
    """Objects of TCP and UDP that no router uses."""
    tcp = dynamic.tcp

    def below_tcp(name: str) -> list[str]:
        return [qualify(child, name) for child in tcp.services[name].children]

    wanted = {qualify(router.service, name) for name, router in tcp.routers.items() if router.service}
    reached = _reached(wanted, tcp.services, below_tcp)
    yield from _names("tcp service", tcp.services, tcp.services.keys() - reached)
    of_routers = {qualify(m, name) for name, router in tcp.routers.items() for m in router.middlewares}
    yield from _names("tcp middleware", tcp.middlewares, tcp.middlewares.keys() - of_routers)
    balancers = {name: each.load_balancer for name, each in tcp.services.items() if each.load_balancer is not None}
    of_services = {qualify(each.servers_transport, name) for name, each in balancers.items() if each.servers_transport}
    transports = tcp.servers_transports.keys() - of_services
    yield from _names("tcp servers transport", tcp.servers_transports, transports)
    udp = dynamic.udp

    def below_udp(name: str) -> list[str]:
        return [qualify(child, name) for child in udp.services[name].children]

    wanted = {qualify(router.service, name) for name, router in udp.routers.items() if router.service}
    yield from _names("udp service", udp.services, udp.services.keys() - _reached(wanted, udp.services, below_udp))


def _below(keys: Iterable[Key], http: HttpConfig) -> list[Key]:
    """What objects refer to."""
    of: dict[str, Mapping[str, Object]] = {"service": http.services, "middleware": http.middlewares}
    some = [(kind, name) for kind, name in keys if name in of.get(kind, ())]
    return [found for kind, name in some for found in references(kind, name, of[kind][name])]


def _is_led_to(key: Key, users: Users, http: HttpConfig, static: StaticConfig) -> bool:
    """Whether a router refers to an object; a middleware is used by any service, too."""
    kind, name = key
    known = users.of[kind].get(name, ())
    if any(user == "router" or (user == "service" and kind == "middleware") for user, _ in known):
        return True
    return kind == "middleware" and _is_of_points(name, http, static)


def _is_of_points(name: str, http: HttpConfig, static: StaticConfig) -> bool:
    """Whether a middleware is that of an entry point of any router."""
    return any(True for _ in routers_of_points(name, http, static))


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


def _names(kind: str, objects: Mapping[str, Object], unused: set[str]) -> Iterable[str]:
    idle = [name for name in in_order(unused, objects) if not objects[name].faults]
    if not idle:
        return
    if len(idle) == 1:
        yield f"{_place(objects[idle[0]], kind, idle[0])} is not used by any router"
        return
    shown = []
    files = {objects[name].place.rpartition(":")[0] for name in idle}
    for name in idle[:SHOWN]:
        place = objects[name].place
        where = place.rpartition(":")[2] if len(files) == 1 else place
        shown.append(f"{name.rpartition('@')[0] or name}" + (f":{where}" if where else ""))
    more = f" and {len(idle) - SHOWN} more" if len(idle) > SHOWN else ""
    head = f"{files.pop()}: " if len(files) == 1 and "" not in files else ""
    yield f"{head}{kind}s {', '.join(shown)}{more}: not used by any router"
