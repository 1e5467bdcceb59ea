"""Explanations of the route of a request: routers tried, middlewares, each level of services, the server. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from lbcore.api.explain_layer4 import explain_tcp, explain_udp, request_for
from lbcore.api.runtime import Runtime
from lbcore.config.dynamic import DynamicConfig, Router
from lbcore.config.middlewares import Middleware as MiddlewareConfig
from lbcore.config.network import PORTS, port_of
from lbcore.config.resolved import entry_points_of, rule_of, tls_of, trees_of
from lbcore.config.static import StaticConfig
from lbcore.http.request import Request
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.explanation import kind_of, role_of, unmet
from lbcore.routing.guarded import Guarded
from lbcore.routing.index import RouteIndex
from lbcore.routing.order import ranked
from lbcore.routing.rehearsal import Rehearsal
from lbcore.routing.route import Route
from lbcore.routing.service import Service
from lbcore.state.region import Region


class ExplainError(ValueError):
    """The request to explain is invalid."""


def explain(
    runtime: Runtime,
    asked: str,
    headers: Sequence[str] = (),
    client: str = "192.0.2.1",
    entry_point: str = "",
    *,
    is_apart: bool = False,
) -> Iterator[str]:
    """Lines of text, outermost decision first.

    asked        e.g. `GET https://shop.example/cart`; the method may be omitted. `tcp://name`, `tcp://`, `udp://`: see
                 `explain_layer4`.
    headers      `Name: value`.
    entry_point  of the request; empty = that with the port of the URL (80, 443), if there is one; else the first one
                 with a router of its layer, for requests over TLS or those without.
    is_apart     `runtime` serves no requests. Otherwise the configuration is compiled apart, once, and the health, the
                 weights and the positions of the present are used: the server is that of the next request, and nothing
                 that requests count by is changed.

    Raises ExplainError.
    """
    if asked.startswith(("tcp://", "udp://")):
        return _explain_layer4(runtime if is_apart else _apart(runtime), asked, client, entry_point)
    head = head_of(asked, headers)
    request = Request()
    used = request.parse_bytes(head)
    if used <= 0:
        raise ExplainError(f"refused before any router is asked: status {-used or 400}")
    try:
        request.come_from(client)
    except ValueError:
        raise ExplainError(f"the client {client!r} is no IP address") from None
    scheme, port = scheme_and_port(asked)
    encrypted = scheme == "https"
    point = entry_point or _first_point(runtime, encrypted, port)
    if point not in runtime.static.stream_points:
        raise ExplainError(f"there is no entry point {point}; there {_listed(runtime.static.stream_points)}")
    return _Explanation(runtime if is_apart else _apart(runtime), runtime, request, point, encrypted).lines()


def _first_point(runtime: Runtime, encrypted: bool, port: int) -> str:
    """The entry point that a client would reach: by the port, by the kind of its routers, or the first one."""
    static = runtime.static
    points = static.stream_points
    routed = [
        (name, tls_of(router, name, static) is not None)
        for router in runtime.dynamic.http.routers.values()
        for name in entry_points_of(router, static)
    ]
    fitting = {name for name, is_encrypted in routed if is_encrypted == encrypted}
    choices = (
        [name for name, point in points.items() if port_of(point.address) == str(port)],
        [name for name in points if name in fitting],
        [name for name in points if any(name == each for each, _ in routed)],
        points,
    )
    return next((name for names in choices for name in names), "")


def _listed(names: Iterable[str]) -> str:
    found = [*names]
    return f"{'is' if len(found) == 1 else 'are'} {', '.join(found) or 'none'}"


def _explain_layer4(runtime: Runtime, asked: str, client: str, entry_point: str) -> Iterator[str]:
    layer, name = asked[:3], asked[6:].strip("/").partition(":")[0].lower()
    static, table = runtime.static, runtime.table
    assert table is not None
    points = static.udp_points if layer == "udp" else static.stream_points
    routed = list(table.udp if layer == "udp" else table.tcp)
    point = entry_point or next(iter([*routed, *points]), "")
    if not points:
        raise ExplainError(f"there is no entry point of {layer.upper()}")
    if point not in points:
        raise ExplainError(f"there is no entry point {point} of {layer.upper()}; there {_listed(points)}")
    try:
        request = request_for(name)
        request.come_from(client)
    except ValueError as error:
        raise ExplainError(str(error) if "host" in str(error) else f"the client {client!r} is no IP address") from None

    def levels(service: Service) -> Iterator[str]:
        server, path = service.trace(request)
        yield from _levels(path)
        yield f"server: {server.key}" if server is not None else "no server may be picked"

    lines = explain_udp(runtime, point, levels)
    if layer == "tcp":
        lines = explain_tcp(runtime, point, name, client, request, levels)
    return iter([f"entry point {point}: {points[point].address}", *lines])


def _apart(runtime: Runtime) -> Runtime:
    """A runtime with the configuration of another, and with all that its choices depend on now, for itself alone."""
    own: Runtime = runtime.derived("explain apart", lambda: _compiled_apart(runtime))
    slots = runtime.slots
    own.region.resemble(runtime.region, slots.services.values(), slots.servers.values())
    return own


def _compiled_apart(runtime: Runtime) -> Runtime:
    region = Region.create(1, runtime.region.services, runtime.region.servers)
    own = Runtime(runtime.static, region, runtime.admin)
    own.update(runtime.dynamic, runtime.slots)
    return own


class _Explanation:
    """One request. `real` is the runtime whose middlewares know their sources; `runtime` may be one apart from it."""

    def __init__(self, runtime: Runtime, real: Runtime, request: Request, point: str, encrypted: bool) -> None:
        self.runtime = runtime
        self.real = real
        self.request = request
        self.point = point
        self.encrypted = encrypted
        self.way = Rehearsal(request, runtime.region, encrypted)
        self.met = 0  # middlewares

    def lines(self) -> Iterator[str]:
        """All lines."""
        runtime, table, point = self.runtime, self.runtime.table, self.point
        assert table is not None
        own = ", ".join(runtime.static.entry_points[point].http.middlewares)
        yield f"entry point {point}: {own or 'no middlewares'}"
        trees = trees_of(runtime.dynamic.http.routers).children
        names = [name for name, each in runtime.dynamic.http.routers.items() if self.is_here(each)]
        routes: RouteIndex | None = table.index(point, self.encrypted)
        route: Route | None = None
        try:
            while routes is not None:
                route = self.way.find(routes)
                yield from self.routers(names, route.router if route is not None else "")
                if route is None:
                    yield "answer: 404 page not found"
                    return
                lines, answered = self.middlewares(route.middlewares[self.met :], route.name)
                yield from lines
                if answered:
                    yield f"answer: {answered}"
                    return
                routes, names = route.children, trees.get(route.router, [])
                if routes is not None:
                    yield f"routers below {route.name}, which see {self.way.path}:"
            if route is None:
                yield "answer: 404 page not found"
            elif route.router not in runtime.dynamic.http.routers:
                yield "service: lbcore answers by itself"
            else:
                yield from self.services(route)
        finally:
            self.way.leave()

    def is_here(self, router: Router) -> bool:
        """Whether a router gets its requests from the entry point."""
        return self.point in entry_points_of(router, self.runtime.static)

    def routers(self, names: Sequence[str], taker: str) -> Iterator[str]:
        """A line for each of some routers, highest priority first."""
        static, routers = self.runtime.static, self.runtime.dynamic.http.routers
        disabled = self.runtime.errors("router")
        rank = {name: ranked(name, routers[name])[0] for name in names}
        higher = rank.get(taker)
        for name in sorted(names, key=lambda name: (-rank[name], static.providers.rank(name), name)):
            router = routers[name]
            about = f"router {name} (priority {rank[name]}): {router.rule}"
            if name in disabled:
                yield f"{about}: disabled: {'; '.join(disabled[name])}{self.place_of(name)}"
                continue
            if not router.parent_refs and (tls_of(router, self.point, static) is not None) != self.encrypted:
                yield f"{about}: does not match: it takes requests {'without' if self.encrypted else 'over'} TLS alone"
                continue
            missing = ", ".join(unmet(rule_of(router, static), lambda program: program.holds(self.request)))
            if missing:
                yield f"{about}: does not match: {missing}"
            elif name == taker:
                yield f"{about}: matches"
            else:
                equal = higher is not None and higher <= rank[name]
                why = "the priorities are equal, names decide" if equal else f"priority {higher} is higher"
                yield f"{about}: would match, but {taker} is tried before it: {why}"
        if taker and taker not in rank:
            yield f"router {taker}: matches; it is lbcore's own"

    def place_of(self, name: str) -> str:
        """What stands in the place of a router that does not run; empty: nothing."""
        assert self.runtime.table is not None
        _, status, stands = self.runtime.table.made_of.closed.get((self.point, self.encrypted, name), (None, 0, None))
        return f"; it keeps its place, and answers {status}: no other router takes its requests" if stands else ""

    def middlewares(self, steps: Sequence[Any], place: str) -> tuple[list[str], str]:
        """A line for each middleware (of `lbcore.middleware`), and what one of them answers; empty: all are passed."""
        lines, answered = [], ""
        for step in steps:
            about = f"middleware {step.name}: {self.kind(step.name)}"
            if answered:
                lines.append(f"{about}: not reached")
                continue
            state = self.known(step.name, place)
            said, answered = self.meet(step, place, state)
            self.met += 1
            shown = f" ({', '.join(f'{key}: {value}' for key, value in state.items())})" if state else ""
            lines.append(f"{about}: {said}{shown}")
        return lines, answered

    def meet(self, step: Any, place: str, state: Mapping[str, Any]) -> tuple[str, str]:
        """What a middleware makes of the request, and its answer; empty: it passes.

        state  what the one that serves requests knows of the client; empty: nothing.
        """
        config = self.runtime.dynamic.http.middlewares.get(step.name)
        if config is not None and (why := _asks_elsewhere(config)):
            return f"{why}, which is not done here; taken to pass", ""
        if config is not None and state and (config.rate_limit or config.in_flight_req or config.circuit_breaker):
            status = _limited(config, state)
            return (f"answers {status}", f"{status}, by middleware {step.name}") if status else ("passes", "")
        before = self.way.path
        try:
            verdict, detail = self.way.meet(step, place)
        except Exception as error:
            return f"not known: {' '.join(str(error).split())}; taken to pass", ""
        if verdict == "answers":
            return f"answers {detail}", f"{detail[:3]}, by middleware {step.name}"
        if verdict == "asks":
            asked = (config.upstream if config is not None else "") or detail or "elsewhere"
            return f"asks {asked}, which is not done here; taken to pass", ""
        after = self.way.path
        return ("passes" if after == before else f"passes; the path is {after} now"), ""

    def known(self, name: str, place: str) -> Mapping[str, Any]:
        """What the middleware that serves requests knows of the client; empty: nothing, or none serves."""
        table = self.real.table
        serving = table.middlewares.get(name) if table is not None and self.real is not self.runtime else None
        return (serving.state_at(place, self.request) if serving is not None else None) or {}

    def kind(self, name: str) -> str:
        """The kind of a middleware."""
        middleware = self.runtime.dynamic.http.middlewares.get(name)
        return middleware.kinds[0].replace("_", "") if middleware is not None and middleware.kinds else "lbcore's own"

    def services(self, route: Route) -> Iterator[str]:
        """Each level below a router's service, with weights and health, and the member that gets the request."""
        if route.service is None:
            yield "service: lbcore answers by itself"
            return
        answer = ""
        server, path = route.service.trace(self.request)
        for depth, (service, chosen) in enumerate(path):
            indent = "  " * depth
            if not answer and (gate := self.gate_of(service)) is not None:
                lines, answer = self.middlewares(gate.middlewares, gate.name)
                yield from (f"{indent}{line}" for line in lines)
            yield from _level(service, chosen, indent)
        if answer:
            yield f"answer: {answer}"
        else:
            yield f"server: {server.key}" if server is not None else "answer: 503, no server may be picked"

    def gate_of(self, service: Service) -> Guarded | None:
        """The middlewares in front of a service."""
        table = self.runtime.table
        found = table.services.get(service.name) if table is not None else None
        return found if isinstance(found, Guarded) else None


