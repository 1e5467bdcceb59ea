"""The live stream of the API: one read of the region per interval for all viewers, and events of what has changed.

The region is read each second as long as somebody watches, and else each ten seconds, for the curves of the last hour.
What is read, compared and encoded does not depend on how many watch. I/O: none but the region, the clock,
and the CPU time of workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from lbcore import __version__
from lbcore.api.condition import ALL, condition_of
from lbcore.api.cpu import CpuMeter
from lbcore.api.health import down_cause
from lbcore.api.history import INTERVAL_S, NOTHING, History, Point
from lbcore.api.news import digest
from lbcore.api.outages import Outages
from lbcore.api.runtime import Runtime
from lbcore.api.structure import Part, Structure, inner_of, structure_of
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.mirroring import Mirroring
from lbcore.state.cells import ADMIN, CHECK, EJECTED
from lbcore.state.sampler import POINTS, SERVERS, SERVICES, Sampler

LOOK_S = 1.0
MOST_WATCHERS = 64
MOST_NODES = 2000  # of an event; what else has changed comes with the next ones
MOST_QUEUED = 8  # events that a watcher has not taken, before it is dropped
IDLE: dict[str, Any] = {}
UNREACHED = "it cannot be reached, and no health check watches"
# What makes a node worth showing. The other fields only accompany these.
SAYING = ("rate", "errors", "inFlight", "connections", "queue", "retries", "mirrors", "p50", "share", "states", "downs")
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
    IN_FLIGHT,
    WAITING,
) = range(17)

View = dict[str, Any]
T = TypeVar("T")


class Watcher:
    """One who watches: a queue of events, which ends with None."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, event: bytes) -> bool:
        """Queue an event. False: too many were not taken."""
        if self.events.qsize() >= MOST_QUEUED:
            return False
        self.events.put_nowait(event)
        return True

    def drop(self) -> None:
        """End its stream now: what it has not taken is of no use to it any more."""
        while not self.events.empty():
            self.events.get_nowait()
        self.events.put_nowait(None)


class CannotWatchError(Exception):
    """There are too many who watch, or the instance stops."""


def event_of(name: str, data: str) -> bytes:
    """An event of a stream (HTML, section 9.2.6)."""
    return f"event: {name}\ndata: {data}\n\n".encode()


