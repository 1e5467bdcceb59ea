"""Scalars as Go reads them: switches, whole numbers, numbers. No I/O."""

from __future__ import annotations

import re

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
INT64 = (-(1 << 63), (1 << 63) - 1)
_WHOLE = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LIKE_A_SWITCH = {"yes": "true", "y": "true", "on": "true", "no": "false", "n": "false", "off": "false"}


class Plain(str):
    """A scalar without quotes in its file: YAML reads `0x10` and `1_000` as numbers, but not `"0x10"`."""

    __slots__ = ()


def to_bool(text: str) -> bool:
    """A switch, read as by Go's ParseBool. Raises ValueError."""
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    meant = _LIKE_A_SWITCH.get(text.lower()) or (text.lower() if text.lower() in ("true", "false") else "")
    raise ValueError(f"{text!r} is neither true nor false" + (f": write {meant}" if meant else ""))


def is_off(text: str) -> bool:
    """Whether this, in the place of a section, says that there is none."""
    return text in FALSE or text.lower() == "false"


def to_int(text: str) -> int:
    """A whole number of 64 bits: decimal, or, without quotes, in any form of YAML. Raises ValueError."""
    number = _plain_int(text) if isinstance(text, Plain) else int(text) if _WHOLE.fullmatch(text) else None
    if number is None:
        hint = ": it stands in quotes" if _plain_int(text) is not None else ""
        raise ValueError(f"{text!r} is not a whole number{hint}")
    if not INT64[0] <= number <= INT64[1]:
        raise ValueError(f"{text} does not fit into 64 bits")
    return number


def _plain_int(text: str) -> int | None:
    """The value of a number that YAML resolves, if it is a whole one."""
    if len(text) > 64:
        return None
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    body = digits.replace("_", "")
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if body.lower().startswith(prefix):
            return _based(sign, body[2:], base)
    if body.isascii() and body.isdigit():
        if len(body) > 1 and body[0] == "0" and (octal := _based(sign, body, 8)) is not None:
            return octal
        return sign * int(body)
    if _FLOAT.fullmatch(digits):
        value = float(body)
        if value.is_integer() and abs(value) < 1 << 63:
            return sign * int(value)
    return None


def _based(sign: int, digits: str, base: int) -> int | None:
    try:
        return sign * int(digits, base)
    except ValueError:
        return None


def to_float(text: str) -> float:
    """A finite number. Raises ValueError."""
    if _FLOAT.fullmatch(text) and len(text) <= 64:
        value = float(text.replace("_", ""))
        if abs(value) < 1e300:
            return value
    raise ValueError(f"{text!r} is not a number")
