"""The last hour of objects: gaps, the end of the hour, and how many are kept."""

from __future__ import annotations

from lbcore.api import history as module
from lbcore.api.history import COLUMNS, INTERVAL_S, NOTHING, POINTS, History

BUSY = (2.0, 1.0, 5.0, 6.0, 7.0, 3.0, 4.0)


def test_history_fills_gaps_with_nothing_and_ends_after_an_hour() -> None:
    history = History()
    history.begin(1000)
    history.put("a", BUSY)
    history.begin(1003)
    history.put("a", BUSY)
    found = history.view("a")
    assert found["times"] == [number * INTERVAL_S for number in (1000, 1001, 1002, 1003)]
    assert (found["rate"], found["p50"]) == ([2, 0, 0, 2], [5, None, None, 5])
    history.begin(1000 + POINTS)
    found = history.view("a")
    assert len(found["times"]) == POINTS
    assert (found["times"][0], found["rate"][0], found["rate"][2]) == (1001 * INTERVAL_S, 0, 2)
    assert (found["rate"][-1], found["p99"][-1]) == (0, None)
    history.begin(1000 + 5 * POINTS)
    history.put("a", BUSY)
    assert sum(history.view("a")["rate"]) == 2
    assert {len(found[column]) for column in COLUMNS} == {POINTS}


def test_history_gives_the_room_of_the_idle_to_others(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(module, "MOST_OBJECTS", 2)
    history = History()
    history.begin(10)
    for id in ("a", "b", "c"):
        history.put(id, BUSY)
    assert [history.view(id)["kept"] for id in "abc"] == [True, True, False]
    assert history.refused == 1
    history.begin(12)
    history.put("b", BUSY)
    history.put("c", (0.0, 0.0, NOTHING, NOTHING, NOTHING, 1.0, 0.0))
    assert [history.view(id)["kept"] for id in "abc"] == [False, True, True]
