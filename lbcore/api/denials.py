"""What each middleware has denied, look by look: requests, answers and connections that it did not let pass.

I/O: none but the region and the clock.
"""

from __future__ import annotations

import time

from lbcore.api.runtime import Runtime
from lbcore.api.structure import Node, Structure
from lbcore.routing.compile_own import router_identity
from lbcore.routing.compile_tcp import tcp_router_identity
from lbcore.state.counters import denial_key
from lbcore.state.region import Region

IDENTITIES = {"http": router_identity, "tcp": tcp_router_identity}  # of routers


def denied_at(runtime: Runtime, kind: str, layer: str, name: str) -> int | None:
    """What a middleware has denied since the start, or what middlewares have at a router or an entry point.

    kind  in the singular.
    Returns None if that is not counted for this object.
    """
    region = runtime.region
    if kind == "middleware":
        return region.denials().get(denial_key(layer, name), 0)
    if kind == "entrypoint":
        return region.entry_point_counters(list(runtime.static.entry_points).index(name)).denied
    if kind != "router" or layer not in IDENTITIES:
        return None
    slot = runtime.slots.services.get(IDENTITIES[layer](name))
    return region.routers_denied().get(slot, 0) if slot is not None else None


class Denied:
    """One per instance. Costs what middlewares have denied anything, not what there are."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # by `denial_key`, at the last look
        self._rates: dict[int, float] = {}  # of those that have denied something since the look before
        self._looked_s = time.monotonic()
        self._ids: dict[int, str] = {}
        self._structure: Structure | None = None

    def look(self, region: Region, structure: Structure) -> list[str]:
        """Read the region. Returns the ids of the middlewares whose rates are others now."""
        counts, now_s = region.denials(), time.monotonic()
        seconds = max(now_s - self._looked_s, 0.001)
        moved = {
            key: count - self._counts.get(key, 0) for key, count in counts.items() if count != self._counts.get(key)
        }
        concerned = moved.keys() | self._rates.keys()
        self._counts, self._looked_s = counts, now_s
        self._rates = {key: count / seconds for key, count in moved.items()}
        if not concerned:
            return []
        if structure is not self._structure:
            middlewares = (node for node in structure.nodes.values() if node["kind"] == "middleware")
            self._ids = {_key(node): node["id"] for node in middlewares}
            self._structure = structure
        return [self._ids[key] for key in concerned if key in self._ids]

    def rate(self, node: Node) -> float:
        """What a middleware has denied per second, between the last two looks."""
        return self._rates.get(_key(node), 0.0) if self._rates else 0.0


def _key(node: Node) -> int:
    return denial_key(node["layer"], node["name"])
