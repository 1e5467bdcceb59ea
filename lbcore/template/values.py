"""The values of Go templates in Python: truth, order, text. No I/O.

Go's strings, numbers, switches, slices, maps and nil are str, int and float, bool, list, dict and None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "<no value>"  # the text of nil in an action


class ValueProblem(ValueError):
    """A function cannot be applied to its arguments."""


class Record(dict[str, Any]):
    """A struct: a field that does not exist is an error, where a map has nil."""


class Printed(Record):
    """A struct that prints as a text of its own."""

    def __init__(self, text: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.text = text


class Strings(dict[str, str]):
    """A map of strings: a key that does not exist is an empty string for `index`."""


def type_of(value: Any) -> str:
    """The type as Go prints it."""
    if value is None:
        return "<nil>"
    for kind, name in (
        (bool, "bool"),
        (int, "int"),
        (float, "float64"),
        (str, "string"),
        (list, "[]interface {}"),
        (Strings, "map[string]string"),
        (Record, "struct"),
        (dict, "map[string]interface {}"),
    ):
        if isinstance(value, kind):
            return name
    return type(value).__name__


def kind_of(value: Any) -> str:
    """The kind of Go's package reflect."""
    if value is None:
        return "invalid"
    if isinstance(value, dict):
        return "struct" if isinstance(value, Record) else "map"
    return "slice" if isinstance(value, list) else type_of(value)


def is_true(value: Any) -> bool:
    """Whether `if` takes its first branch."""
    return isinstance(value, Record) or bool(value)


def wrapped(number: int) -> int:
    """A number within 64 bits, as additions overflow in Go."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def text_of(value: Any) -> str:
    """`%v`."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return general(value)
    if isinstance(value, list):
        return "[" + " ".join(map(text_of, value)) + "]"
    if isinstance(value, Printed):
        return value.text
    if isinstance(value, Record):
        return "{" + " ".join(map(text_of, value.values())) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{text_of(value[key])}" for key in sorted(value)) + "]"
    return str(value)


def general(value: float, precision: int = -1) -> str:
    """`%g`: the shortest text, or that of a precision, with an exponent where Go writes one."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits, _, exponent = (f"{value:.{precision - 1}e}" if precision > 0 else _shortest(value)).partition("e")
    power = int(exponent)
    sign = "-" if digits.startswith("-") else ""
    digits = digits.lstrip("-").replace(".", "").rstrip("0") or "0"
    limit = 6 if precision < 0 else len(digits) if precision > len(digits) > power else precision
    if power < -4 or power >= limit:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    whole = digits[: power + 1].ljust(power + 1, "0")
    fraction = digits[power + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def _shortest(value: float) -> str:
    """The shortest digits that are read back as the same number, with an exponent."""
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if float(text) == value:
            return text
    return f"{value:.17e}"


_QUOTED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_QUOTED |= {'"': '\\"', "\\": "\\\\"}


def quoted(text: str) -> str:
    """`%q`."""
    found = []
    for character in text:
        code = ord(character)
        if character in _QUOTED:
            found.append(_QUOTED[character])
        elif character.isprintable():
            found.append(character)
        elif code < 0x80:
            found.append(f"\\x{code:02x}")
        else:
            found.append(f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
    return '"' + "".join(found) + '"'


def equal(first: Any, second: Any) -> bool:
    """`eq` of two values. Raises ValueProblem for those of different kinds."""
    if first is None or second is None:
        return first is None and second is None
    for value in (first, second):
        if isinstance(value, list | dict):
            raise ValueProblem(f"non-comparable type {type_of(value)}")
    if _basic(first) != _basic(second):
        raise ValueProblem("incompatible types for comparison")
    return bool(first == second)


def less(first: Any, second: Any) -> bool:
    """`lt` of two values. Raises ValueProblem."""
    kinds = {_basic(first), _basic(second)}
    if not kinds <= {"int", "float64", "string"}:
        raise ValueProblem("invalid type for comparison")
    if len(kinds) > 1:
        raise ValueProblem("incompatible types for comparison")
    if isinstance(first, str):
        return bool(first.encode(errors="surrogatepass") < second.encode(errors="surrogatepass"))
    return bool(first < second)


def _basic(value: Any) -> str:
    return kind_of(value)
