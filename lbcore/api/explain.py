"""Why a request goes where it goes: routers tried, middlewares, each level of service, the server. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from lbcore.api.runtime import Runtime
from lbcore.config.rule import And, Matcher, Not, Or, Rule, parse_rule
from lbcore.config.validate import entry_points_of, qualify
from lbcore.http.request import Request
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.failover import Failover
from lbcore.routing.guarded import Guarded
from lbcore.routing.matcher import Program
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.service import Service


class ExplainError(ValueError):
    """The request that is asked about is none."""


def explain(
    runtime: Runtime, asked: str, headers: Sequence[str] = (), client: str = "192.0.2.1", entry_point: str = ""
) -> Iterator[str]:
    """Lines of text, outermost decision first.

    asked        e.g. `GET https://shop.example/cart`; the method may be left out.
    headers      `Name: value`.
    entry_point  where it comes in; empty: the first one.

    Picks a server as a request would, so `runtime` has to be one that serves nobody. Raises ExplainError.
    """
    head = head_of(asked, headers)
    request = Request()
    used = request.parse_bytes(head)
    if used <= 0:
        raise ExplainError(f"refused before any router is asked: status {-used or 400}")
    request.come_from(client)
    point = entry_point or next(iter(runtime.static.entry_points))
    if point not in runtime.static.entry_points:
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
    service = runtime.table.services.get(qualify(router.service, name)) if runtime.table else None
    if service is None:
        yield f"service {router.service}: answers by itself"
        return
    yield from _services(runtime, service, request)


def head_of(asked: str, headers: Sequence[str]) -> bytes:
    """The head of the request that is asked about. Raises ExplainError."""
    method, _, url = asked.strip().rpartition(" ")
    parts = urlsplit(url)
    if not parts.netloc:
        raise ExplainError(f"{asked!r} names no host: write 'GET http://host/path'")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method or 'GET'} {target} HTTP/1.1", f"Host: {parts.netloc}", *headers]
    if any(set("\r\n") & set(line) for line in lines):
        raise ExplainError("line breaks in the request")
    return "\r\n".join([*lines, "", ""]).encode()


def _routers(runtime: Runtime, point: str, head: bytes, client: str) -> Iterator[tuple[str, str]]:
    """A line for each router of the entry point, highest priority first, and its name if it takes the request."""
    disabled = runtime.errors("router")
    entries = []
    for name, router in runtime.dynamic.http.routers.items():
        if point in entry_points_of(router, runtime.static):
            entries.append((-(router.priority or len(router.rule.encode())), name, router))
    taken = False
    for priority, name, router in sorted(entries, key=lambda entry: entry[:2]):
        about = f"router {name} (priority {-priority}): {router.rule}"
        if name in disabled:
            yield f"{about}: disabled: {'; '.join(disabled[name])}", ""
        elif taken:
            yield f"{about}: not tried", ""
        else:
            rule = parse_rule(router.rule)
            taken = Program(rule).matches(head, client)
            if taken:
                yield f"{about}: matches", name
            else:
                missing = ", ".join(_unmet(rule, head, client))
                yield f"{about}: does not match: {missing}", ""


def _unmet(rule: Rule, head: bytes, client: str) -> Iterator[str]:
    """The parts of a rule that would have to hold and do not."""
    if Program(rule).matches(head, client):
        return
    if isinstance(rule, (And, Or)):
        yield from _unmet(rule.left, head, client)
        yield from _unmet(rule.right, head, client)
    elif isinstance(rule, (Not, Matcher)):
        yield str(rule)


def _kind(runtime: Runtime, name: str) -> str:
    middleware = runtime.dynamic.http.middlewares.get(name)
    return middleware.kinds[0].replace("_", "") if middleware is not None and middleware.kinds else "does not exist"


def _services(runtime: Runtime, root: Service, request: Request) -> Iterator[str]:
    """Each level below a service, with weights and health, and which way the request goes."""
    before = {slot: runtime.region.server_counters(slot).requests for slot in runtime.slots.servers.values()}
    server = root.pick(request)

    def chosen(slot: int) -> bool:
        return runtime.region.server_counters(slot).requests > before[slot]

    service, depth = root, 0
    while True:
        indent = "  " * depth
        if isinstance(service, Guarded):
            for middleware in runtime.dynamic.http.services[service.name].middlewares:
                yield f"{indent}middleware {qualify(middleware, service.name)} of the service"
            service = service.service
        status = "UP" if service.is_up else "DOWN"
        if isinstance(service, LoadBalancer):
            yield f"{indent}service {service.name} ({status}): load balancer"
            for index, member in enumerate(service.members):
                mark = "->" if server is not None and member.key == server.key else "  "
                yield f"{indent}  {mark} {member.key} {_weight(service, index)}"
            break
        following: Service | None = None
        kind = type(service).__name__.lower()
        yield f"{indent}service {service.name} ({status}): {kind}"
        for index, (key, child) in enumerate(service.children):
            slot = runtime.slots.servers[f"{service.name}|{key}"]
            taken = chosen(slot) and not (isinstance(service, Mirroring) and index)
            if taken and following is None:
                following = child
            about = _weight(service, index) if isinstance(service, Balancer) else _role(service, index)
            child_status = "UP" if child.is_up else "DOWN"
            yield f"{indent}  {'->' if taken else '  '} {key} ({child_status}) {about}"
        if following is None:
            break
        service, depth = following, depth + 1
    yield f"server: {server.key}" if server is not None else "answer: 503, no server may be picked"


def _weight(service: Balancer, index: int) -> str:
    effective, configured = service.effective_weights[index], service.configured_weights[index]
    text = f"weight {effective} of {sum(service.effective_weights)}"
    if effective != configured:
        text += f" (configured {configured}" + ("" if service.member_stands(index) else ", it is down") + ")"
    return text


def _role(service: Service, index: int) -> str:
    if isinstance(service, Failover):
        return ("main", "fallback")[index]
    return f"mirror, {service.mirrors[index - 1].percent} %" if index and isinstance(service, Mirroring) else "main"
