"""Keys counted over workers: exact, also when workers start, stop and die; bounded, and shed entries are counted."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from lbcore.state.keyed import KeyedTable
from lbcore.state.region import Region


def ip(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_workers_count_together_and_groups_apart() -> None:
    region = Region.create(3)
    tables = [KeyedTable(region, worker) for worker in range(3)]
    assert [tables[number % 3].admit(1, ip(1), 4) for number in range(6)] == [True] * 4 + [False] * 2
    assert tables[2].admit(1, ip(2), 4), "another client"
    assert tables[2].admit(2, ip(1), 4), "another group"
    tables[0].leave(1, ip(1))
    assert tables[1].admit(1, ip(1), 4)
    assert not tables[0].admit(1, ip(1), 4)


def test_what_a_dead_worker_had_open_is_taken_back() -> None:
    region = Region.create(2)
    one, two = (KeyedTable(region, worker) for worker in range(2))
    assert [one.admit(1, ip(1), 3), one.admit(1, ip(1), 3), two.admit(1, ip(1), 3)] == [True] * 3
    assert not two.admit(1, ip(1), 3)
    region.clear_worker(0)
    assert one.rows == 0
    assert [two.admit(1, ip(1), 3) for _ in range(3)] == [True, True, False]


def test_any_order_of_coming_and_going_keeps_the_counts() -> None:
    """Against a plain dictionary, with many clients that come and go: rows that move keep being found."""
    generator = random.Random(7)
    region = Region.create(2)
    tables = [KeyedTable(region, worker) for worker in range(2)]
    held: list[Counter[int]] = [Counter(), Counter()]
    for _ in range(60_000):
        worker, client = generator.randrange(2), generator.randrange(4000)
        if generator.random() < 0.55:
            expected = held[0][client] + held[1][client] < 3
            assert tables[worker].admit(9, ip(client), 3) == expected
            held[worker][client] += expected
        elif held[worker][client]:
            tables[worker].leave(9, ip(client))
            held[worker][client] -= 1
    assert [table.rows for table in tables] == [len(+counts) for counts in held]
    for worker in range(2):
        for client, count in held[worker].items():
            for _ in range(count):
                tables[worker].leave(9, ip(client))
    assert [table.rows for table in tables] == [0, 0]


def test_a_full_table_lets_no_new_client_in_and_forgets_none() -> None:
    region = Region.create(1)
    table = KeyedTable(region, 0)
    admitted = 0
    while table.admit(1, ip(admitted), 2):
        admitted += 1
    assert admitted == 49152
    assert table.admit(1, ip(5), 2), "a key in the table may have a second one"
    assert not table.admit(1, ip(5), 2)
    assert table.evictions == 1, "the one without room was counted"
    table.leave(1, ip(7))
    assert table.admit(1, ip(admitted), 2)


def test_what_keys_use_is_one_number_over_all_workers_and_outlives_them() -> None:
    region = Region.create(2)
    one, two = (KeyedTable(region, worker) for worker in range(2))
    assert [one.spend(1, ip(1), 2, 10), two.spend(1, ip(1), 3, 11), two.spend(2, ip(1), 1, 12)] == [2, 5, 1]
    region.clear_worker(0)
    assert two.spend(1, ip(1), 1, 13) == 6
    assert (one.rows, two.rows, two.shared_rows) == (0, 0, 2)
    assert two.admit(1, ip(1), 1), "what is held is counted apart"


def test_keys_that_were_not_used_for_long_make_room_for_new_ones() -> None:
    region = Region.create(1)
    table = KeyedTable(region, 0)
    number = 49152
    for key in range(number):
        assert table.spend(1, ip(key), 1, key) == 1
    assert table.evictions == 0
    for key in range(number - 1000, number):
        assert table.spend(1, ip(key), 1, number) == 2  # these are in use
    for key in range(number, number + 5000):
        assert table.spend(1, ip(key), 1, number + key) == 1
    assert table.shared_rows == number and table.evictions == 5000
    kept = sum(table.spend(1, ip(key), 0, 2 * number) == 2 for key in range(number - 1000, number))
    assert kept > 980


@pytest.mark.parametrize("workers", [2, 4])
def test_processes_at_once_never_admit_too_many_and_never_too_few(workers: int) -> None:
    """Each worker of its own process lets in and out what it can; at every moment at most three are in."""
    region = Region.create(workers)
    done: list[int] = []
    for worker in range(workers):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                table = KeyedTable(region, worker)
                admitted = sum(table.admit(1, ip(round_), 3) for round_ in range(3000))
                for round_ in range(3000):
                    assert not table.admit(1, ip(round_), 0)
                code = 0 if admitted else 2
            finally:
                os._exit(code)
        done.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in done]
    assert set(codes) <= {0, 2}
    probe = KeyedTable(region, 0)
    for round_ in range(3000):
        assert not probe.admit(1, ip(round_), min(workers, 3)), "as many were let in as there was room for"
        assert probe.admit(1, ip(round_), min(workers, 3) + 1)
        probe.leave(1, ip(round_))
