"""Maglev's table, against an obvious version of its turns."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import Maglev, hash_of

MASK = (1 << 64) - 1


def mix64(x: int) -> int:
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def oracle(weights: dict[str, int], size: int) -> list[str]:
    ids = {name: mix64(hash_of(name)) for name in weights}
    order = sorted(ids, key=lambda name: ids[name])
    table: list[str | None] = [None] * size
    slots = {name: mix64(ids[name]) % size for name in weights}
    targets = dict.fromkeys(weights, max(weights.values()))
    turn = 0
    while None in table:
        turn += 1
        for name in order:
            if turn * weights[name] < targets[name] or None not in table or not weights[name]:
                continue
            targets[name] += max(weights.values())
            while table[slots[name]] is not None:
                slots[name] = (slots[name] + mix64((ids[name] + 1) & MASK) % (size - 1) + 1) % size
            table[slots[name]] = name
    return [name or "" for name in table]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any), st.sampled_from([11, 13, 101, 251]))
def test_the_table_follows_the_paper_with_envoys_order(weights: list[int], size: int) -> None:
    servers = {f"app-{number}": weight for number, weight in enumerate(weights)}
    lb = Maglev(servers, table_size=size)
    table = oracle(servers, size)
    # Turns of one round are taken in the order of names, unless their servers were in different rounds before.
    equal = len({weight for weight in weights if weight}) == 1
    found = {}
    for key in range(40 * size):
        found[mix64(hash_of(key)) * size >> 64] = lb.pick(key)
    assert len(found) == size
    if equal:
        assert [found[slot] for slot in range(size)] == table
    counts, wanted = Counter(found.values()), Counter(table)
    assert all(abs(counts[name] - wanted[name]) <= 1 for name in servers)


def test_published_vector() -> None:
    lb = Maglev({"app-v1": 3, "app-v2": 1, "app-v3": 1})
    assert "".join(lb.pick(f"user-{number}")[-1] for number in range(20)) == "11231123113311331112"


def test_shares_differ_by_a_slot() -> None:
    servers = [f"10.0.{n // 256}.{n % 256}:80" for n in range(500)]
    lb = Maglev(servers)
    counts = Counter(lb.pick_many(range(1_500_000)))
    assert all(abs(counts[index] / 3000 - 1) < 0.1 for index in range(500))


def timed(lb: Any) -> float:
    before = time.process_time()
    lb.pick("user-1")
    return time.process_time() - before


def test_building_is_not_quadratic() -> None:
    """65,536 servers have 64 times as many slots as 1,024, and as many each: the work is some 100 times, not 4096."""
    small = min(timed(Maglev(range(1024))) for _ in range(3))
    assert timed(Maglev(range(65_536))) < 1500 * small
    # Weights that are far apart do not make turns in which hardly anybody fills a slot expensive.
    assert timed(Maglev({number: 1 << 30 if number == 0 else 1 for number in range(65_536)})) < 1500 * small


def test_one_of_many_servers_is_open() -> None:
    lb = Maglev(range(4000))
    for number in range(4000):
        lb.set_up(number, number == 77)
    assert timed(lb) < 5
    assert set(lb.pick_many(range(1000))) == {77}


def test_tables_that_cannot_be_are_refused() -> None:
    for wrong, error in ((65536, ValueError), (1, ValueError), ((1 << 61) - 1, ValueError), ("7", TypeError)):
        with pytest.raises(error, match="table_size"):
            Maglev([], table_size=wrong)  # type: ignore[arg-type]
    lb = Maglev(range(6), table_size=7)
    with pytest.raises(ValueError, match="7 slots"):
        lb.add(6)
    assert Counter(lb.pick_many(range(7000))).keys() == set(range(6)) and "table_size=7" in repr(lb)


def test_a_change_while_another_thread_builds_is_not_lost() -> None:
    lb = Maglev(range(4000), table_size=1_048_583)
    for turn in range(3):
        thread = threading.Thread(target=lb.pick, args=("user-1",))
        thread.start()
        while thread.is_alive():
            lb.set_weight(turn, 0)
            lb.set_weight(turn, 1)
        lb.set_weight(turn, 0)
        assert turn not in lb.pick_many(range(20_000))
        thread = threading.Thread(target=lb.pick, args=("user-1",))
        lb.set_weight(3000, 2 + turn)
        thread.start()
        while thread.is_alive():
            lb.remove(lb.servers[-1])
        assert max(lb.pick_many(range(20_000))) < len(lb)
