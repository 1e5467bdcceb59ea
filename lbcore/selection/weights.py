"""Whole weights with exactly the ratios of fractions. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import gcd, lcm
from typing import TypeVar

S = TypeVar("S", bound=Hashable)

MAX_WEIGHT = 1 << 30


Number = float | Fraction | Decimal


def scaled(weights: Mapping[S, Number] | Iterable[tuple[S, Number]]) -> dict[S, int]:
    """The smallest whole weights that have the same ratios: `{"a": 0.5, "b": 0.25}` gives `{"a": 2, "b": 1}`.

    weights  a mapping, or pairs; numbers of 0 and more: int, float, Fraction or Decimal. A float stands for the decimal
             number that is its `repr`: 0.1 is a tenth. Thirds are Fraction(1, 3), not 1 / 3.
    Raises TypeError, or ValueError if no weights up to 2**30 have these ratios; then round them first.
    """
    exact: dict[S, Fraction] = {}
    for server, weight in weights.items() if isinstance(weights, Mapping) else weights:
        if isinstance(weight, bool) or not isinstance(weight, (int, float, Fraction, Decimal)):
            raise TypeError(f"the weight of {server!r} has to be a number, not {weight!r}")
        try:
            value = Fraction(repr(weight)) if isinstance(weight, float) else Fraction(weight)
        except (ValueError, OverflowError):
            raise ValueError(f"the weight of {server!r} has to be a finite number, not {weight!r}") from None
        if value < 0:
            raise ValueError(f"the weight of {server!r} has to be 0 at least, not {weight!r}")
        if server in exact:
            raise ValueError(f"{server!r} is there already")
        exact[server] = value
    common = lcm(*[value.denominator for value in exact.values()])
    whole = {server: int(value * common) for server, value in exact.items()}
    divisor = gcd(*whole.values()) or 1
    found = {server: value // divisor for server, value in whole.items()}
    if max(found.values(), default=0) > MAX_WEIGHT:
        raise ValueError(
            f"no weights up to {MAX_WEIGHT} have these ratios exactly: round the numbers, or give Fractions"
        )
    return found
