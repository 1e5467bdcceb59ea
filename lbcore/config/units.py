"""Durations as Go writes them, and the text forms of the other scalars. No I/O."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

_UNIT_US = {"ns": 0.001, "us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
LONGEST = timedelta(days=3650)


def parse_duration(value: Any) -> timedelta:
    """`1m30s`, `250ms`, or a bare number of seconds. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if re.fullmatch(r"[+-]?\d+", text):
        return _bounded(timedelta(seconds=int(text)), text)
    sign = -1 if text.startswith("-") else 1
    rest = text.lstrip("+-") if text[:1] in "+-" else text
    parts = list(_PART.finditer(rest))
    if not parts or "".join(part[0] for part in parts) != rest:
        raise ValueError(f"{text!r} is not a duration: write 10s, 250ms or 1m30s; a bare number is seconds")
    return _bounded(sign * timedelta(microseconds=sum(float(part[1]) * _UNIT_US[part[2]] for part in parts)), text)


def _bounded(duration: timedelta, text: str) -> timedelta:
    if duration < timedelta(0):
        raise ValueError(f"{text!r} is negative")
    if duration > LONGEST:
        raise ValueError(f"{text!r} is longer than {LONGEST.days} days")
    return duration


def format_duration(duration: timedelta) -> str:
    """As Go prints it: `1m30s`, `250ms`, `0s`."""
    micros = duration // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    if micros < 1_000_000:
        return f"{micros}µs" if micros < 1000 else f"{micros / 1000:g}ms"
    hours, micros = divmod(micros, 3_600_000_000)
    minutes, micros = divmod(micros, 60_000_000)
    seconds = f"{micros // 1_000_000}" + (f".{micros % 1_000_000:06d}".rstrip("0") if micros % 1_000_000 else "")
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)]


def seconds(value: float) -> Any:
    """A field with this default."""
    return Field(default=timedelta(seconds=value))


def status_ranges(texts: list[str]) -> list[tuple[int, int]]:
    """`["500-504", "429"]` as first and last status of each. Raises ValueError."""
    ranges = []
    for text in texts:
        first, dash, last = text.partition("-")
        try:
            pair = int(first), int(last if dash else first)
        except ValueError:
            raise ValueError(f"{text!r} is neither a status nor a range like 500-504") from None
        if not 100 <= pair[0] <= pair[1] <= 599:
            raise ValueError(f"{text!r} is not a range of statuses between 100 and 599")
        ranges.append(pair)
    return ranges