def dumped(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


class Live:
    """One per instance. All of its work is done in one thread at a time, beside the loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sampler = Sampler(runtime.region, len(runtime.static.entry_points))
        self._cpu = CpuMeter()
        self.history = History()
        self._outages = Outages()
        self._unreached: frozenset[int] = frozenset()  # slots of servers, as views tell
        self.instance = uuid.uuid4().hex
        self.dropped = 0
        self._watchers: set[Watcher] = set()
        self._pending: dict[
            str, None
        ] = {}  # ids of entry points, routers and services, whose nodes are to be made anew
        self._views: dict[str, View] = {}  # of all nodes that are not idle and well
        self._texts: dict[str, str] = {}  # of these, as JSON
        self._untold: dict[str, str] = {}  # texts of nodes that have changed since the last event
        self._structure: Structure | None = None
        self._info = ""
        self._stopped = False
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()

    # Who watches.

    async def watch(self) -> AsyncIterator[bytes]:
        """The events of one who watches, a whole picture first. Raises CannotWatchError."""
        if self._stopped or len(self._watchers) >= MOST_WATCHERS:
            raise CannotWatchError("the instance stops" if self._stopped else f"{MOST_WATCHERS} watch already")
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            async with self._turn:
                first = await asyncio.to_thread(self._picture, copy.copy(self._runtime), len(self._watchers) == 1)
            # What the first picture lacks is in the events after it; what it has, they may repeat.
            watcher.put(first)
        except BaseException:
            self._watchers.discard(watcher)
            raise
        self._woken.set()
        return self._events(watcher)

    async def _events(self, watcher: Watcher) -> AsyncIterator[bytes]:
        try:
            while (event := await watcher.events.get()) is not None:
                yield event
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        """End the streams of all who watch, and begin no other."""
        self._stopped = True
        for watcher in self._watchers:
            watcher.events.put_nowait(None)

    def _tell(self, events: bytes) -> None:
        for watcher in list(self._watchers):
            if not watcher.put(events):
                self.dropped += 1
                self._watchers.discard(watcher)
                watcher.drop()

    # The clock.

    async def run(self) -> None:
        """Look until cancelled."""
        next_s = time.monotonic()
        while True:
            next_s = max(next_s + (LOOK_S if self._watchers else INTERVAL_S), time.monotonic())
            self._woken.clear()
            while (rest_s := next_s - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(rest_s, LOOK_S)):
                        await self._woken.wait()
                        self._woken.clear()
                        next_s = min(next_s, time.monotonic() + LOOK_S)
                if self._outages.is_due(self._runtime.region, self._structure):
                    async with self._turn:
                        await asyncio.to_thread(self._follow_servers, self._runtime)
            async with self._turn:
                events = await asyncio.to_thread(self._look, copy.copy(self._runtime))
            self._tell(events)

    # From here on in a thread.

    async def look_at(self, id: str) -> View:
        """What is known of a service's member, or another node, after a look."""

        def look(runtime: Runtime) -> View:
            structure = self._follow(runtime)
            self._sampler.look()
            self._note(structure)
            unit = structure.nodes.get(id, IDLE).get("service", id) if "/members/" in id else id
            self._pending = {unit: None} | self._pending
            self._build(runtime, structure, MOST_NODES)
            return self._views.get(id, IDLE)

        async with self._turn:
            return await asyncio.to_thread(look, copy.copy(self._runtime))

    async def read(self, make: Callable[[Runtime, Structure, dict[str, View]], T]) -> T:
        """What `make` finds, in a thread, in the nodes and in what is known of them now."""

        def call(runtime: Runtime) -> T:
            structure = self._follow(runtime)
            if not self._watchers:
                self._sampler.look()
                self._note(structure)
                self._build(runtime, structure, MOST_NODES)
            return make(runtime, structure, self._views)

        async with self._turn:
            return await asyncio.to_thread(call, copy.copy(self._runtime))

    def _follow(self, runtime: Runtime) -> Structure:
        """The structure in force; what has gone is forgotten."""
        structure = structure_of(runtime)
        if structure is not self._structure:
            self._structure = structure
            self._follow_servers(runtime)
            for id in [id for id in self._views if id not in structure.nodes]:
                del self._views[id], self._texts[id]
                self._untold.pop(id, None)
            self._pending |= dict.fromkeys(structure.peculiar)
            self._pending |= dict.fromkeys(id for id in self._views if id in structure.parts or "/routers/" in id)
        return structure

    def _follow_servers(self, runtime: Runtime) -> None:
        """Note which servers have gone down or up."""
        if (structure := self._structure) is not None:
            self._pending |= dict.fromkeys(self._outages.look(runtime.region, structure))

    def _follow_unreached(self, runtime: Runtime, structure: Structure) -> None:
        """Have the services of servers made anew that cannot be reached now, or could not before."""
        before, self._unreached = self._unreached, frozenset(runtime.unreached)
        services = structure.units[SERVERS]
        self._pending |= dict.fromkeys(services[slot] for slot in before ^ self._unreached if slot in services)

    def _picture(self, runtime: Runtime, is_first: bool) -> bytes:
        """The first events of one who watches."""
        structure = self._follow(runtime)
        if is_first:
            self._pending |= dict.fromkeys(self._outages.services())
            self._sampler.look()
            self._note(structure)
            self._build(runtime, structure, MOST_NODES)
            self._sampler.begin()
            self._cpu.look([worker.pid for worker in runtime.workers()])
        self._info = digest(runtime)
        hello = {
            "instance": self.instance,
            "version": __version__,
            "started": round(runtime.started_unix_s * 1000),
            "interval": round(LOOK_S * 1000),
            "structure": structure.version,
            "info": self._info,
            "writable": bool(runtime.static.api and runtime.static.api.token),
            "watchers": len(self._watchers),
            "watchersMax": MOST_WATCHERS,
        }
        return b"retry: 1000\n" + event_of("hello", dumped(hello)) + self._event("state", runtime, self._texts)

    def _look(self, runtime: Runtime) -> bytes:
        """Read once. Returns the events."""
        before = self._structure
        structure = self._follow(runtime)
        self._sampler.look()
        self._note(structure)
        number = int(time.time()) // INTERVAL_S
        if number != self.history.number:
            self._keep(structure, number)
        if not self._watchers:
            self._pending.clear()  # what is active is pending again when somebody watches
            self._untold.clear()
            return b""
        self._build(runtime, structure, MOST_NODES)
        self._cpu.look([worker.pid for worker in runtime.workers()])
        changed, self._untold = self._untold, {}
        events = b""
        if before is not structure:
            events += event_of("structure", dumped({"version": structure.version}))
        if (info := digest(runtime)) != self._info:
            self._info = info
            events += event_of("info", dumped({"version": info}))
        return events + self._event("change", runtime, changed)

    def _event(self, name: str, runtime: Runtime, texts: dict[str, str]) -> bytes:
        nodes = ",".join(f"{dumped(id)}:{text}" for id, text in texts.items())
        now = round(time.time() * 1000)
        return event_of(name, f'{{"time":{now},"totals":{dumped(self._totals(runtime))},"nodes":{{{nodes}}}}}')

    def _note(self, structure: Structure) -> None:
        """Have what was active since the last look be made anew."""
        points = list(self._runtime.static.entry_points)
        self._pending |= dict.fromkeys(f"entrypoints/{points[index]}" for index in self._sampler.active(POINTS))
        for kind in (SERVERS, SERVICES):
            units = structure.units[kind]
            self._pending |= dict.fromkeys(units[slot] for slot in self._sampler.active(kind) if slot in units)

    def _build(self, runtime: Runtime, structure: Structure, most: int) -> None:
        """Make nodes that are pending, up to a number."""
        middlewares: dict[str, None] = {}
        made = 0
        self._follow_unreached(runtime, structure)
        while self._pending and made < most:
            id = next(iter(self._pending))
            del self._pending[id]
            for node, view in self._unit(runtime, structure, id):
                made += 1
                if self._set(node, view):
                    middlewares |= dict.fromkeys(structure.nodes[node].get("middlewares", ()))
        for id in middlewares:
            if id in structure.nodes:
                self._set(id, self._middleware(structure, id))

    def _set(self, id: str, view: View) -> bool:
        """Enter what is known of a node. Returns whether it has changed."""
        if not any(key in view for key in SAYING):
            view = IDLE
        if view == self._views.get(id, IDLE):
            return False
        if view:
            self._views[id] = view
            self._untold[id] = self._texts[id] = dumped(view)
        else:
            del self._views[id], self._texts[id]
            self._untold[id] = "null"
        return True

    def _unit(self, runtime: Runtime, structure: Structure, id: str) -> Iterator[tuple[str, View]]:
        """The nodes that are made together: a service with its members, or another one."""
        node = structure.nodes.get(id)
        if node is None:
            return
        if node["kind"] == "service":
            if (part := structure.parts.get(id)) is not None:
                before = self._views.get(id, IDLE)
                service = IDLE
                for key, view in self._service(runtime, structure, part, node):
                    service = view if key == id else service
                    yield key, view
                if any(service.get(key) != before.get(key) for key in ("down", "cause")):
                    self._pending |= dict.fromkeys((*part.above, *part.users))
                elif part.layer == "udp":
                    self._pending |= dict.fromkeys(part.users)
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
        index = list(runtime.static.entry_points).index(node["name"])
        sample = self._sampler.take(POINTS, index)
        view = _numbers(sample)
        if node["protocol"] == "udp" and sample[RETRIES]:
            view["rate"] = round(sample[RETRIES], 3)  # datagrams
        view.pop("retries", None)
        if not sample[REQUESTS] and sample[QUEUED]:
            view["rate"] = round(sample[QUEUED], 3)  # connections of layer 4
        if sample[WAITING]:
            view["connections"] = int(sample[WAITING])
        _quantiles(view, self._sampler.window(POINTS, (index,)))
        view["requests"] = self._sampler.totals(POINTS, index)[REQUESTS]
        return view

    def _router(self, runtime: Runtime, structure: Structure, node: View) -> View:
        view: View = {}
        slot = structure.router_slots.get(node["id"])
        service = self._views.get(node["service"], IDLE)
        if slot is not None:
            view = _numbers(self._sampler.take(SERVICES, slot))
            _quantiles(view, self._sampler.window(SERVICES, (slot,)))
            view["requests"] = self._sampler.totals(SERVICES, slot)[REQUESTS]
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
        users = [self._views.get(user, IDLE) for user in node["usedBy"]]
        for key in ("rate", "errors", "inFlight"):
            if total := round(sum(user.get(key, 0) for user in users), 3):
                view[key] = total
        return self._stated(node, view)

    def _service(self, runtime: Runtime, structure: Structure, part: Part, node: View) -> Iterator[tuple[str, View]]:
        """A service and its members."""
        sampler, region, inner = self._sampler, runtime.region, inner_of(part.service)
        weights: dict[str, float] = {}
        configured: dict[str, float] = {}
        if isinstance(inner, Balancer):
            both = zip(part.members, inner.effective_weights, inner.configured_weights, strict=True)
            for (id, _), effective, written in both:
                weights[id] = weights.get(id, 0) + effective
                configured[id] = configured.get(id, 0) + written
        members = dict(part.members)
        samples = {id: sampler.take(SERVERS, member.slot) for id, member in members.items()}
        windows = {id: sampler.window(SERVERS, (member.slot,)) for id, member in members.items()}
        is_mirroring = isinstance(inner, Mirroring)
        chosen = [next(iter(members))] if is_mirroring and members else list(members)
        requests, weight = sum(windows[id][0] for id in chosen), sum(weights.values())
        children = (
            {}
            if isinstance(inner, LoadBalancer)
            else {id: child for id, (_, child) in zip(members, inner.children, strict=False)}
        )
        down = 0
        troubles: list[int] = []  # since when members are lost
        for id, member in members.items():
            sample, reasons, override = (
                samples[id],
                region.down_reasons(member.slot),
                region.weight_override(member.slot),
            )
            view = _numbers(sample)
            _quantiles(view, windows[id])
            view["requests"] = sampler.totals(SERVERS, member.slot)[REQUESTS]
            states = []
            if id in weights:
                view["weight"] = weights[id]
                if weight:
                    view["wanted"] = round(weights[id] / weight, 4)
            if requests and id in weights:
                view["share"] = round(windows[id][0] / requests, 4)
            if is_mirroring and id not in chosen and (view.get("rate") or sample[SHED]):
                copies = {"sent": sample[REQUESTS], "failed": sample[NONE] + sample[FAILED], "shed": sample[SHED]}
                view["mirrors"] = {key: round(value, 3) for key, value in copies.items() if value}
            child = children.get(id)
            below = self._views.get(structure.nodes[id].get("child", ""), IDLE)
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
            if id in configured and (configured[id] if override is None else override) == 0:
                states.append("draining" if sampler.totals(SERVERS, member.slot)[IN_FLIGHT] else "drained")
            if percent := region.ramp_percent(member.slot):
                view["slowStart"] = percent
                states.append("slow-starting")
            limit = getattr(member, "limit", 0)
            if limit:
                view["maxConnections"] = limit
                if region.counted_in_flight(member.slot) >= limit:
                    states.append("full")
            if reasons or is_below_down:
                down += 1
                view["down"] = True
                view["cause"] = down_cause(runtime, member) if reasons else f"{child.name} is down" if child else ""
            if (outage := self._outages.get(id)) is not None:
                view["downs"], view["downMs"] = outage.count, round(outage.ended_ns / 1e6)
            changed_ns = region.changed_ns(member.slot) if child is None else child.changed_ns
            if unreached_s is not None:
                view["since"], view["cause"] = round(unreached_s * 1000), UNREACHED
            elif is_below_down and "since" in below:
                view["since"] = below["since"]
            elif changed_ns:
                view["since"] = _unix_ms(changed_ns)
            if view.get("down") or unreached_s is not None:
                troubles.append(view.get("since", 0))
            if states:
                view["states"] = states
            yield id, view
        view = self._sums(part, [samples[id] for id in chosen])
        if part.service.changed_ns:
            view["since"] = _unix_ms(part.service.changed_ns)
        if part.spare:
            pass  # nothing is lost
        elif not part.service.is_up or down == len(members):
            view |= {"down": True, "states": ["down"]}
            kind = "servers" if isinstance(inner, LoadBalancer) else "services"
            view["cause"] = f"{down} of {len(members)} {kind} are down" if members else f"it has no {kind}"
        elif troubles or (isinstance(inner, Balancer) and not weight):
            # It counts as up, as in Traefik. So its condition says whether any request finds a server.
            condition = condition_of(runtime, part.service)
            if condition.lost > ALL:
                view |= {"down": True, "states": ["down"], "cause": "; ".join(condition.causes)}
        if view.get("down") and part.service.is_up:
            view.pop("since", None)
            if since := max(troubles, default=0):
                view["since"] = since
        yield part.id, self._stated(node, view)

    def _sums(self, part: Part, samples: list[tuple[float, ...]]) -> View:
        """The numbers of a service: the sums of its members."""
        sampler, inner = self._sampler, inner_of(part.service)
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

    def _totals(self, runtime: Runtime) -> View:
        keys = ("rate", "errors", "inFlight", "connections", "requests", "bytesIn", "bytesOut")
        found: View = dict.fromkeys(keys, 0)
        for name in runtime.static.entry_points:
            view = self._views.get(f"entrypoints/{name}", IDLE)
            for key in found:
                found[key] += view.get(key, 0)
        found = {key: round(value, 3) for key, value in found.items()}
        _quantiles(found, self._sampler.window(POINTS, range(len(runtime.static.entry_points))))
        services = [view for id, view in self._views.items() if "/services/" in id]
        found["queue"] = sum(view.get("queue", 0) for view in services)
        found["retries"] = round(sum(view.get("retries", 0) for view in services), 3)
        if self._cpu.parts:
            found["cpuWorkers"] = self._cpu.parts
        found["nodesBusy"] = len(self._views)
        found["down"] = sum(1 for view in self._views.values() if view.get("down"))
        found["pending"] = len(self._pending)
        found["watchers"], found["watchersDropped"] = len(self._watchers), self.dropped
        found["uptime"] = round((time.time() - runtime.started_unix_s) * 1000)
        return found

    # The last hour.

    def _keep(self, structure: Structure, number: int) -> None:
        """Add the points of the interval that has ended, and begin another one."""
        sampler = self._sampler
        seconds = sampler.newer_s or INTERVAL_S
        self.history.begin(number)
        points = list(self._runtime.static.entry_points)

        def point(kind: int, slots: list[int], waiting: float = 0.0) -> Point:
            requests, failed, *quantiles = sampler.window(kind, slots, True)
            in_flight = sum(sampler.totals(kind, slot)[IN_FLIGHT] for slot in slots)
            numbers = [NOTHING if each is None else each for each in quantiles]
            return (requests / seconds, failed / seconds, *numbers, float(in_flight), waiting)

        self.history.put("totals", point(POINTS, list(range(len(points)))))
        for index in sampler.active(POINTS):
            self.history.put(f"entrypoints/{points[index]}", point(POINTS, [index]))
        services: dict[str, None] = {}
        for slot in sampler.active(SERVERS):
            if (id := structure.units[SERVERS].get(slot)) is not None:
                services[id] = None
        for slot in sampler.active(SERVICES):
            if (id := structure.units[SERVICES].get(slot)) in structure.router_slots:
                self.history.put(id, point(SERVICES, [slot]))
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
            self.history.put(id, point(SERVERS, [member.slot for _, member in active], waiting))
            for key, member in active:
                self.history.put(key, point(SERVERS, [member.slot]))
        sampler.rotate()


def _numbers(sample: tuple[float, ...]) -> View:
    """The counters of a sample that are not 0."""
    found: View = {}
    if sample[REQUESTS]:
        found["rate"] = round(sample[REQUESTS], 3)
    if errors := round(sample[NONE] + sample[FAILED], 3):
        found["errors"] = errors
    if any(sample[NONE : FAILED + 1]):
        found["classes"] = [round(each, 3) for each in sample[NONE : FAILED + 1]]
    for key, word in (("retries", RETRIES), ("bytesIn", BYTES_IN), ("bytesOut", BYTES_OUT)):
        if sample[word]:
            found[key] = round(sample[word], 3)
    if sample[IN_FLIGHT]:
        found["inFlight"] = int(sample[IN_FLIGHT])
    return found


def _quantiles(view: View, window: tuple[int, int, float | None, float | None, float | None]) -> None:
    for key, value in zip(("p50", "p95", "p99"), window[2:], strict=True):
        if value is not None:
            view[key] = round(value, 3)


def _unix_ms(monotonic_ns: int) -> int:
    return round(time.time() * 1000 - (time.monotonic_ns() - monotonic_ns) / 1e6)
