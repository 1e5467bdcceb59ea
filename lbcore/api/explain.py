"""Explanations of the route of a request: routers tried, middlewares, each level of services, the server. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from lbcore.api.runtime import Runtime
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.config.validate import entry_points_of, qualify, rule_of, trees_of
from lbcore.http.request import Request
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.explanation import kind_of, role_of, unmet
from lbcore.routing.service import Service


class ExplainError(ValueError):
    """The request to explain is invalid."""


def explain(
    runtime: Runtime, asked: str, headers: Sequence[str] = (), client: str = "192.0.2.1", entry_point: str = ""
) -> Iterator[str]:
    """Lines of text, outermost decision first.

    asked        e.g. `GET https://shop.example/cart`; the method may be omitted.
    headers      `Name: value`.
    entry_point  of the request; empty = the first one.

    Picks a server like a request, so `runtime` must be one that serves no requests. Raises ExplainError.
    """
    head = head_of(asked, headers)
    request = Request()
    used = request.parse_bytes(head)
    if used <= 0:
        raise ExplainError(f"refused before any router is asked: status {-used or 400}")
    try:
        request.come_from(client)
    except ValueError:
        raise ExplainError(f"the client {client!r} is no IP address") from None
    point = entry_point or next(iter(runtime.static.stream_points), "")
    if point not in runtime.static.stream_points:
        raise ExplainError(f"there is no entry point {point}")
    yield f"entry point {point}: {', '.join(runtime.static.entry_points[point].http.middlewares) or 'no middlewares'}"
    name = ""
    for line, found in _routers(runtime, point, head, client):
        yield line
        name = name or found
    if not name:
        yield "answer: 404 page not found"
        return
    router = runtime.dynamic.http.routers[name]
    for reference in router.middlewares:
        yield f"middleware {qualify(reference, name)}: {_kind(runtime, qualify(reference, name))}"
    if below := trees_of(runtime.dynamic.http.routers).children.get(name):
        yield f"routers that see the request after these middlewares: {', '.join(below)}"
        return
    service = runtime.table.services.get(qualify(router.service, name)) if runtime.table else None
    if service is None:
        yield f"service {router.service}: answers by itself"
        return
    yield from _services(runtime, service, request)


def assumed_static(dynamic: DynamicConfig) -> StaticConfig:
    """A static configuration with the entry points that routers name; one, if they name none."""
    names = dict.fromkeys(name for router in dynamic.http.routers.values() for name in router.entry_points)
    return StaticConfig.model_validate({"entryPoints": {name: {"address": ":0"} for name in names or ("web",)}})


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


def _routers(runtime: Runtime, point: str, head: bytes, client: str) -> Iterator[tuple[str, str]]:
    """A line for each router of the entry point, highest priority first, and its name if it gets the request."""
    disabled = runtime.errors("router")
    entries = []
    for name, router in runtime.dynamic.http.routers.items():
        if point in entry_points_of(router, runtime.static):
            entries.append((-(router.priority or len(router.rule.encode())), name, router))
    first: tuple[int, str] | None = None  # that takes the request
    for priority, name, router in sorted(entries, key=lambda entry: entry[:2]):
        about = f"router {name} (priority {-priority}): {router.rule}"
        if name in disabled:
            yield f"{about}: disabled: {'; '.join(disabled[name])}", ""
            continue
        rule = rule_of(router, runtime.static)
        missing = ", ".join(unmet(rule, lambda program: program.matches(head, client)))
        if missing:
            yield f"{about}: does not match: {missing}", ""
        elif first is None:
            first = -priority, name
            yield f"{about}: matches", name
        else:
            higher, taker = first
            why = f"priority {higher} is higher" if higher > -priority else "the priorities are equal, names decide"
            yield f"{about}: would match, but {taker} is tried before it: {why}", ""


def _kind(runtime: Runtime, name: str) -> str:
    middleware = runtime.dynamic.http.middlewares.get(name)
    return middleware.kinds[0].replace("_", "") if middleware is not None and middleware.kinds else "does not exist"


def _services(runtime: Runtime, root: Service, request: Request) -> Iterator[str]:
    """Each level below a service, with weights and health, and the member that gets the request."""
    server, path = root.trace(request)
    for depth, (service, chosen) in enumerate(path):
        indent = "  " * depth
        config = runtime.dynamic.http.services.get(service.name)
        for middleware in config.middlewares if config else ():
            yield f"{indent}middleware {qualify(middleware, service.name)} of the service"
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
    yield f"server: {server.key}" if server is not None else "answer: 503, no server may be picked"


def _weight(service: Balancer, index: int) -> str:
    effective, configured = service.effective_weights[index], service.configured_weights[index]
    text = f"weight {effective} of {sum(service.effective_weights)}"
    if effective != configured:
        text += f" (configured {configured}" + ("" if service.member_stands(index) else ", it is down") + ")"
    return text
