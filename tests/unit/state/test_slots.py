"""Slots of services and servers: kept over reloads, rested before reuse, refused when full."""

from __future__ import annotations

import mmap
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.errors import ConfigError
from lbcore.state.region import Region
from lbcore.state.slots import SlotAllocator, SlotMap


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def allocator(services: int = 4, servers: int = 4, grace_s: float = 60) -> tuple[SlotAllocator, Region, Clock]:
    region, clock = Region.create(1, services, servers), Clock()
    return SlotAllocator(region, grace_s, clock), region, clock


def set_in_flight(region: Region, slot: int, n: int) -> None:
    offset = 4096 + 64 * region.services + 192 * region.servers + 36992 * region.workers + 384 * slot
    with mmap.mmap(region.fd, 0) as raw:
        struct.pack_into("<Q", raw, offset + 8, n)


def test_slots_same_identity_keeps_slot_and_state() -> None:
    slots, region, _ = allocator()
    before = slots.assign(["s@file"], ["s@file|http://a", "s@file|http://b"])
    region.take_sequence(before.services["s@file"], 3)
    region.set_up(before.servers["s@file|http://b"], False)
    after = slots.assign(["t@file", "s@file"], ["s@file|http://c", "s@file|http://b"])
    assert after.services["s@file"] == before.services["s@file"]
    assert after.servers["s@file|http://b"] == before.servers["s@file|http://b"]
    assert region.sequence(after.services["s@file"]) == 3
    assert not region.is_up(after.servers["s@file|http://b"])
    assert region.is_up(after.servers["s@file|http://c"])


def test_slots_removed_identity_rests_for_the_grace() -> None:
    slots, _, clock = allocator(servers=2)
    slots.assign([], ["a", "b"])
    slots.assign([], ["a"])
    clock.now += 59
    with pytest.raises(ConfigError, match="2 servers do not fit: 1 are new, room is left for 0 of 2"):
        slots.assign([], ["a", "c"])
    clock.now += 1
    assert slots.assign([], ["a", "c"]).servers == {"a": 0, "c": 1}


def test_slots_in_flight_keeps_slot_from_reuse() -> None:
    slots, region, clock = allocator(servers=2)
    slots.assign([], ["a", "b"])
    set_in_flight(region, 1, 1)
    slots.assign([], ["a"])
    clock.now += 3600
    with pytest.raises(ConfigError):
        slots.assign([], ["a", "c"])
    set_in_flight(region, 1, 0)
    assert slots.assign([], ["a", "c"]).servers["c"] == 1
    assert region.server_generation(1) == 1


def test_slots_identity_that_left_twice_rests_from_the_second_time() -> None:
    slots, _, clock = allocator(servers=2)
    slots.assign([], ["a", "b"])
    slots.assign([], ["a"])
    clock.now += 50
    slots.assign([], ["a", "b"])
    slots.assign([], ["a"])
    clock.now += 50
    with pytest.raises(ConfigError):
        slots.assign([], ["a", "c"])


def test_slots_identity_that_returns_finds_its_counters_and_is_up() -> None:
    slots, region, clock = allocator()
    slots.assign([], ["a", "b"])
    region.set_up(1, False)
    slots.assign([], ["a"])
    clock.now += 30
    assert slots.assign([], ["a", "b"]).servers["b"] == 1
    assert region.is_up(1)
    assert region.server_generation(1) == 0


def test_slots_full_region_changes_nothing() -> None:
    slots, _, _ = allocator(services=2, servers=2)
    before = slots.assign(["s"], ["a", "b"])
    with pytest.raises(ConfigError) as refused:
        slots.assign(["s", "t", "u"], ["a", "b", "c"])
    assert len(refused.value.problems) == 2
    assert slots.assign(["s"], ["a", "b"]) == before


def test_slots_map_survives_json() -> None:
    slots = SlotMap({"s@file": 1}, {"s@file|http://a": 2})
    assert SlotMap.from_json(slots.to_json()) == slots


names = st.sets(st.sampled_from("abcdefgh"))


@given(st.lists(st.tuples(names, st.integers(0, 100)), max_size=20))
def test_slots_over_any_reloads_are_distinct_kept_and_short_only_when_full(
    reloads: list[tuple[set[str], int]],
) -> None:
    slots, _, clock = allocator(servers=6)
    live: dict[str, int] = {}
    resting: dict[str, tuple[int, float]] = {}
    for wanted, seconds in reloads:
        clock.now += seconds
        resting = {name: rest for name, rest in resting.items() if name in wanted or rest[1] + 60 > clock.now}
        fits = len(wanted | live.keys() | resting.keys()) <= 6
        try:
            after = dict(slots.assign([], wanted).servers)
        except ConfigError:
            assert not fits
            continue
        assert fits
        assert after.keys() == wanted
        known = live | {name: slot for name, (slot, _) in resting.items()}
        assert all(after[name] == known[name] for name in after.keys() & known.keys())
        gone = {name: (slot, clock.now) for name, slot in live.items() if name not in after}
        resting = {name: rest for name, rest in resting.items() if name not in after} | gone
        held = list(after.values()) + [slot for slot, _ in resting.values()]
        assert len(set(held)) == len(held)
        live = after


def test_slots_that_a_worker_may_still_use_are_not_given_away() -> None:
    region, clock, oldest = Region.create(1, 4, 2), Clock(), [1]
    slots = SlotAllocator(region, 60, clock, lambda: oldest[0])
    for generation, names in ((1, ["a", "b"]), (2, ["a"])):
        slots.reserve([], names)
        slots.commit([], names, generation)
    clock.now += 1000
    with pytest.raises(ConfigError, match="room is left for 0 of 2"):
        slots.reserve([], ["a", "c"])
    oldest[0] = 2
    assert slots.reserve([], ["a", "c"]).servers == {"a": 0, "c": 1}


def test_slots_reserved_for_a_configuration_that_is_given_up_take_none_of_those_in_use() -> None:
    slots, region, _ = allocator()
    before = slots.assign(["s"], ["a", "b"])
    region.set_up(before.servers["a"], False)
    reserved = slots.reserve(["s", "t"], ["b", "c"])
    assert reserved.servers["b"] == before.servers["b"]
    assert reserved.servers["c"] not in before.servers.values()
    slots.commit(["s"], ["a", "b"])
    assert slots.assign(["s"], ["a", "b"]) == before
    assert not region.is_up(before.servers["a"])
