"""What is known of each node of the structure: rates, quantiles, states and causes.

Nodes are made anew where something has happened: a look costs what has changed since the one before.
I/O: none but the region and the clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lbcore.api.condition import ALL, condition_of
from lbcore.api.denials import Denied
from lbcore.api.health import down_cause
from lbcore.api.history import INTERVAL_S, NOTHING, History, Point
from lbcore.api.maxima import Maxima, unix_ms
from lbcore.api.outages import Outages
from lbcore.api.runtime import Runtime
from lbcore.api.structure import Part, Structure, inner_of, structure_of
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.service import Service
from lbcore.state.cells import ADMIN, CHECK, EJECTED
from lbcore.state.sampler import POINTS, SERVERS, SERVICES, Sampler

ASKED_S = 0.1  # CPU time in which a look that somebody asks for makes nodes anew; the next ones make the others
IDLE: dict[str, Any] = {}
UNREACHED = "it cannot be reached, and no health check watches"
# What makes a node worth showing. The other fields only accompany these.
SAYING = (
    "rate",
    "errors",
    "inFlight",
    "connections",
    "queue",
    "retries",
    "denied",
    "mirrors",
    "p50",
    "share",
    "states",
    "downs",
)
# In the order of `Word` in state/sampler.pxd.
(
    REQUESTS,
    NONE,
    *_,
    FAILED,
    CONNECT_ERRORS,
    RETRIES,
    BYTES_IN,
    BYTES_OUT,
    SHED,
    QUEUED,
    KEPT,
    BEGUN,
    DENIED,
    IN_FLIGHT,
    WAITING,
) = range(18)

View = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Members:
    """What the members of a service have in common for a look.

    weights     in force, by id; `written`: those of the configuration. Empty: members of this kind have none.
    windows     what the last seconds have brought, by id; `requests`: that of all from which one is chosen.
    chosen      those from which one is chosen for a request: of a mirroring the first one alone.
    children    the services that are members.
    """

    service: Service
    weights: dict[str, float]
    written: dict[str, float]
    samples: dict[str, tuple[float, ...]]
    windows: dict[str, tuple[int, int, float | None, float | None, float | None]]
    requests: int
    chosen: list[str]
    children: dict[str, Service]


class Nodes:
    """One per instance; its methods are called in one thread at a time.

    views    of all nodes that are not idle and well, by id; `texts`: the same as JSON.
    untold   texts of nodes that have changed since somebody has taken them.
    pending  ids of entry points, routers and services whose nodes are to be made anew.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.points = list(runtime.static.entry_points)
        self.sampler = Sampler(runtime.region, len(self.points))
        self.outages = Outages()
        self.denied = Denied()
        self.maxima = Maxima(self.sampler, self.points, runtime.started_unix_s)
        self.structure: Structure | None = None
        self.views: dict[str, View] = {}
        self.texts: dict[str, str] = {}
        self.untold: dict[str, str] = {}
        self.pending: dict[str, None] = {}
        self._unreached: frozenset[int] = frozenset()  # slots of servers, as views tell

    def follow(self, runtime: Runtime) -> Structure:
        """The structure in force; what has gone is forgotten."""
        structure = structure_of(runtime)
        if structure is not self.structure:
            self.structure = structure
            self.maxima.follow(structure)
            self.follow_servers(runtime)
            for id in [id for id in self.views if id not in structure.nodes]:
                del self.views[id], self.texts[id]
                self.untold.pop(id, None)
            self.pending |= dict.fromkeys(structure.peculiar)
            self.pending |= dict.fromkeys(id for id in self.views if id in structure.parts or "/routers/" in id)
        return structure

    def follow_servers(self, runtime: Runtime) -> None:
        """Note which servers have gone down or up."""
        if (structure := self.structure) is not None:
            self.pending |= dict.fromkeys(self.outages.look(runtime.region, structure))

    def _follow_unreached(self, runtime: Runtime, structure: Structure) -> None:
        """Have the services of servers made anew that cannot be reached now, or could not before."""
        before, self._unreached = self._unreached, frozenset(runtime.unreached)
        services = structure.units[SERVERS]
        self.pending |= dict.fromkeys(services[slot] for slot in before ^ self._unreached if slot in services)

    def end_second(self, runtime: Runtime) -> None:
        """Read the region for the maxima alone."""
        if self.structure is None:
            self.follow(runtime)
        self.sampler.end_second()

    def look(self, runtime: Runtime, ends_second: bool = False) -> Structure:
        """Read the region, and have what was active since the last look be made anew."""
        structure = self.follow(runtime)
        if ends_second:
            self.sampler.end_second()
        else:
            self.sampler.look()
        self.pending |= dict.fromkeys(f"entrypoints/{self.points[index]}" for index in self.sampler.active(POINTS))
        for kind in (SERVERS, SERVICES):
            units = structure.units[kind]
            self.pending |= dict.fromkeys(units[slot] for slot in self.sampler.active(kind) if slot in units)
        self.pending |= dict.fromkeys(self.denied.look(runtime.region, structure))
        return structure

    def build(self, runtime: Runtime, structure: Structure, limit_s: float = ASKED_S) -> None:
        """Make nodes that are pending, at least one, for as long as `limit_s` of CPU time."""
        middlewares: dict[str, None] = {}
        self._follow_unreached(runtime, structure)
        end_s = time.thread_time() + limit_s
        while self.pending:
            id = next(iter(self.pending))
            del self.pending[id]
            for node, view in self._unit(runtime, structure, id):
                if self._set(node, view):
                    middlewares |= dict.fromkeys(structure.nodes[node].get("middlewares", ()))
            if time.thread_time() >= end_s:
                break
        for id in middlewares:
            if id in structure.nodes:
                self._set(id, self._middleware(structure, id))

    def _set(self, id: str, view: View) -> bool:
        """Enter what is known of a node. Returns whether it has changed."""
        if not any(key in view for key in SAYING):
            view = IDLE
        if view == self.views.get(id, IDLE):
            return False
        if view:
            self.views[id] = view
            self.untold[id] = self.texts[id] = dumped(view)
        else:
            del self.views[id], self.texts[id]
            self.untold[id] = "null"
        return True

    def _unit(self, runtime: Runtime, structure: Structure, id: str) -> Iterator[tuple[str, View]]:
        """The nodes that are made together: a service with its members, or another one."""
        node = structure.nodes.get(id)
        if node is None:
            return
        if node["kind"] == "service":
            if (part := structure.parts.get(id)) is not None:
                before = self.views.get(id, IDLE)
                service = IDLE
                for key, view in self._service(runtime, structure, part, node):
                    service = view if key == id else service
                    yield key, view
                if any(service.get(key) != before.get(key) for key in ("down", "cause")):
                    self.pending |= dict.fromkeys((*part.above, *part.users))
                elif part.layer == "udp":
                    self.pending |= dict.fromkeys(part.users)
            else:
                yield id, self._stated(node, {})
        elif node["kind"] == "router":
            yield id, self._router(runtime, structure, node)
        elif node["kind"] == "entrypoint":
            yield id, self._entry_point(runtime, node)
        else:
            yield id, self._middleware(structure, id)

    def _stated(self, node: View, view: View) -> View:
        """Add what the configuration says of an object."""
        states = view.setdefault("states", [])
        if node["status"] == "disabled":
            states.insert(0, "disabled")
        elif node.get("kept"):
            states.insert(0, "kept")
        if not states:
            del view["states"]
        return view

    def _entry_point(self, runtime: Runtime, node: View) -> View:
        index = self.points.index(node["name"])
        sample = self.sampler.take(POINTS, index)
        view = _numbers(sample)
        if node["protocol"] == "udp" and sample[RETRIES]:
            view["rate"] = round(sample[RETRIES], 3)  # datagrams
        view.pop("retries", None)
        if not sample[REQUESTS] and sample[QUEUED]:
            view["rate"] = round(sample[QUEUED], 3)  # connections of layer 4
        if sample[WAITING]:
            view["connections"] = int(sample[WAITING])
        _quantiles(view, self.sampler.window(POINTS, (index,)))
        view["requests"] = self.sampler.totals(POINTS, index)[REQUESTS]
        return view

    def _router(self, runtime: Runtime, structure: Structure, node: View) -> View:
        view: View = {}
        slot = structure.router_slots.get(node["id"])
        service = self.views.get(node["service"], IDLE)
        if slot is not None:
            view = _numbers(self.sampler.take(SERVICES, slot))
            _quantiles(view, self.sampler.window(SERVICES, (slot,)))
            view["requests"] = self.sampler.totals(SERVICES, slot)[REQUESTS]
            if node["layer"] == "tcp":
                view.pop("classes", None)
        elif (part := structure.parts.get(node["service"])) is not None and len(part.users) == 1:
            keys = ("rate", "errors", "p50", "p95", "p99", "inFlight", "requests", "bytesIn", "bytesOut")
            view = {key: service[key] for key in keys if key in service}  # all of it comes by here
        if service.get("down") and node["status"] != "disabled":
            view |= {"down": True, "states": ["down"], "cause": service.get("cause", "")}
            if "since" in service:
                view["since"] = service["since"]
        return self._stated(node, view)

    def _middleware(self, structure: Structure, id: str) -> View:
        """The sum of the routers that use it; what it answers itself is in it."""
        node, view = structure.nodes[id], {}
        users = [self.views.get(user, IDLE) for user in node["usedBy"]]
        for key in ("rate", "errors", "inFlight"):
            if total := round(sum(user.get(key, 0) for user in users), 3):
                view[key] = total
        if rate := round(self.denied.rate(node), 3):
            view["denied"] = rate
        return self._stated(node, view)

    def _service(self, runtime: Runtime, structure: Structure, part: Part, node: View) -> Iterator[tuple[str, View]]:
        """A service and its members."""
        common = self._members(part)
        members = dict(part.members)
        down = 0
        troubles: list[int] = []  # since when members are lost
        for id, member in members.items():
            view = self._member(runtime, structure, common, id, member)
            down += "down" in view
            if "cause" in view:
                troubles.append(view.get("since", 0))
            yield id, view
        view = self._sums(part, [common.samples[id] for id in common.chosen])
        if part.service.changed_ns:
            view["since"] = unix_ms(part.service.changed_ns)
        if part.spare:
            pass  # nothing is lost
        elif not part.service.is_up or down == len(members):
            view |= {"down": True, "states": ["down"]}
            kind = "servers" if isinstance(common.service, LoadBalancer) else "services"
            view["cause"] = f"{down} of {len(members)} {kind} are down" if members else f"it has no {kind}"
        elif troubles or (isinstance(common.service, Balancer) and not sum(common.weights.values())):
            # It counts as up, as in Traefik. So its condition says whether any request finds a server.
            condition = condition_of(runtime, part.service)
            if condition.lost > ALL:
                view |= {"down": True, "states": ["down"], "cause": "; ".join(condition.causes)}
        if view.get("down") and part.service.is_up:
            view.pop("since", None)
            if since := max(troubles, default=0):
                view["since"] = since
        yield part.id, self._stated(node, view)

    def _members(self, part: Part) -> _Members:
        """What is the same for all members of a service."""
        sampler, inner = self.sampler, inner_of(part.service)
        weights: dict[str, float] = {}
        written: dict[str, float] = {}
        if isinstance(inner, Balancer):
            both = zip(part.members, inner.effective_weights, inner.configured_weights, strict=True)
            for (id, _), effective, configured in both:
                weights[id] = weights.get(id, 0) + effective
                written[id] = written.get(id, 0) + configured
        members = dict(part.members)
        samples = {id: sampler.take(SERVERS, member.slot) for id, member in members.items()}
        windows = {id: sampler.window(SERVERS, (member.slot,)) for id, member in members.items()}
        chosen = [next(iter(members))] if isinstance(inner, Mirroring) and members else list(members)
        requests = sum(windows[id][0] for id in chosen)
        children: dict[str, Service] = {}
        if not isinstance(inner, LoadBalancer):
            children = {id: child for id, (_, child) in zip(members, inner.children, strict=False)}
        return _Members(inner, weights, written, samples, windows, requests, chosen, children)

    def _member(self, runtime: Runtime, structure: Structure, common: _Members, id: str, member: Any) -> View:
        """A member of a service: a server, or another service. It has a `cause` if it is down or cannot be reached."""
        sampler, region, sample = self.sampler, runtime.region, common.samples[id]
        reasons, override = region.down_reasons(member.slot), region.weight_override(member.slot)
        view = _numbers(sample)
        _quantiles(view, common.windows[id])
        view["requests"] = sampler.totals(SERVERS, member.slot)[REQUESTS]
        states = []
        if id in common.weights:
            view["weight"] = common.weights[id]
            if weight := sum(common.weights.values()):
                view["wanted"] = round(common.weights[id] / weight, 4)
            if common.requests:
                view["share"] = round(common.windows[id][0] / common.requests, 4)
        if id not in common.chosen and (view.get("rate") or sample[SHED]):
            copies = {"sent": sample[REQUESTS], "failed": sample[NONE] + sample[FAILED], "shed": sample[SHED]}
            view["mirrors"] = {key: round(value, 3) for key, value in copies.items() if value}
        child = common.children.get(id)
        below = self.views.get(structure.nodes[id].get("child", ""), IDLE)
        is_below_down = child is not None and (not child.is_up or bool(below.get("down")))
        if reasons & CHECK or is_below_down:
            states.append("down")
        unreached_s = None if reasons else runtime.unreached.get(member.slot)
        if unreached_s is not None:
            states.append("unreached")
        if reasons & EJECTED:
            states.append("ejected")
        if reasons & ADMIN:
            states.append("taken-out")
        if region.on_trial(member.slot):
            states.append("onTrial")
        if override is not None:
            view["override"] = override
            states.append("overridden")
        if id in common.written and (common.written[id] if override is None else override) == 0:
            states.append("draining" if sampler.totals(SERVERS, member.slot)[IN_FLIGHT] else "drained")
        if percent := region.ramp_percent(member.slot):
            view["slowStart"] = percent
            states.append("slow-starting")
        if limit := getattr(member, "limit", 0):
            view["maxConnections"] = limit
            if region.counted_in_flight(member.slot) >= limit:
                states.append("full")
        if reasons or is_below_down:
            view["down"] = True
            view["cause"] = down_cause(runtime, member) if reasons else f"{child.name} is down" if child else ""
        if (outage := self.outages.get(id)) is not None:
            view["downs"], view["downMs"] = outage.count, round(outage.ended_ns / 1e6)
        changed_ns = region.changed_ns(member.slot) if child is None else child.changed_ns
        if unreached_s is not None:
            view["since"], view["cause"] = round(unreached_s * 1000), UNREACHED
        elif is_below_down and "since" in below:
            view["since"] = below["since"]
        elif changed_ns:
            view["since"] = unix_ms(changed_ns)
        if states:
            view["states"] = states
        return view

    def _sums(self, part: Part, samples: list[tuple[float, ...]]) -> View:
        """The numbers of a service: the sums of its members."""
        sampler, inner = self.sampler, inner_of(part.service)
        view = _numbers(tuple(map(sum, zip(*samples, strict=True)))) if samples else {}
        if not isinstance(inner, LoadBalancer):
            # Of children only their requests are counted; the rest is known if the servers below are theirs alone.
            view = {key: view[key] for key in ("rate",) if key in view}
            if part.leaves:
                # Their own counters were told to their own services: here the window counts.
                _, failed, *_ = window = sampler.window(SERVERS, part.leaves)
                _quantiles(view, window)
                in_flight = sum(sampler.totals(SERVERS, slot)[IN_FLIGHT] for slot in part.leaves)
                if in_flight:
                    view["inFlight"] = in_flight
                if failed:
                    view["errors"] = round(failed / sampler.window_s, 3)
        elif part.slots:
            _quantiles(view, sampler.window(SERVERS, part.slots))
        own = sampler.take(SERVICES, part.service.slot)
        if own[WAITING]:
            view["queue"] = int(own[WAITING])
        if own[QUEUED]:
            view["queued"] = round(own[QUEUED], 3)
        if own[KEPT] or own[BEGUN]:
            view["sticky"] = {"kept": round(own[KEPT], 3), "begun": round(own[BEGUN], 3)}
        if isinstance(inner, LoadBalancer) and view:
            view["requests"] = sum(sampler.totals(SERVERS, slot)[REQUESTS] for slot in part.slots)
        return view

    def totals(self) -> View:
        """The sums of all entry points, and of what services have."""
        keys = ("rate", "errors", "inFlight", "connections", "requests", "bytesIn", "bytesOut")
        found: View = dict.fromkeys(keys, 0)
        for name in self.points:
            view = self.views.get(f"entrypoints/{name}", IDLE)
            for key in found:
                found[key] += view.get(key, 0)
        found = {key: round(value, 3) for key, value in found.items()}
        _quantiles(found, self.sampler.window(POINTS, range(len(self.points))))
        services = [view for id, view in self.views.items() if "/services/" in id]
        found["queue"] = sum(view.get("queue", 0) for view in services)
        found["retries"] = round(sum(view.get("retries", 0) for view in services), 3)
        found["nodesBusy"] = len(self.views)
        found["down"] = sum(1 for view in self.views.values() if view.get("down"))
        found["pending"] = len(self.pending)
        return found

    def keep(self, structure: Structure, history: History, number: int) -> None:
        """Add the points of the interval that has ended, and begin another one."""
        sampler, points = self.sampler, self.points
        seconds = sampler.newer_s or INTERVAL_S
        history.begin(number)

        def point(kind: int, slots: list[int], waiting: float = 0.0) -> Point:
            requests, failed, *quantiles = sampler.window(kind, slots, True)
            in_flight = sum(sampler.totals(kind, slot)[IN_FLIGHT] for slot in slots)
            numbers = [NOTHING if each is None else each for each in quantiles]
            return (requests / seconds, failed / seconds, *numbers, float(in_flight), waiting)

        history.put("totals", point(POINTS, list(range(len(points)))))
        for index in sampler.active(POINTS):
            history.put(f"entrypoints/{points[index]}", point(POINTS, [index]))
        services: dict[str, None] = {}
        for slot in sampler.active(SERVERS):
            if (id := structure.units[SERVERS].get(slot)) is not None:
                services[id] = None
        for slot in sampler.active(SERVICES):
            if (id := structure.units[SERVICES].get(slot)) in structure.router_slots:
                history.put(id, point(SERVICES, [slot]))
            elif id is not None:
                services[id] = None
        for id in services:
            part = structure.parts.get(id)
            if part is None:
                continue
            active = [
                (key, member) for key, member in dict(part.members).items() if sampler.is_active(SERVERS, member.slot)
            ]
            waiting = float(sampler.totals(SERVICES, part.service.slot)[WAITING])
            history.put(id, point(SERVERS, [member.slot for _, member in active], waiting))
            for key, member in active:
                history.put(key, point(SERVERS, [member.slot]))
        sampler.rotate()



_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)


def dumped(value: object) -> str:
    """JSON without spaces."""
    return _encoder.encode(value)


def _numbers(sample: tuple[float, ...]) -> View:
    """The counters of a sample that are not 0."""
    found: View = {}
    if sample[REQUESTS]:
        found["rate"] = round(sample[REQUESTS], 3)
    if errors := round(sample[NONE] + sample[FAILED], 3):
        found["errors"] = errors
    if any(sample[NONE : FAILED + 1]):
        found["classes"] = [round(each, 3) if each else 0 for each in sample[NONE : FAILED + 1]]
    if sample[RETRIES]:
        found["retries"] = round(sample[RETRIES], 3)
    if sample[DENIED]:
        found["denied"] = round(sample[DENIED], 3)
    for key, word in (("bytesIn", BYTES_IN), ("bytesOut", BYTES_OUT)):
        if sample[word]:
            found[key] = round(sample[word])
    if sample[IN_FLIGHT]:
        found["inFlight"] = int(sample[IN_FLIGHT])
    return found


def _quantiles(view: View, window: tuple[int, int, float | None, float | None, float | None]) -> None:
    for key, value in zip(("p50", "p95", "p99"), window[2:], strict=True):
        if value is not None:
            view[key] = round(value, 3)