def _levels(path: Sequence[tuple[Service, int]]) -> Iterator[str]:
    """The levels of services that were asked, outermost first."""
    for depth, (service, chosen) in enumerate(path):
        yield from _level(service, chosen, "  " * depth)


def _level(service: Service, chosen: int, indent: str) -> Iterator[str]:
    """A service, with its members, their weights or roles, and which of them was chosen."""
    status = "UP" if service.is_up else "DOWN"
    kind = "load balancer" if isinstance(service, LoadBalancer) else kind_of(service)
    yield f"{indent}service {service.name} ({status}): {kind}"
    if isinstance(service, LoadBalancer):
        names = [member.key for member in service.members]
    else:
        names = [f"{key} ({'UP' if child.is_up else 'DOWN'})" for key, child in service.children]
    for index, name in enumerate(names):
        about = _weight(service, index) if isinstance(service, Balancer) else role_of(service, index)
        yield f"{indent}  {'->' if index == chosen else '  '} {name} {about}"


def _asks_elsewhere(config: MiddlewareConfig) -> str:
    """What a middleware does that an explanation must not do; empty: nothing."""
    if config.python is not None:
        return f"calls {config.python.class_ or 'an instance of the program'}"
    if config.rate_limit is not None and config.rate_limit.redis is not None:
        return "counts in its store"
    return ""


