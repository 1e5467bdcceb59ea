"""Explanations of connections of TCP (`tcp://name`: with TLS, `tcp://`: without), and of UDP (`udp://`). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lbcore.api.runtime import Runtime
from lbcore.config.difference import qualify
from lbcore.config.dynamic import Router
from lbcore.config.resolved import entry_points_of, rule_of, tcp_entry_points_of, tcp_rule_of, tls_of
from lbcore.config.rule import hosts_in, is_catch_all
from lbcore.config.tcp import TcpRouter
from lbcore.http.networks import Networks
from lbcore.http.request import Request
from lbcore.routing.compile_tcp import priority_of
from lbcore.routing.explanation import unmet
from lbcore.routing.service import Service

Levels = Callable[[Service], Iterator[str]]


def request_for(name: str) -> Request:
    """What stands for a connection whose client has named a host, or none: rules of layer 4 see it as a head does."""
    request = Request()
    head = f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n" if name else "GET / HTTP/1.0\r\n\r\n"
    if request.parse_bytes(head.encode()) <= 0:
        raise ValueError(f"{name!r} is no name of a host")
    return request


def explain_tcp(
    runtime: Runtime, point: str, name: str, client: str, request: Request, levels: Levels
) -> Iterator[str]:
    """Lines for a connection of TCP."""
    static, routers, table = runtime.static, runtime.dynamic.tcp.routers, runtime.table
    assert table is not None
    here = [each for each, router in routers.items() if point in tcp_entry_points_of(router, static)]
    disabled = runtime.errors("tcpRouter")
    taker = ""
    for each in sorted(here, key=lambda each: (-priority_of(routers[each]), static.providers.rank(each), each)):
        router = routers[each]
        about = f"TCP router {each} (priority {priority_of(router)}): {router.rule}"
        if each in disabled:
            yield f"{about}: disabled: {'; '.join(disabled[each])}"
        elif (router.tls is not None) != bool(name):
            yield f"{about}: does not match: it takes connections {'without' if name else 'with'} TLS alone"
        elif missing := ", ".join(unmet(tcp_rule_of(router, static), lambda program: program.holds(request))):
            yield f"{about}: does not match: {missing}"
        elif taker:
            yield f"{about}: would match, but {taker} is tried before it"
        else:
            taker = each
            yield f"{about}: matches"
    if name and (https := _https_before(runtime, point, name, routers.get(taker))):
        yield f"router {https} takes requests over TLS for this host, and comes before routers of TCP: it is HTTPS"
        yield f"for the routers of HTTP: lbcore explain 'GET https://{name}/' --entry-point {point}"
        return
    if not taker:
        yield "no TCP router: it is HTTPS" if name else "no TCP router: it is HTTP"
        url = f"https://{name}/" if name else "http://host/"
        yield f"for the routers of HTTP: lbcore explain 'GET {url}' --entry-point {point}"
        return
    for reference in routers[taker].middlewares:
        said, passes = _meet(runtime, qualify(reference, taker), client)
        yield f"TCP middleware {qualify(reference, taker)}: {said}"
        if not passes:
            yield "the connection is closed"
            return
    yield from levels(table.tcp_services[qualify(routers[taker].service, taker)])


def explain_udp(runtime: Runtime, point: str, levels: Levels) -> Iterator[str]:
    """Lines for a session of UDP."""
    table = runtime.table
    route = table.udp.get(point) if table is not None else None
    if route is None:
        yield "no UDP router: datagrams are dropped"
        return
    yield f"UDP router {route.name}: takes all of the entry point"
    yield from levels(route.service)


def _https_before(runtime: Runtime, point: str, name: str, taker: TcpRouter | None) -> str:
    """The router of HTTPS that takes a name before routers of TCP do; empty: there is none."""
    disabled = runtime.errors("router")
    encrypted: Sequence[tuple[str, Router]] = [
        (each, router)
        for each, router in runtime.dynamic.http.routers.items()
        if each not in disabled
        and point in entry_points_of(router, runtime.static)
        and tls_of(router, point, runtime.static) is not None
    ]
    for each, router in encrypted:
        hosts = hosts_in(rule_of(router, runtime.static))
        if name in hosts or f"*.{name.partition('.')[2]}" in hosts:
            return each
        if not hosts and taker is not None and is_catch_all(taker.rule):
            return each
    return ""


def _meet(runtime: Runtime, name: str, client: str) -> tuple[str, bool]:
    """What a middleware makes of a client, and whether it passes."""
    config = runtime.dynamic.tcp.middlewares.get(name)
    if config is not None and config.ip_allow_list is not None:
        passes = client in Networks(config.ip_allow_list.source_range)
        return f"ipallowlist: {'passes' if passes else f'{client} is in none of its networks'}", passes
    if config is not None and config.in_flight_conn is not None:
        return f"inflightconn: {config.in_flight_conn.amount} connections of a client at once", True
    return "does not exist", True
