"""What the functions of templates take from their arguments. Raises ValueProblem for others. No I/O."""

from __future__ import annotations

import math
import re
from typing import Any

from lbcore.template.values import ValueProblem, kind_of, text_of, type_of, wrapped

LONGEST = 1 << 20  # elements of a list, and characters of a repeated text, that a function makes


def text_in(value: Any) -> str:
    if not isinstance(value, str):
        got = "<nil>" if value is None else type_of(value)
        raise ValueProblem(f"wrong type for value; expected string; got {got}")
    return value


def number_in(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueProblem(f"wrong type for value; expected int; got {type_of(value)}")
    return value


def list_in(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueProblem(f"needs a list, not {type_of(value)}")
    return value


def map_in(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueProblem(f"wrong type for value; expected map[string]interface {{}}; got {type_of(value)}")
    return value


def check_length(length: int) -> None:
    if length > LONGEST:
        raise ValueProblem(f"more than {LONGEST} elements")


def texts_of(value: Any) -> list[str]:
    """sprig's `toStrings`."""
    if isinstance(value, list):
        return [text_of(item) for item in value if item is not None]
    return [] if value is None else [text_of(value)]


def to_int(value: Any) -> int:
    """A whole number of anything; 0 if it is none."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return wrapped(int(value)) if math.isfinite(value) else -(1 << 63)
    if isinstance(value, str):
        text = re.sub(r"\.0*$", "", value)
        sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
        for form, base in ((r"0[xX][0-9a-fA-F]+", 16), (r"0[bB][01]+", 2), (r"0[oO]?[0-7]+", 8), (r"[0-9]+", 10)):
            if re.fullmatch(form, digits):
                number = sign * int(re.sub(r"^0[xXbBoO]", "", digits), base)
                return number if -(1 << 63) <= number < 1 << 63 else 0
    return 0


def to_float(value: Any) -> float:
    """A number of anything; 0 if it is none."""
    try:
        return float(value) if isinstance(value, bool | int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0


def is_empty(value: Any) -> bool:
    return value is None or (not value if not isinstance(value, float) else value == 0)


def are_equal(first: Any, second: Any) -> bool:
    """Go's reflect.DeepEqual."""
    return kind_of(first) == kind_of(second) and bool(first == second)
