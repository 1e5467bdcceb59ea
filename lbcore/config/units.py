"""Durations in Go's format, and ranges of statuses. No I/O."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from lbcore.config.model import Change
from lbcore.config.scalars import Plain, to_int

_UNIT_US = {"ns": 0.001, "us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
NONE = timedelta(0)
LONGEST = timedelta(days=3650)  # that is told from a longer one
OF_GO = timedelta(microseconds=(1 << 63) // 1000)  # the longest that Go knows
MIN_STATUS, MAX_STATUS = 100, 599  # that an answer may have


def parse_duration(value: Any) -> timedelta:
    """`1m30s`, `250ms`, or a bare number of seconds. Raises ValueError."""
    duration = parse_signed_duration(value)
    if duration < timedelta(0):
        raise ValueError(f"{str(value)!r} is negative: write 0, or leave it out")
    return duration


def parse_signed_duration(value: Any) -> timedelta:
    """`parse_duration`, with negative durations allowed."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not a duration: write 10s, 250ms or 1m30s")
    text = value if isinstance(value, str) else Plain(value)
    try:
        found = timedelta(seconds=to_int(text))
    except ValueError:
        pass
    except OverflowError:
        return _bounded(timedelta.max, text)
    else:
        return _bounded(found, text)
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    parts = list(_PART.finditer(rest)) if len(rest) < 100 else []
    if not parts or "".join(part[0] for part in parts) != rest:
        raise ValueError(f"{text!r} is not a duration: write 10s, 250ms or 1m30s; a bare number is seconds")
    try:
        found = sign * timedelta(microseconds=sum(float(part[1]) * _UNIT_US[part[2]] for part in parts))
    except OverflowError:
        found = timedelta.max
    return _bounded(found, text)


def _bounded(duration: timedelta, text: str) -> timedelta:
    if abs(duration) > OF_GO:
        raise ValueError(f"{text!r} is longer than 292 years")
    return max(min(duration, LONGEST), -LONGEST)


def format_duration(duration: timedelta) -> str:
    """A duration as Go prints it: `1m30s`, `250ms`, `0s`."""
    micros = duration // timedelta(microseconds=1)
    if micros < 0:
        return f"-{format_duration(-duration)}"
    if micros == 0:
        return "0s"
    if micros < 1_000_000:
        return f"{micros}µs" if micros < 1000 else f"{micros / 1000:g}ms"
    hours, micros = divmod(micros, 3_600_000_000)
    minutes, micros = divmod(micros, 60_000_000)
    seconds = f"{micros // 1_000_000}" + (f".{micros % 1_000_000:06d}".rstrip("0") if micros % 1_000_000 else "")
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


def milliseconds(duration: timedelta) -> int:
    """Whole milliseconds: at least 1 if there is any time, because 0 stands for no limit; 0 if it is not above 0."""
    return max(1, duration // timedelta(milliseconds=1)) if duration > NONE else 0


_AS_TEXT = PlainSerializer(format_duration, return_type=str)
Duration = Annotated[timedelta, BeforeValidator(parse_duration), _AS_TEXT]
LimitDuration = Annotated[timedelta, BeforeValidator(lambda value: max(parse_signed_duration(value), NONE)), _AS_TEXT]
SignedDuration = Annotated[timedelta, BeforeValidator(parse_signed_duration), _AS_TEXT]


Interval = Annotated[SignedDuration, AfterValidator(lambda value: value if value > NONE else timedelta(seconds=30))]
Patience = Annotated[SignedDuration, AfterValidator(lambda value: value if value > NONE else timedelta(seconds=5))]


def not_above_zero(data: dict[str, Any], *names: str) -> list[Change]:
    """What to say of durations as written that are not above 0, and so are as if they were not there."""
    found = []
    for name in names:
        try:
            if name in data and parse_signed_duration(data[name]) <= NONE:
                found.append(Change(name, f"{data[name]} is not above 0, so the default holds"))
        except ValueError:
            pass  # The error for a text that is not a duration follows from its type.
    return found


def seconds(value: float) -> Any:
    """A field with this default."""
    return Field(default=timedelta(seconds=value))


def status_ranges(texts: list[str]) -> list[tuple[int, int]]:
    """Parse `["500-504", "429"]` into pairs of first and last status, cut to 100 to 599.

    Raises ValueError for a text that is neither a status nor a range of them.
    """
    ranges = []
    for text in texts:
        first, dash, last = text.partition("-")
        if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in (first, last if dash else first)):
            raise ValueError(f"{text!r} is neither a status nor a range like 500-504")
        pair = int(first), int(last if dash else first)
        if not (pair[0] <= pair[1] and pair[0] <= MAX_STATUS and pair[1] >= MIN_STATUS):
            raise ValueError(f"{text!r} is not a range of statuses between {MIN_STATUS} and {MAX_STATUS}")
        ranges.append((max(pair[0], MIN_STATUS), min(pair[1], MAX_STATUS)))
    return ranges
