"""What a look at the region finds: rates, windows, quantiles, states; and what it leaves alone."""

from __future__ import annotations

import mmap
import os
import struct
import time

import pytest

from lbcore.state.region import Region
from lbcore.state.sampler import IN_FLIGHT as OF_IN_FLIGHT
from lbcore.state.sampler import POINTS, RATE, SERVERS, SERVICES, Sampler

SERVER_BYTES, TIMES = 384, 192
REQUESTS, NONE, FAILED = 0, 1, 6


def write(
    region: Region, slot: int, worker: int = 0, requests: int = 0, failed: int = 0, flying: int = 0, **times: int
) -> None:
    """Set the counters of a server: `bN=count` is the number of answers in bucket N."""
    first = 4096 + 64 * region.services + 192 * region.servers + 36992 * region.workers
    at = first + (worker * region.servers + slot) * SERVER_BYTES
    with mmap.mmap(region.fd, 0) as raw:
        struct.pack_into("<QQ", raw, at, requests, flying)
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


def heights(sampler: Sampler, kind: int, slot: int) -> list[float]:
    return [most for most, _ in maxima(sampler, kind, slot)]


def maxima(sampler: Sampler, kind: int, slot: int) -> list[tuple[float, int]]:
    numbers = struct.unpack("4d4Q", sampler.maxima(kind, slot))
    return list(zip(numbers[:4], numbers[4:]))


def add_up(sampler: Sampler, *summands: tuple[int, int, int]) -> None:
    sampler.add_up(struct.pack(f"{3 * len(summands)}I", *(number for each in summands for number in each)))


def test_maxima_stay_with_the_time_at_which_they_were_seen() -> None:
    region = Region.create(2, services=64, servers=64)
    sampler = looking(region, 3)
    assert maxima(sampler, SERVERS, 3) == [(0, 0)] * 4
    write(region, 3, 0, requests=10, flying=4)
    write(region, 3, 1, requests=10, flying=3)
    before = time.monotonic_ns()
    sampler.look()
    most, at_ns = maxima(sampler, SERVERS, 3)[0]
    assert most == 7 and before <= at_ns <= time.monotonic_ns()
    write(region, 3, 0, requests=20, flying=1)
    sampler.look()
    assert maxima(sampler, SERVERS, 3)[0] == (7, at_ns)
    write(region, 3, 1, requests=30, flying=8)
    sampler.look()
    most, later_ns = maxima(sampler, SERVERS, 3)[0]
    assert most == 9 and later_ns > at_ns


def test_maxima_of_rates_are_of_seconds_whatever_is_looked_at_in_between() -> None:
    region = Region.create(1, services=64, servers=64)
    sampler = looking(region, 3)
    sampler.end_second()
    begun = time.monotonic()
    write(region, 3, requests=50)
    time.sleep(0.1)
    for count in range(51, 60):
        write(region, 3, requests=count)
        sampler.look()  # as somebody asks
    assert heights(sampler, SERVERS, 3)[2] == 0
    sampler.end_second()
    found = heights(sampler, SERVERS, 3)[2]
    assert 59 / (time.monotonic() - begun) <= found <= 59 / 0.1
    time.sleep(0.02)
    write(region, 3, requests=60)
    sampler.end_second()
    assert heights(sampler, SERVERS, 3)[2] == found


def test_maxima_of_a_service_are_of_its_members_together() -> None:
    region = Region.create(2, services=64, servers=64)
    sampler = looking(region, 1, 2, 3)
    both = RATE | OF_IN_FLIGHT
    add_up(sampler, (7, 1, both), (7, 2, both), (8, 3, RATE), (8, 1, OF_IN_FLIGHT))
    sampler.end_second()
    for slot, flying in ((1, 5), (2, 1), (3, 9)):
        write(region, slot, slot % 2, requests=100, flying=flying)
    time.sleep(0.02)
    sampler.end_second()
    rates = [heights(sampler, SERVERS, slot)[2] for slot in (1, 2, 3)]
    assert heights(sampler, SERVICES, 7)[0] == 6
    assert heights(sampler, SERVICES, 7)[2] == pytest.approx(rates[0] + rates[1])
    assert heights(sampler, SERVICES, 8)[0] == 5
    assert heights(sampler, SERVICES, 8)[2] == pytest.approx(rates[2])
    # Those of its members were at another time.
    write(region, 1, 1, requests=100, flying=0)
    write(region, 2, 0, requests=100, flying=4)
    sampler.look()
    assert heights(sampler, SERVICES, 7)[0] == 6
    assert [heights(sampler, SERVERS, slot)[0] for slot in (1, 2)] == [5, 4]
    add_up(sampler)
    write(region, 1, 1, requests=100, flying=90)
    sampler.look()
    assert heights(sampler, SERVICES, 7)[0] == 6
    for wrong in ((64, 0, RATE), (0, 64, RATE)):
        with pytest.raises(IndexError):
            add_up(sampler, wrong)


def test_maxima_begin_anew_for_all_or_for_another_identity() -> None:
    region = Region.create(1, services=64, servers=64)
    sampler = looking(region, 1, 2)
    sampler.end_second()
    for slot in (1, 2):
        write(region, slot, requests=1000, flying=50)
    time.sleep(0.01)
    sampler.end_second()
    region.reset_server(1)
    sampler.forget_maxima(SERVERS, 1)
    write(region, 1, requests=3, flying=1)
    time.sleep(0.01)
    sampler.end_second()
    flying, _, rate, _ = heights(sampler, SERVERS, 1)
    assert flying == 1 and 0 < rate <= 3 / 0.01
    assert heights(sampler, SERVERS, 2)[0] == 50
    sampler.forget_all_maxima()
    assert [heights(sampler, SERVERS, slot) for slot in (1, 2)] == [[0] * 4] * 2
    time.sleep(0.01)
    sampler.end_second()
    # What is in flight still is; what came before came before.
    assert heights(sampler, SERVERS, 2) == [50, 0, 0, 0]


def test_maxima_cost_no_memory_for_what_has_none() -> None:
    region = Region.create(1)
    for slot in range(60_000):
        region.reset_server(slot)
    sampler = Sampler(region, 1)
    sampler.look()
    before = resident()
    for _ in range(3):
        sampler.end_second()
        sampler.forget_all_maxima()
    assert resident() - before < 2_000_000


def resident() -> int:
    """Bytes of this process' own memory."""
    with open("/proc/self/statm") as file:
        words = file.read().split()
    return (int(words[1]) - int(words[2])) * mmap.PAGESIZE
