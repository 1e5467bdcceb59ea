"""Maxima by the identity of objects: they are kept over reloads, and begin anew where a slot has another object."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lbcore.api.maxima import Maxima
from lbcore.state.region import Region
from lbcore.state.sampler import SERVERS, SERVICES, Sampler
from tests.unit.state.test_sampler import write


class Taken:
    """A service that nothing is a sum for."""

    def __init__(self, slot: int) -> None:
        self.slot = slot


def structure(service: int, routers: dict[str, int], **members: int) -> Any:
    """What `Maxima` reads of a structure: one service `all` with members, and routers, by their slots."""
    listed = [(f"http/members/all|{name}", SimpleNamespace(slot=slot)) for name, slot in members.items()]
    part = SimpleNamespace(
        id="http/services/all",
        members=listed,
        slots=[*members.values()],
        leaves=[],
        users=[*routers],
        service=Taken(service),
    )
    nodes = {id: {"id": id, "kind": "router", "name": id, "service": part.id, "layer": "http"} for id in routers}
    nodes |= {id: {"id": id, "kind": "member", "name": id, "service": part.id, "layer": "http"} for id, _ in listed}
    nodes[part.id] = {"id": part.id, "kind": "service", "name": "all", "layer": "http"}
    nodes["entrypoints/web"] = {"id": "entrypoints/web", "kind": "entrypoint", "name": "web"}
    units = (
        dict.fromkeys(members.values(), part.id),
        {service: part.id, **{slot: id for id, slot in routers.items()}},
    )
    return SimpleNamespace(
        parts={part.id: part}, nodes=nodes, units=units, router_slots=routers, texts={id: id for id in nodes}
    )


def most(maxima: Maxima, now: Any, id: str) -> float:
    found: dict[str, Any] = maxima.view(now, id)
    return float(found["inFlight"]["most"]) if "inFlight" in found else 0.0


def test_maxima_follow_identities() -> None:
    region = Region.create(1, services=64, servers=64)
    for slot in range(4):
        region.reset_server(slot)
    sampler = Sampler(region, 1)
    maxima = Maxima(sampler, ["web"], 1000.0)
    assert maxima.since_ms == 1_000_000
    before = structure(9, {"http/routers/r": 8}, a=0, b=1)
    maxima.follow(before)
    sampler.look()
    for slot in (0, 1):
        write(region, slot, requests=10, flying=5 + slot)
    sampler.look()
    assert [most(maxima, before, f"http/members/all|{name}") for name in "ab"] == [5, 6]
    # `b` leaves, and its slot rests; `c` is new.
    after = structure(9, {"http/routers/r": 8}, a=0, c=2)
    maxima.follow(after)
    sampler.look()
    assert [most(maxima, after, f"http/members/all|{name}") for name in "ac"] == [5, 0]
    # It comes back, and has its slot and its maxima; afterwards the slot of `a` is that of `d`.
    maxima.follow(before)
    assert most(maxima, before, "http/members/all|b") == 6
    region.reset_server(0)
    last = structure(9, {"http/routers/r": 8}, d=0, b=1)
    maxima.follow(last)
    sampler.look()
    assert [most(maxima, last, f"http/members/all|{name}") for name in "db"] == [0, 6]
    assert maxima.view(last, "entrypoints/web") == {}
    assert [item["id"] for item in maxima.page(last, {})["items"]] == ["http/members/all|b"]
    maxima.reset()
    assert maxima.page(last, {})["total"] == 0 and maxima.since_ms > 1_000_000
    assert sampler.maxima(SERVICES, 9) == sampler.maxima(SERVERS, 1) == bytes(64)


def test_pages_of_maxima_refuse_what_has_no_meaning() -> None:
    maxima = Maxima(Sampler(Region.create(1, services=4, servers=4), 1), ["web"], 0.0)
    now = structure(1, {}, a=0)
    for query in ({"sort": "color"}, {"kind": "middleware"}, {"page": "0"}, {"per_page": "1001"}, {"order": "asc"}):
        with pytest.raises(ValueError):
            maxima.page(now, query)
