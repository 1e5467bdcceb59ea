"""The functions of sprig for numbers. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from lbcore.template.functions.arguments import text_in, to_float, to_int
from lbcore.template.values import ValueProblem, text_of, wrapped


def _div(first: Any, second: Any) -> int:
    dividend, divisor = to_int(first), to_int(second)
    if divisor == 0:
        raise ValueProblem("integer divide by zero")
    found = abs(dividend) // abs(divisor)
    return found if (dividend < 0) == (divisor < 0) else -found


def _mod(first: Any, second: Any) -> int:
    dividend = to_int(first)
    return dividend - _div(dividend, second) * to_int(second)


def _product(first: Any, *others: Any) -> int:
    found = to_int(first)
    for other in others:
        found = wrapped(found * to_int(other))
    return found


def _folded(by: Callable[[float, float], float]) -> Callable[..., float]:
    def fold(first: Any, *others: Any) -> float:
        found = to_float(first)
        for other in others:
            found = by(found, to_float(other))
        return found

    return fold


def _quotient(first: float, second: float) -> float:
    if second == 0:
        raise ValueProblem("decimal division by 0")
    return first / second


def _round(value: Any, places: Any, *limit: Any) -> float:
    power = math.pow(10, to_float(places))
    digit = power * to_float(value)
    part = math.modf(digit)[0]
    return (math.ceil(digit) if part >= (to_float(limit[0]) if limit else 0.5) else math.floor(digit)) / power


def _atoi(text: Any) -> int:
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", text_in(text)) else 0


def _octal(value: Any) -> int:
    text = text_of(value)
    return int(text, 8) if re.fullmatch(r"-?[0-7]+", text) else 0


def _extreme(choose: Callable[..., Any], read: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda first, *others: choose([read(first), *map(read, others)])


NUMBERS: dict[str, Callable[..., Any]] = {
    "atoi": _atoi,
    "int": to_int,
    "int64": to_int,
    "float64": to_float,
    "toDecimal": _octal,
    "add1": lambda value: wrapped(to_int(value) + 1),
    "add": lambda *values: wrapped(sum(map(to_int, values))),
    "sub": lambda first, second: wrapped(to_int(first) - to_int(second)),
    "div": _div,
    "mod": _mod,
    "mul": _product,
    "add1f": lambda value: to_float(value) + 1,
    "addf": lambda *values: sum(map(to_float, values), 0.0),
    "subf": _folded(lambda first, second: first - second),
    "mulf": _folded(lambda first, second: first * second),
    "divf": _folded(_quotient),
    "max": _extreme(max, to_int),
    "biggest": _extreme(max, to_int),
    "min": _extreme(min, to_int),
    "maxf": _extreme(max, to_float),
    "minf": _extreme(min, to_float),
    "ceil": lambda value: float(math.ceil(to_float(value))),
    "floor": lambda value: float(math.floor(to_float(value))),
    "round": _round,
}
