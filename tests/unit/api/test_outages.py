"""How often servers were down, and for how long: by a real region, with changes between two looks."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from lbcore.api.outages import Outages
from lbcore.state.region import Region


def structure(**servers: int) -> Any:
    """What `Outages` reads of a structure: one service, with servers by name and slot."""
    members = [(name, SimpleNamespace(slot=slot)) for name, slot in servers.items()]
    return SimpleNamespace(
        parts={"all": SimpleNamespace(id="all", members=members)}, nodes={name: {"server": True} for name in servers}
    )


def numbers(outages: Outages, id: str) -> tuple[int, int]:
    found = outages.get(id)
    return (0, 0) if found is None else (found.count, found.ended_ns)


def test_outages_are_counted_and_timed() -> None:
    region, outages, now = Region.create(1), Outages(), structure(a=0, b=1)
    outages.look(region, now)
    assert not outages.is_due(region, now) and outages.get("a") is None and outages.services() == set()
    begun = time.monotonic_ns()
    region.set_up(0, False)
    assert outages.is_due(region, now)
    assert outages.look(region, now) == {"all"}
    assert numbers(outages, "a") == (1, 0) and numbers(outages, "b") == (0, 0)
    assert outages.look(region, now) == set()
    region.set_up(0, True)
    took = time.monotonic_ns() - begun
    assert outages.look(region, now) == {"all"} and outages.services() == {"all"}
    count, lasted = numbers(outages, "a")
    assert count == 1 and 0 < lasted <= took
    # Down and up again between two looks.
    region.set_up(0, False)
    region.set_up(0, True)
    outages.look(region, now)
    assert numbers(outages, "a") == (2, lasted)


def test_a_reload_keeps_them_for_the_servers_that_stay() -> None:
    region, outages = Region.create(1), Outages()
    before = structure(a=0, b=1)
    region.set_up(0, False)
    region.set_up(1, False)
    outages.look(region, before)
    after = structure(a=0, c=1)
    assert outages.is_due(region, after)
    outages.look(region, after)
    assert (numbers(outages, "a")[0], numbers(outages, "b")[0]) == (1, 0)
    assert len(outages._known) == 2
    # Another server in the place of one that has gone is down, whenever that began.
    assert numbers(outages, "c")[0] == 1
    moved = structure(a=2, c=1)
    outages.look(region, moved)
    assert numbers(outages, "a")[0] == 0, "its state begins anew, in another place"
