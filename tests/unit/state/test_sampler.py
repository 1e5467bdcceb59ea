"""What a look at the region finds: rates, windows, quantiles, states; and what it leaves alone."""

from __future__ import annotations

import mmap
import os
import struct

import pytest

from lbcore.state.region import Region
from lbcore.state.sampler import POINTS, SERVERS, SERVICES, Sampler

SERVER_BYTES, TIMES = 384, 192
REQUESTS, NONE, FAILED, IN_FLIGHT = 0, 1, 6, 15


def write(region: Region, slot: int, worker: int = 0, requests: int = 0, failed: int = 0, **times: int) -> None:
    """Set the counters of a server: `bN=count` is the number of answers in bucket N."""
    first = 4096 + 64 * region.services + 192 * region.servers + 36992 * region.workers
    at = first + (worker * region.servers + slot) * SERVER_BYTES
    with mmap.mmap(region.fd, 0) as raw:
        struct.pack_into("<Q", raw, at, requests)
        struct.pack_into("<Q", raw, at + (4 + 5) * 8, failed)
        for name, count in times.items():
            struct.pack_into("<I", raw, at + TIMES + 4 * int(name[1:]), count)


def looking(region: Region, *slots: int) -> Sampler:
    for slot in slots:
        region.reset_server(slot)
    sampler = Sampler(region, 1)
    sampler.look()
    return sampler


def test_sampler_adds_up_all_workers_and_tells_what_has_changed() -> None:
    region = Region.create(2, services=64, servers=64)
    sampler = looking(region, 3, 4)
    write(region, 3, 0, requests=10, failed=2)
    write(region, 3, 1, requests=5)
    sampler.look()
    assert sampler.active(SERVERS) == [3]
    assert sampler.totals(SERVERS, 3)[REQUESTS] == 15
    assert sampler.totals(SERVERS, 3)[FAILED] == 2
    rates = sampler.take(SERVERS, 3)
    assert rates[FAILED] / rates[REQUESTS] == pytest.approx(2 / 15)
    sampler.look()
    assert sampler.take(SERVERS, 3)[REQUESTS] == 0
    assert sampler.window(SERVERS, [3, 4])[:2] == (15, 2)


def test_sampler_windows_end_with_the_second_rotation() -> None:
    region = Region.create(1, services=64, servers=64)
    sampler = looking(region, 0)
    write(region, 0, requests=10, b0=10)
    sampler.look()
    sampler.rotate()
    write(region, 0, requests=14, b0=10, b20=4)
    sampler.look()
    assert sampler.window(SERVERS, [0])[0] == 14
    assert sampler.window(SERVERS, [0], True)[0] == 4
    sampler.rotate()
    assert sampler.window(SERVERS, [0])[0] == 4
    sampler.rotate()
    assert sampler.window(SERVERS, [0]) == (0, 0, None, None, None)


def test_sampler_quantiles_lie_in_the_bucket_of_the_duration() -> None:
    region = Region.create(1, services=64, servers=64)
    sampler = looking(region, 0)
    # Bucket 13: from 3 * 2**5 units of 2**14 ns on, 1.57 ms to 2.10 ms; bucket 27: 201 ms to 268 ms.
    write(region, 0, requests=100, b13=97, b27=3)
    sampler.look()
    _, _, median, high, highest = sampler.window(SERVERS, [0])
    assert median is not None and 1.572 < median < high < 2.098
    assert highest is not None and 201 < highest < 269


def test_sampler_sees_a_state_that_changes_and_one_that_is_there_at_first() -> None:
    region = Region.create(1, services=64, servers=64)
    for slot in (1, 2):
        region.reset_server(slot)
    region.set_up(2, False)
    sampler = Sampler(region)
    sampler.look()
    assert sampler.active(SERVERS) == [2]
    region.set_weight(1, 0)
    sampler.look()
    assert sampler.active(SERVERS) == [1, 2]


def test_sampler_begins_anew_with_another_identity_of_a_slot() -> None:
    region = Region.create(1, services=64, servers=64)
    sampler = looking(region, 0)
    write(region, 0, requests=1000)
    sampler.look()
    sampler.take(SERVERS, 0)
    region.reset_server(0)
    sampler.look()
    assert sampler.take(SERVERS, 0)[REQUESTS] == 0
    write(region, 0, requests=3)
    sampler.look()
    assert sampler.window(SERVERS, [0])[0] == 3


def test_sampler_allocates_no_page_of_the_region() -> None:
    region = Region.create(16)
    for slot in range(60_000):
        region.reset_server(slot)
    for slot in range(0, 60_000, 1000):
        write(region, slot, slot % 16, requests=1)
    before = os.fstat(region.fd).st_blocks
    sampler = Sampler(region, 2)
    for _ in range(5):
        sampler.look()
        # Of a slot in use the rows of all workers are read once.
    assert (os.fstat(region.fd).st_blocks - before) * 512 <= 60 * 16 * 2 * 4096
    assert len(sampler.active(SERVERS)) == 60_000 or sampler.totals(SERVERS, 59_000)[REQUESTS] == 1
    after = os.fstat(region.fd).st_blocks
    for _ in range(5):
        sampler.look()
    assert os.fstat(region.fd).st_blocks == after


def test_sampler_refuses_slots_that_are_none() -> None:
    sampler = Sampler(Region.create(1, services=4, servers=4))
    for kind, slot in ((SERVERS, 4), (SERVICES, 4), (POINTS, 64), (7, 0)):
        with pytest.raises(IndexError):
            sampler.take(kind, slot)
