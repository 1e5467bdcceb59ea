"""What servers did between two looks, as `lbcore top` shows it."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.remote.rates import rates


def server(url: str, requests: int, errors: int = 0, answers: int = 0, first_byte_s: float = 0.0) -> dict[str, Any]:
    counted = {"requests": requests, "errors": errors, "answers": answers, "firstByteSeconds": first_byte_s}
    return {"url": url, "status": "UP", "effectiveWeight": 1, "inFlight": 0, **counted}


def tree(*servers: dict[str, Any], layer: str = "http") -> list[dict[str, Any]]:
    inner = {"name": "s@file", "servers": list(servers)}
    return [{"name": "all@file", "layer": layer, "children": [inner]}, inner | {"layer": layer}]


def test_differences_per_second_shares_and_latency() -> None:
    before = tree(server("a", 10, 1, 9, 1.0), server("b", 0))
    now = tree(server("a", 40, 3, 29, 1.5), server("b", 10), server("new", 7))
    found = {row["server"]: row for row in rates(before, now, 2.0)}
    assert [*found] == ["a", "b", "new"], "each once, though two parents lead to them"
    assert (found["a"]["rate"], found["a"]["errors"], found["a"]["latency"]) == (15.0, 1.0, 25.0)
    assert (found["a"]["share"], found["b"]["share"], found["new"]["share"]) == (0.75, 0.25, 0.0)
    assert found["b"]["latency"] is None


def test_an_instance_that_was_restarted_has_no_negative_rates() -> None:
    (row,) = rates(tree(server("a", 100, 9, 90, 9.0)), tree(server("a", 1)), 1.0)
    assert (row["rate"], row["errors"], row["latency"], row["share"]) == (0.0, 0.0, None, None)


@pytest.mark.parametrize(
    ("column", "reverse", "expected"),
    [
        ("rate", False, ["b", "a", "c"]),
        ("rate", True, ["c", "a", "b"]),
        ("latency", False, ["a", "b", "c"]),
        ("server", True, ["c", "b", "a"]),
        ("errors", False, ["c", "a", "b"]),
        ("in-flight", False, ["a", "b", "c"]),
    ],
)
def test_numbers_come_the_highest_first(column: str, reverse: bool, expected: list[str]) -> None:
    before = tree(*(server(name, 0) for name in "abc"))
    now = tree(server("a", 5, 0, 5, 1.0), server("b", 9), server("c", 1, 1))
    assert [row["server"] for row in rates(before, now, 1.0, column, reverse)] == expected
