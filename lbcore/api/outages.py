"""How often servers were down, and for how long, since the instance has them. I/O: none but the region."""

from __future__ import annotations

from dataclasses import dataclass

from lbcore.api.structure import Structure
from lbcore.state.region import Region


@dataclass(slots=True)
class Outage:
    """How often a server was down, and for how long.

    service     id of the service that it belongs to.
    changed_ns  monotonic time at which it last went up or down; 0 = never.
    count       times that it went down.
    ended_ns    how long that took, without the time since it went down last if it is still down.
    """

    service: str
    slot: int
    is_up: bool
    changed_ns: int
    count: int = 0
    ended_ns: int = 0


class Outages:
    """Follows the servers of an instance, as many as its configuration has.

    Of a server that changes twice between two looks only the last change is known: one that goes down and up again
    counts as down once, for no time.
    """

    def __init__(self) -> None:
        self._known: dict[str, Outage] = {}
        self._eligibility = -1
        self._structure: Structure | None = None

    def get(self, id: str) -> Outage | None:
        """The outage of a server, by the id of its node; None: it was not down."""
        found = self._known.get(id)
        return found if found is not None and found.count else None

    def services(self) -> set[str]:
        """The ids of services with servers that were down."""
        return {each.service for each in self._known.values() if each.count}

    def is_due(self, region: Region, structure: Structure | None) -> bool:
        """Whether any server, weight or configuration has changed since the last look. O(1)."""
        return structure is not None and (structure is not self._structure or region.eligibility != self._eligibility)

    def look(self, region: Region, structure: Structure) -> set[str]:
        """Note what has changed. Returns the ids of the services concerned. O(servers) if `is_due`, else O(1)."""
        if not self.is_due(region, structure):
            return set()
        self._eligibility = region.eligibility  # before the servers: what changes meanwhile is looked at again
        self._structure = structure
        concerned = set()
        present: dict[str, Outage] = {}
        for part in structure.parts.values():
            for id, member in part.members:
                if not structure.nodes[id].get("server"):
                    continue
                found = self._known.get(id)
                if found is None or found.slot != member.slot:
                    found = Outage(part.id, member.slot, True, 0)
                present[id] = found
                if _follow(found, region):
                    concerned.add(part.id)
        self._known = present
        return concerned


def _follow(outage: Outage, region: Region) -> bool:
    """Take over the state that a server has now. Returns whether it is another one."""
    # In the opposite order of that in which they are written.
    changed_ns, is_up = region.changed_ns(outage.slot), region.is_up(outage.slot)
    if changed_ns == outage.changed_ns:
        return False
    if not outage.is_up:
        outage.ended_ns += changed_ns - outage.changed_ns
    if outage.is_up or not is_up:
        outage.count += 1
    outage.is_up, outage.changed_ns = is_up, changed_ns
    return True