def assumed_static(dynamic: DynamicConfig) -> StaticConfig:
    """A static configuration with the entry points that routers name; one, if they name none."""
    named = [*(router.entry_points for router in dynamic.http.routers.values())]
    named += [router.entry_points for router in dynamic.tcp.routers.values()]
    names = dict.fromkeys(name for points in named for name in points)
    udp = dict.fromkeys(name for router in dynamic.udp.routers.values() for name in router.entry_points)
    points = {name: {"address": ":0"} for name in names or ("web",)}
    points |= {name: {"address": ":0/udp"} for name in udp if name not in points}
    return StaticConfig.model_validate({"entryPoints": points})


def scheme_and_port(asked: str) -> tuple[str, int]:
    """Those of the URL of a request. Raises ExplainError."""
    url = asked.strip().rpartition(" ")[2]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ExplainError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ExplainError(f"{url!r} is no URL of HTTP, and none with tcp:// or udp://: write 'GET http://host/path'")
    return parts.scheme, PORTS[parts.scheme] if port is None else port


def head_of(asked: str, headers: Sequence[str]) -> bytes:
    """The head of the request to explain. Raises ExplainError."""
    method, _, url = asked.strip().rpartition(" ")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ExplainError(f"{url!r} is no URL: {error}") from None
    if strange := next((header for header in headers if not header.partition(":")[1]), None):
        raise ExplainError(f"{strange!r} is no header: write 'Name: value'")
    if not parts.netloc:
        raise ExplainError(f"{asked!r} names no host: write 'GET http://host/path'")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method or 'GET'} {target} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    if any(set("\r\n") & set(line) for line in lines):
        raise ExplainError("line breaks in the request")
    return "\r\n".join([*lines, "", ""]).encode()


def _limited(config: MiddlewareConfig, state: Mapping[str, Any]) -> int:
    """The status with which a limit answers a client of which it knows this; 0: it passes."""
    if config.circuit_breaker is not None:
        return config.circuit_breaker.response_code if state.get("state") == "tripped" else 0
    if config.in_flight_req is not None:
        return 429 if state["inFlight"] >= state["amount"] else 0
    return 429 if state.get("left", 1) < 1 else 0


def _weight(service: Balancer, index: int) -> str:
    effective, configured = service.effective_weights[index], service.configured_weights[index]
    text = f"weight {effective} of {sum(service.effective_weights)}"
    if effective != configured:
        text += f" (configured {configured}" + ("" if service.member_stands(index) else ", it is down") + ")"
    return text
