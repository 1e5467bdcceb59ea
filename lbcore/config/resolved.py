"""What the settings of routers come to, with those of the static configuration: rules, entry points, TLS. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lbcore.config.difference import qualify
from lbcore.config.dynamic import HttpConfig, Router
from lbcore.config.network import port_of
from lbcore.config.router_tree import RouterTrees, router_trees
from lbcore.config.rule import Rule, parse_rule, parse_tcp_rule
from lbcore.config.rule_v2 import parse_rule_v2, parse_tcp_rule_v2
from lbcore.config.static import EntryPoint, RedirectEntryPoint, StaticConfig
from lbcore.config.tcp import TcpRouter
from lbcore.config.tls import DEFAULT, RouterTls
from lbcore.config.udp import UdpRouter


def is_of_version_2(syntax: str, static: StaticConfig) -> bool:
    """Whether a rule with this `ruleSyntax` is written in the language of version 2."""
    return (syntax if syntax not in ("", "default") else static.core.default_rule_syntax) == "v2"


def rule_of(router: Router, static: StaticConfig) -> Rule:
    """The rule of a router, in the language of version 3. Raises RuleError."""
    return parse_rule_v2(router.rule) if is_of_version_2(router.rule_syntax, static) else parse_rule(router.rule)


def tcp_rule_of(router: TcpRouter, static: StaticConfig) -> Rule:
    """The rule of a router, in the language of version 3. Raises RuleError."""
    if is_of_version_2(router.rule_syntax, static):
        return parse_tcp_rule_v2(router.rule)
    return parse_tcp_rule(router.rule)


def trees_of(routers: Mapping[str, Router]) -> RouterTrees:
    """The trees of routers of a merged configuration."""
    if not any(router.parent_refs for router in routers.values()):
        return RouterTrees()
    return router_trees({name: [qualify(above, name) for above in r.parent_refs] for name, r in routers.items()})


def entry_points_of(router: Router, static: StaticConfig) -> Sequence[str]:
    """The entry points of a router. One below others has none: it gets its requests from them."""
    return () if router.parent_refs else _named_or_default(router.entry_points, static)


def routers_of_points(middleware: str, http: HttpConfig, static: StaticConfig) -> Iterator[str]:
    """The routers whose requests pass a middleware because an entry point names it."""
    points = {
        point
        for point, settings in static.entry_points.items()
        if any(each in (middleware, middleware.rpartition("@")[0]) for each in settings.http.middlewares)
    }
    for name, router in http.routers.items() if points else ():
        if any(
            qualify(each, name) == middleware
            for point in entry_points_of(router, static)
            if point in points
            for each in static.entry_points[point].http.middlewares
        ):
            yield name


def tcp_entry_points_of(router: TcpRouter, static: StaticConfig) -> Sequence[str]:
    """The entry points of a router of TCP."""
    return _named_or_default(router.entry_points, static)


# The entry points of the configuration that was asked last, and those of routers that name none: asked for with each.
_unnamed: tuple[dict[str, EntryPoint], tuple[str, ...]] = ({}, ())


def _named_or_default(names: Sequence[str], static: StaticConfig) -> Sequence[str]:
    """Those with these names; without names the default ones, else all but Traefik's internal one."""
    global _unnamed
    points = static.stream_points
    if names:
        return [name for name in names if name in points]
    of, found = _unnamed
    if of is not points:
        default = tuple(name for name, point in points.items() if point.as_default)
        found = default or tuple(name for name in points if name != "traefik")
        _unnamed = points, found
    return found


def udp_entry_points_of(router: UdpRouter, static: StaticConfig) -> list[str]:
    """The entry points of a router: those it names, else all of UDP."""
    points = static.udp_points
    return [name for name in dict.fromkeys(router.entry_points) if name in points] if router.entry_points else [*points]


def redirection_port(redirect: RedirectEntryPoint, static: StaticConfig) -> str | None:
    """The port of a redirection: that of an entry point, or `:port`; None = the entry point does not exist."""
    target = static.entry_points.get(redirect.to) or static.closed.get(redirect.to)
    if target is not None:
        return port_of(target.address)
    port = redirect.to.removeprefix(":")
    return port if port != redirect.to and port.isascii() and port.isdigit() and int(port) <= 65535 else None


def challenge_points(static: StaticConfig) -> set[str]:
    """Entry points that answer the http-01 challenge of ACME."""
    orders = (resolver.acme for resolver in static.certificates_resolvers.values() if not resolver.faults)
    answered = (acme.http_challenge for acme in orders if acme is not None)
    return {http.entry_point for http in answered if http is not None} & set(static.stream_points)


def tls_of(router: Router, point: str, static: StaticConfig) -> RouterTls | None:
    """The `tls` of a router on an entry point: its own, with nothing of the entry point's; or else that one."""
    return router.tls if router.tls is not None else static.entry_points[point].http.tls


def options_name(tls: RouterTls, owner: str) -> str:
    """The qualified name of TLS options."""
    return DEFAULT if tls.options in ("", DEFAULT) else qualify(tls.options, owner)
