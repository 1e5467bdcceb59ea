"""The selectors under test: whatever `lbcore.selection` has, each with as many servers as wanted."""

from __future__ import annotations

import inspect
from typing import Any

import lbcore.selection
from lbcore.selection import Algorithm, Selector, hash_of
from tests.unit.selection import algorithms

SIZES = (2, 16, 256, 4096, 65_536)
HASHES = 1024
# Those that have to keep the bars at every size.
CONSTANT = ("SmoothWRR", "StaticStride", "P2C", "Jump", "Maglev")


def names_of(count: int) -> list[str]:
    """Sibling addresses, as in real pools."""
    return [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:8080" for n in range(count)]


def weights_of(count: int) -> list[int]:
    return [1 + n % 3 for n in range(count)]


def known() -> dict[str, algorithms.Make]:
    """Every selector by name. One that `lbcore.selection` exports and the tests do not list is an error."""
    exported = set()
    for name in lbcore.selection.__all__:
        found = getattr(lbcore.selection, name)
        if inspect.isclass(found) and issubclass(found, Algorithm) and found is not Algorithm:
            exported.add(name)
    made = dict(algorithms.ALL)
    covered = {type(make({"a": 1, "b": 1})).__name__ for make in made.values()}
    if missing := exported - covered:
        raise RuntimeError(f"not in tests/unit/selection/algorithms.py: {sorted(missing)}")
    return made


ALL = known()
KEYED = frozenset(algorithms.KEYED)
WEIGHTED = frozenset(algorithms.WEIGHTED)


def make(name: str, count: int, *, equal: bool = False) -> Selector[str]:
    weights = [1] * count if equal or name not in WEIGHTED else weights_of(count)
    lb: Selector[str] = ALL[name](dict(zip(names_of(count), weights, strict=True)))
    first(lb, name)
    return lb


def first(lb: Selector[str], name: str, key: Any = "first") -> str:
    """The first pick, which builds the tables."""
    return lb.pick(key) if name in KEYED else lb.pick()


def statement(name: str) -> str:
    return "lb.pick(key)" if name in KEYED else "lb.pick()"


def hashes() -> bytes:
    return b"".join(hash_of(f"user-{number}").to_bytes(8, "little") for number in range(HASHES))
