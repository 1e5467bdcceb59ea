"""The tree of a service with the status of every part, and its cause. No I/O."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from lbcore.api.runtime import Runtime
from lbcore.config.units import format_duration
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.failover import Failover
from lbcore.routing.guarded import Guarded
from lbcore.routing.member import Member
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.queue import WaitQueue
from lbcore.routing.service import Service
from lbcore.state.cells import ADMIN, CHECK, EJECTED
from lbcore.state.check_result import CheckResult
from lbcore.state.counters import ServerCounters
from lbcore.state.region import Region

Node = dict[str, Any]


def type_of(service: Service) -> str:
    """Traefik's name for the kind of a service."""
    if isinstance(service, Guarded):
        return type_of(service.service)
    if isinstance(service, LoadBalancer):
        return "loadbalancer"
    if isinstance(service, Failover):
        return "failover"
    return "mirroring" if isinstance(service, Mirroring) else "weighted"


def health_of(runtime: Runtime, service: Service) -> Node:
    """Status, cause, and time of the last change of a service, and of all below it."""
    inner = service.service if isinstance(service, Guarded) else service
    node: Node = {"name": service.name, "type": type_of(service), "status": "UP" if service.is_up else "DOWN"}
    if since := _since(service.changed_ns):
        node["since"] = since
    if isinstance(inner, LoadBalancer):
        node["servers"] = [_server(runtime, inner, index) for index in range(len(inner.members))]
        if inner.queue is not None:
            node["queue"] = _queue(runtime, inner.queue)
    else:
        node["children"] = _children(runtime, inner)
    if cause := _cause(node):
        node["cause"] = cause
    return node


def _queue(runtime: Runtime, queue: WaitQueue) -> Node:
    counters = runtime.region.queue_counters(queue.slot)
    return {
        "waiting": counters.waiting,
        "queued": counters.queued,
        "timedOut": counters.timed_out,
        "rejected": counters.rejected,
        "abandoned": counters.abandoned,
        "maxRequests": queue.max_requests,
        "timeout": format_duration(timedelta(microseconds=queue.timeout_ns // 1000)),
    }


def _server(runtime: Runtime, balancer: LoadBalancer, index: int) -> Node:
    member = balancer.servers[index]
    region, slot = runtime.region, member.slot
    reasons, counters = region.down_reasons(slot), region.server_counters(slot)
    node: Node = {
        "url": member.key,
        "status": "DOWN" if reasons else "UP",
        "weight": balancer.configured_weights[index],
        "effectiveWeight": balancer.effective_weights[index],
        "requests": counters.requests,
        "inFlight": counters.in_flight,
        "errors": errors_of(member, counters),
        "retries": counters.retries,
        "answers": sum(counters.responses[1:]),
        "firstByteSeconds": round(counters.first_byte_s, 6),
    }
    if member.limit:
        node["maxConnections"] = member.limit
    if (last := last_check(runtime, member)) is not None:
        node["lastCheck"] = check_view(last)
    _add_weights(node, region, slot)
    if since := _since(region.changed_ns(slot)):
        node["since"] = since
    if reasons:
        node["cause"] = down_cause(runtime, member)
    elif (unreached_s := runtime.unreached.get(member.slot)) is not None:
        node["unreachedSince"] = datetime.fromtimestamp(unreached_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return node


def errors_of(member: Member, counters: ServerCounters) -> int:
    """Requests that a server has answered with 5xx, or not at all; of layer 4, connections that it has refused."""
    if member.name.startswith(("tcp:", "udp:")):
        return counters.connect_errors
    ended = counters.requests - counters.in_flight
    return counters.responses[5] + max(ended - sum(counters.responses[1:]), 0)


def last_check(runtime: Runtime, member: Member) -> CheckResult | None:
    """The last active check of a server; None: there was none."""
    return runtime.last_check(member.name.removesuffix(f"|{member.key}"), member.key)


def check_view(result: CheckResult) -> Node:
    """An active check, as the API shows it: how long it took, when it ended (Unix time), and why it failed."""
    at_s = time.time() - (time.monotonic() - result.at_s)
    view: Node = {"at": round(at_s * 1000), "ms": round(result.took_s * 1000, 1)}
    return view | {"error": result.error} if result.error else view


def down_cause(runtime: Runtime, member: Member) -> str:
    """The reason why a server of a service may not be picked; empty if it may."""
    reasons = runtime.region.down_reasons(member.slot)
    texts = []
    if reasons & CHECK:
        last = last_check(runtime, member)
        texts.append(f"health check failed: {last.error if last is not None and last.error else 'not checked yet'}")
    if reasons & EJECTED:
        texts.append("ejected: too many requests to it failed")
    if reasons & ADMIN:
        texts.append("taken out by hand")
    return "; ".join(texts)


def _children(runtime: Runtime, service: Service) -> list[Node]:
    nodes = []
    for number, (key, child) in enumerate(service.children):
        node = health_of(runtime, child) | {"key": key}
        if isinstance(service, Balancer):
            slot = service.members[number].slot
            node["weight"] = service.configured_weights[number]
            node["effectiveWeight"] = service.effective_weights[number]
            node["requests"] = runtime.region.server_counters(slot).requests
            _add_weights(node, runtime.region, slot)
        elif isinstance(service, Failover):
            node["role"] = ("main", "fallback")[number]
        elif isinstance(service, Mirroring):
            node["role"] = "mirror" if number else "main"
            if number:
                mirror = service.mirrors[number - 1]
                counters = runtime.region.server_counters(mirror.child.slot)
                node["percent"] = mirror.percent
                node["mirrored"] = {
                    "sent": counters.requests,
                    "ok": sum(counters.responses[1:5]),
                    "failed": counters.responses[0] + counters.responses[5],
                    "shed": counters.shed,
                    "oversized": counters.oversized,
                }
        nodes.append(node)
    return nodes


def _add_weights(node: Node, region: Region, slot: int) -> None:
    """Add the reasons why the effective weight differs from the configured one."""
    override, percent = region.weight_override(slot), region.ramp_percent(slot)
    if override is not None:
        node["overriddenWeight"] = override
    if percent and node["effectiveWeight"]:
        node["slowStartPercent"] = percent


def _cause(node: Node) -> str:
    """The cause why a service is down, in one sentence."""
    if node["status"] == "UP":
        return ""
    kind = "servers" if "servers" in node else "children"
    parts: list[Node] = node.get("servers") or node.get("children") or []
    if node["type"] == "mirroring":
        return f"its main service {parts[0]['name']} is down" if parts else ""
    down = sum(part["status"] == "DOWN" for part in parts)
    if not parts:
        return f"{node['name']} is down because it has no {kind}"
    since = f" since {node['since']}" if "since" in node else ""
    return f"{node['name']} is down because {down} of {len(parts)} {kind} are down{since}"


def _since(changed_ns: int) -> str:
    """A time of the monotonic clock as ISO 8601; empty for never."""
    if not changed_ns:
        return ""
    ago_s = (time.monotonic_ns() - changed_ns) / 1e9
    return datetime.fromtimestamp(time.time() - ago_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
