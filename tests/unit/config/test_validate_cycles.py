"""Ways back to a service, or a chain, are found in time that is linear in the configuration."""

from __future__ import annotations

import time

from lbcore.config.validate.graph import find_cycle


def test_one_name_with_very_many_parts_has_linear_cost() -> None:
    edges = {"all": [f"part{number}" for number in range(200_000)]}
    done: set[str] = set()
    begun = time.process_time()
    assert find_cycle("all", lambda name: edges.get(name, []), done) == []
    assert time.process_time() - begun < 5  # it was minutes
    assert len(done) == 200_001


def test_a_long_cycle_has_linear_cost_and_is_named() -> None:
    size = 100_000
    begun = time.process_time()
    way = find_cycle("0", lambda name: [str((int(name) + 1) % size)], set())
    assert time.process_time() - begun < 5
    assert len(way) == size + 1 and way[0] == way[-1] == "0"
    assert find_cycle("a", lambda name: {"a": ["b"], "b": ["c"], "c": ["b"]}[name], set()) == ["b", "c", "b"]
