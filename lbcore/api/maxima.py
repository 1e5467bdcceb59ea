"""The highest numbers of each object since the start, as readings of the region have seen them. No I/O but the clock.

The region is read once a second: what rises and falls again between two readings is not seen, so these are the highest
numbers that were seen, and never more than there was. Exact ones would cost each request an atomic operation on a cache
line that all workers share, because each worker counts what is in flight for itself.
"""

from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from lbcore.api.paging import page_of
from lbcore.api.structure import Node, Part, Structure, inner_of
from lbcore.routing.balancer import LoadBalancer
from lbcore.routing.mirroring import Mirroring
from lbcore.state.sampler import IN_FLIGHT, POINTS, RATE, SERVERS, SERVICES, Sampler

FIELDS = ("q", "kind", "layer", "sort", "page", "per_page")
SORTS = ("name", "inFlight", "queue", "rate", "connections", "connectionRate")
KINDS = ("entrypoint", "router", "service", "member")
# Names of what `Sampler.maxima` has, in its order; "": the kind has no such number.
NAMES = {
    "entrypoint": ("inFlight", "connections", "rate", "connectionRate"),
    "router": ("inFlight", "", "rate", ""),
    "service": ("inFlight", "queue", "rate", ""),
    "member": ("inFlight", "", "rate", ""),
}
HEIGHTS = struct.Struct("=4d4Q")  # of `Sampler.maxima`
View = dict[str, Any]


class Maxima:
    """One per instance. `since_ms`: Unix time from which they count."""

    def __init__(self, sampler: Sampler, points: list[str], started_unix_s: float) -> None:
        self._sampler = sampler
        self._points = {f"entrypoints/{name}": index for index, name in enumerate(points)}
        self._owners: dict[int, dict[int, str]] = {SERVERS: {}, SERVICES: {}}  # ids by slot, the last ones that had it
        self.since_ms = round(started_unix_s * 1000)

    def follow(self, structure: Structure) -> None:
        """Another structure is in force: what has another identity begins anew. O(objects)."""
        owners: dict[int, dict[int, str]] = {SERVERS: {}, SERVICES: structure.units[SERVICES]}
        summands = array("I")
        for part in structure.parts.values():
            owners[SERVERS].update((member.slot, id) for id, member in part.members)
            summands.extend(_summands(part))
        for kind, known in self._owners.items():
            for slot, id in owners[kind].items():
                if known.setdefault(slot, id) != id:
                    self._sampler.forget_maxima(kind, slot)
                    known[slot] = id
        self._sampler.add_up(summands.tobytes())

    def reset(self) -> None:
        """Begin anew with all of them."""
        self._sampler.forget_all_maxima()
        self.since_ms = round(time.time() * 1000)

    def view(self, structure: Structure, id: str) -> View:
        """The maxima of an object that are not 0: `most`, and the Unix time `at` which it was seen, in ms."""
        node = structure.nodes[id]
        kind = node["kind"]
        if kind == "entrypoint":
            return self._found(kind, POINTS, self._points[id])
        if kind == "router":
            if (slot := structure.router_slots.get(id)) is not None:
                return self._found(kind, SERVICES, slot)
            part = structure.parts.get(node["service"])  # all of UDP comes by here, if it leads there alone
            return self._of_service("router", part) if part is not None and len(part.users) == 1 else {}
        if kind == "service":
            part = structure.parts.get(id)
            return self._of_service("service", part) if part is not None else {}
        if kind == "member" and (part := structure.parts.get(node["service"])) is not None:
            member = next((member for key, member in part.members if key == id), None)
            return self._found(kind, SERVERS, member.slot) if member is not None else {}
        return {}

    def page(self, structure: Structure, query: Mapping[str, str]) -> View:
        """A page of the objects that have had anything. Raises ValueError for a query that has no meaning."""
        page, per_page = page_of(query, FIELDS)
        sort, kind = query.get("sort", "name"), query.get("kind", "").removesuffix("s")
        if sort not in SORTS:
            raise ValueError(f"sort: {', '.join(SORTS)}")
        if kind and kind not in KINDS:
            raise ValueError(f"kind: {', '.join(KINDS)}")
        words, layer = query.get("q", "").lower().split(), query.get("layer", "")
        found = [
            (node, maxima)
            for node, maxima in self._all(structure)
            if (not kind or node["kind"] == kind)
            and (not layer or node.get("layer") == layer)
            and all(word in structure.texts[node["id"]] for word in words)
        ]
        found.sort(key=lambda each: (KINDS.index(each[0]["kind"]), each[0]["name"], each[0]["id"]))
        if sort != "name":
            found.sort(key=lambda each: each[1].get(sort, {}).get("most", 0.0), reverse=True)
        keys = ("id", "kind", "layer", "name", "service", "protocol")
        items = [
            {**{key: node[key] for key in keys if key in node}, "maxima": maxima}
            for node, maxima in found[(page - 1) * per_page : page * per_page]
        ]
        pages = -(-len(found) // per_page)
        return {"since": self.since_ms, "total": len(found), "page": page, "pages": pages, "items": items}

    def _all(self, structure: Structure) -> Iterator[tuple[Node, View]]:
        for id, node in structure.nodes.items():
            if node["kind"] in ("entrypoint", "router", "service") and (found := self.view(structure, id)):
                yield node, found
        for part in structure.parts.values():
            for id, member in dict(part.members).items():
                if found := self._found("member", SERVERS, member.slot):
                    yield structure.nodes[id], found

    def _of_service(self, kind: str, part: Part) -> View:
        found = self._found(kind, SERVICES, part.service.slot)
        if not isinstance(inner_of(part.service), LoadBalancer) and not part.leaves:
            found.pop("inFlight", None)  # servers below it have other requests, too
        return found

    def _found(self, kind: str, kind_of_slot: int, slot: int) -> View:
        found: View = {}
        numbers = HEIGHTS.unpack(self._sampler.maxima(kind_of_slot, slot))
        for name, most, at_ns in zip(NAMES[kind], numbers[:4], numbers[4:], strict=True):
            if name and at_ns:
                whole = name in ("inFlight", "queue", "connections")
                found[name] = {"most": round(most) if whole else round(most, 1), "at": unix_ms(at_ns)}
        return found


def unix_ms(monotonic_ns: int) -> int:
    """The Unix time of a monotonic one, in ms."""
    return round(time.time() * 1000 - (time.monotonic_ns() - monotonic_ns) / 1e6)


def _summands(part: Part) -> Iterator[int]:
    """What the numbers of a service are the sums of, as `Sampler.add_up` takes it: of servers, or of services."""
    inner, service = inner_of(part.service), part.service.slot
    has_servers = isinstance(inner, LoadBalancer)
    for slot in dict.fromkeys(part.slots[:1] if isinstance(inner, Mirroring) else part.slots):
        yield from (service, slot, RATE | IN_FLIGHT if has_servers else RATE)
    for slot in () if has_servers else dict.fromkeys(part.leaves):
        yield from (service, slot, IN_FLIGHT)
