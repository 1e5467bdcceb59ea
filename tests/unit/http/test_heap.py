"""The memory of libraries: blocks keep what is in them, in any thread; sessions of HTTP/2 cost what they write."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.support.native import native

SANITIZED = "libasan" in Path("/proc/self/maps").read_text()

SIZES = (1, 7, 8, 9, 16, 24, 25, 40, 100, 1000, 4424, 16394, 24571, 24592, 100_000)


def churn(seed: int) -> None:
    """Take, resize and give blocks in any order, and look at what is in them."""
    heap, choose = native("heap"), random.Random(seed)
    held: dict[int, tuple[int, int]] = {}
    for turn in range(3000):
        fill = turn % 251 + 1
        what = choose.random()
        if what < 0.5 or not held:
            size = choose.choice(SIZES) + choose.randrange(3)
            address = heap.take(size, fill)
            assert address % 16 == 0
            assert address not in held
            held[address] = (size, fill)
            continue
        address = choose.choice(list(held))
        size, before = held.pop(address)
        assert heap.read(address, size) == bytes([before]) * size
        if what < 0.6:
            wanted = choose.choice(SIZES)
            moved = heap.resize(address, wanted)
            assert heap.read(moved, min(size, wanted)) == bytes([before]) * min(size, wanted)
            heap.write(moved, wanted, fill)
            held[moved] = (wanted, fill)
        else:
            heap.give(address)
    for address, (size, before) in held.items():
        assert heap.read(address, size) == bytes([before]) * size
        heap.give(address)


def test_blocks_are_nobody_elses_and_keep_what_is_in_them() -> None:
    native("heap").adopt()
    threads = [threading.Thread(target=churn, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    churn(3)
    for thread in threads:
        thread.join()


def test_a_block_may_be_freed_in_another_thread() -> None:
    heap = native("heap")
    heap.adopt()
    addresses = [heap.take(size, 1) for size in SIZES]
    thread = threading.Thread(target=lambda: [heap.give(address) for address in addresses])
    thread.start()
    thread.join()
    churn(4)


def test_nothing_is_a_block_too() -> None:
    heap = native("heap")
    heap.give(0)
    address = heap.resize(0, 100)
    assert heap.resize(address, 0) == 0


def test_a_session_takes_one_page_until_it_writes_a_long_frame() -> None:
    pages = native("heap").pages_of_a_session(2500, 16394)
    assert pages == [1, 0, 0, 0]


@pytest.mark.parametrize("page_bytes", [16384, 65536])
def test_where_pages_are_larger_none_is_emptied(page_bytes: int) -> None:
    """Sessions share them."""
    assert native("heap").pages_of_a_session(2500, 16394, page_bytes) == [1, 1, 1, 1]


def test_a_sanitizer_watches_slots_that_are_used_again() -> None:
    """A block that was given back, a session that was deleted, and the gap behind each block."""
    taken, given, deleted, again = native("heap").watched_parts()
    if SANITIZED:
        assert (taken, given, deleted) == ((False, False, True), (False, True, True), (True, True, True))
    else:
        assert (taken, given, deleted) == ((False, False, False),) * 3
    assert again == taken


@pytest.mark.parametrize(("structure", "frames"), [(2500, 16394), (4000, 16394), (100, 20000), (30000, 50000)])
def test_sessions_share_no_memory(structure: int, frames: int) -> None:
    """Also of other libraries, whose structure or buffer is larger."""
    for count in (200, 30, 300):
        native("heap").sessions_apart(count, structure, frames, 60000)
