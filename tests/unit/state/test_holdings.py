"""What middlewares have beyond exchanges, by identity: groups of keys over workers, objects of a worker."""

from __future__ import annotations

import gc

from lbcore.state.holdings import State
from lbcore.state.region import Region


class Window:
    """Something that a middleware keeps."""


def test_a_group_is_the_same_in_all_workers_and_another_for_another_identity() -> None:
    region = Region.create(2)
    one, two = State(region, 0), State(region, 1)
    assert one.group("limit@file").number == two.group("limit@file").number != one.group("other@file").number


def test_what_a_dead_worker_held_is_given_back() -> None:
    region, key = Region.create(2), b"k" * 16
    dead, alive = State(region, 0), State(region, 1)
    number = dead.group("limit@file").number
    assert [dead.table.admit(number, key, 2), alive.table.admit(number, key, 2)] == [True, True]
    assert not alive.table.admit(number, key, 2)
    region.clear_worker(0)
    assert alive.table.admit(number, key, 2)


def test_an_object_lives_as_long_as_a_configuration_has_it() -> None:
    state, made = State(Region.create(1), 0), list[int]()

    def make() -> Window:
        made.append(1)
        return Window()

    former = state.keep("breaker@file", make)
    latter = state.keep("breaker@file", make)
    assert former is latter and len(made) == 1
    del former
    gc.collect()
    assert state.keep("breaker@file", make) is latter
    del latter
    gc.collect()
    state.keep("breaker@file", make)
    assert len(made) == 2
