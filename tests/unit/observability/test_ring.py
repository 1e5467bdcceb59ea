"""Lines of the access log on their way through shared memory: in order, whole, bounded, counted."""

from __future__ import annotations

import os
import random
import threading

import pytest

from lbcore.observability.ring import LineReader, LineWriter
from lbcore.state.region import Region

RING_BYTES = 1 << 24


def region_for(workers: int) -> Region:
    return Region.create(workers, 16, 16)


def drain(reader: LineReader, until_ns: int = 1 << 62) -> bytes:
    found = b""
    while block := reader.merge(until_ns):
        found += block
        reader.release()
    return found


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_lines_of_all_workers_come_in_the_order_of_their_time(workers: int) -> None:
    region = region_for(workers)
    writers = [LineWriter(region, worker) for worker in range(workers)]
    dice = random.Random(7)
    for at in range(20_000):
        assert dice.choice(writers).put(b"%d %s\n" % (at, b"x" * dice.randrange(80)), at)
    found = [int(line.split()[0]) for line in drain(LineReader(region)).splitlines()]
    assert found == list(range(20_000))
    assert all(writer.pending_bytes == 0 for writer in writers)


def test_only_lines_up_to_a_time_are_taken_and_stay_until_they_are_released() -> None:
    region = region_for(2)
    LineWriter(region, 0).put(b"one\n", 10)
    LineWriter(region, 1).put(b"two\n", 20)
    reader = LineReader(region)
    assert reader.merge(5) == b""
    assert reader.merge(10) == b"one\n"
    assert LineReader(region).merge(30) == b"one\ntwo\n"  # another one takes over: nothing was released
    assert reader.merge(10) == b"one\n"
    reader.release()
    assert reader.merge(30) == b"two\n"


def test_a_ring_goes_round_and_loses_nothing_but_what_it_has_no_room_for() -> None:
    region = region_for(1)
    writer, reader = LineWriter(region, 0), LineReader(region)
    dice = random.Random(3)
    expected, written = [], 0
    for number in range(3000):
        line = b"%d " % number + b"y" * dice.randrange(60_000) + b"\n"
        if writer.put(line, number):
            expected.append(number)
        written += len(line)
        if dice.random() < 0.01:
            assert [int(line.split()[0]) for line in drain(reader).splitlines()] == expected
            expected = []
    assert written > 4 * RING_BYTES
    assert 0 < region.log_lines_lost < 1500
    assert [int(line.split()[0]) for line in drain(reader).splitlines()] == expected


def test_a_line_longer_than_a_ring_is_lost_and_the_next_one_is_not() -> None:
    region = region_for(1)
    writer = LineWriter(region, 0)
    assert not writer.put(b"z" * RING_BYTES, 1)
    assert writer.put(b"z" * (RING_BYTES // 2) + b"\n", 2)
    assert region.log_lines_lost == 1
    assert len(drain(LineReader(region))) == RING_BYTES // 2 + 1


def test_lines_of_a_worker_that_died_are_written_and_its_successor_goes_on() -> None:
    region = region_for(2)
    LineWriter(region, 1).put(b"of the first\n", 1)
    region.clear_worker(1)
    LineWriter(region, 1).put(b"of the second\n", 2)
    assert drain(LineReader(region)) == b"of the first\nof the second\n"


def test_memory_is_used_again_when_little_waits() -> None:
    region = region_for(1)
    writer, reader = LineWriter(region, 0), LineReader(region)
    before = os.fstat(region.fd).st_blocks
    for number in range(3000):
        writer.put(b"w" * 20_000 + b"\n", number)
        drain(reader)
    assert (os.fstat(region.fd).st_blocks - before) * 512 < 2 << 20


def test_one_thread_fills_while_another_one_empties() -> None:
    """The count of what waits is exact, however the two are scheduled."""
    region = region_for(1)
    writer, reader = LineWriter(region, 0), LineReader(region)
    lines, found = 100_000, 0

    def empty() -> None:
        nonlocal found
        while found + region.log_lines_lost < lines:
            found += drain(reader).count(b"\n")

    thread = threading.Thread(target=empty)
    thread.start()
    for number in range(lines):
        writer.put(b"%d %s\n" % (number, b"v" * 300), number)
        assert 0 <= writer.pending_bytes <= RING_BYTES
    thread.join(60)
    assert not thread.is_alive()
    assert writer.pending_bytes == 0
