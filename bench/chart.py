"""Charts as SVG text, without any library: lines over a linear or logarithmic axis, steps, and bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from bench.picture_style import STYLE

Points = Sequence[tuple[float, float]]

COLOURS = ("#2f6fb3", "#d1602a", "#3a9a5b", "#8a56ac", "#c2a225", "#4fb3bf", "#b3446c", "#7a7a7a", "#1b2a49", "#9bb53c")
WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 52, 44
LINE_PX = 16


def number(value: float) -> str:
    """Short: 0.05, 12, 3.4k, 2M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        steps = (1,) if last - first > 3 else (1, 2, 5)
        found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        return [value for value in found if low * 0.999 <= value <= high * 1.001]
    span = high - low or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


class Axis:
    """From values to pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float, log: bool, zero: bool) -> None:
        low, high = min(values), max(values)
        if not log and zero:
            low = min(low, 0.0)
        if high <= low:
            high = low * 2 if log else low + 1
        self.low, self.high, self.start, self.end, self.log = low, high, start, end, log

    def at(self, value: float) -> float:
        if self.log:
            place = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return self.start + place * (self.end - self.start)


def opened(title: str, note: str, width: int, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        STYLE,
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="8" y="34" fill="#555">{escape(note)}</text>',
    ]


def lines(
    title: str,
    note: str,
    series: Mapping[str, Points],
    *,
    x: str = "",
    y: str = "",
    log_x: bool = False,
    log_y: bool = False,
    dots: bool = True,
    zero: bool = True,
    right: Sequence[str] = (),
) -> str:
    """One line for each series, with its name at the right. `right`: names whose line is thick."""
    every = [point for points in series.values() for point in points]
    across = Axis([point[0] for point in every], LEFT, WIDTH - RIGHT, log_x, False)
    up = Axis([point[1] for point in every], HEIGHT - BOTTOM, TOP, log_y, zero)
    parts = opened(title, note, WIDTH, HEIGHT)
    for value in ticks(up.low, up.high, log_y):
        at = up.at(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#555">{number(value)}</text>')
    marks = sorted({point[0] for point in every})
    for value in marks if len(marks) <= 8 else ticks(across.low, across.high, log_x):
        at = across.at(value)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}" stroke="#555"/>'
        )
        label = f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle" fill="#555">{number(value)}</text>'
        parts.append(label)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text x="8" y="{TOP - 4}" fill="#555">{escape(y)}</text>')
    for index, (name, points) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        thick = 2.8 if name in right else 1.5
        path = " ".join(f"{across.at(a):.1f},{up.at(b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"/>')
        if dots:
            parts += [f'<circle cx="{across.at(a):.1f}" cy="{up.at(b):.1f}" r="3" fill="{colour}"/>' for a, b in points]
        top = TOP + index * LINE_PX
        parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{top}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 30}" y="{top + 10}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def bars(title: str, note: str, values: Mapping[str, float], unit: str = "", mark: float | None = None) -> str:
    """Horizontal bars in the given order. `mark`: a value that a line stands at."""
    row, left, length = 24, 200, 420
    height = 52 + row * len(values)
    most = max([*values.values(), mark or 0.0]) or 1.0
    parts = opened(title, note, left + length + 100, height)
    for index, (name, value) in enumerate(values.items()):
        top, long = 46 + index * row, length * value / most
        colour = COLOURS[0] if "lbcore" in name else "#9cc3e6"
        parts.append(f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{top}" width="{long:.1f}" height="17" fill="{colour}"/>')
        parts.append(f'<text x="{left + long + 6:.1f}" y="{top + 13}">{number(value)}{escape(unit)}</text>')
    if mark is not None:
        at = left + length * mark / most
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="42" y2="{height - 6}" stroke="#c00" stroke-dasharray="4 3"/>'
        )
    return "\n".join([*parts, "</svg>", ""])


def strips(title: str, note: str, rows: Mapping[str, Sequence[int]]) -> str:
    """One row of coloured cells for each sequence: who was picked, turn by turn."""
    cell, row, left = 11, 22, 190
    width = left + cell * max(map(len, rows.values())) + 20
    height = 48 + row * len(rows)
    parts = opened(title, note, width, height)
    for index, (name, picks) in enumerate(rows.items()):
        top = 46 + index * row
        parts.append(f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
        for turn, server in enumerate(picks):
            colour = COLOURS[server % len(COLOURS)]
            parts.append(f'<rect x="{left + turn * cell}" y="{top}" width="{cell - 1}" height="17" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>", ""])
