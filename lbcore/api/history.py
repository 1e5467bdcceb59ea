"""The last hour of each object with traffic, in a memory of fixed size. No I/O."""

from __future__ import annotations

import math
from array import array
from typing import Any

INTERVAL_S = 10  # of points
POINTS = 360  # an hour
MOST_OBJECTS = 1000  # whose curves are kept: about 10 KB each
COLUMNS = ("rate", "errors", "p50", "p95", "p99", "inFlight", "queue")
NOTHING = math.nan  # not measured

Point = tuple[float, ...]


class Curve:
    """A ring of points. `last`: number of the interval of the newest one."""

    __slots__ = ("last", "values")

    def __init__(self, number: int) -> None:
        self.values = array("f", [NOTHING]) * (POINTS * len(COLUMNS))
        self.last = number - 1

    def put(self, number: int, point: Point) -> None:
        """Add the point of an interval; in those since the last one nothing has happened."""
        idle = (0.0, 0.0, NOTHING, NOTHING, NOTHING, 0.0, 0.0)
        for between in range(max(self.last + 1, number - POINTS), number):
            self._write(between, idle)
        self._write(number, point)
        self.last = number

    def _write(self, number: int, point: Point) -> None:
        first = number % POINTS * len(COLUMNS)
        self.values[first : first + len(COLUMNS)] = array("f", point)


class History:
    """Curves by id.

    If there are too many, the one that has been idle longest makes room for another; if none is idle, there is no room.
    """

    def __init__(self) -> None:
        self._curves: dict[str, Curve] = {}
        self.first = 0  # number of the first interval of all
        self.number = 0  # of the present interval
        self.refused = 0  # objects for which there was no room

    def begin(self, number: int) -> None:
        """Begin with the points of an interval: the time in seconds divided by INTERVAL_S."""
        self.first = self.first or number
        self.number = number

    def put(self, id: str, point: Point) -> None:
        """Add the point of an object in the present interval, in the order of COLUMNS."""
        curve = self._curves.pop(id, None)
        if curve is None:
            if len(self._curves) >= MOST_OBJECTS:
                longest = next(iter(self._curves))  # they stand in the order of their last points
                if self._curves[longest].last >= self.number - 1:
                    self.refused += 1
                    return
                del self._curves[longest]
            curve = Curve(self.number)
        curve.put(self.number, point)
        self._curves[id] = curve

    def view(self, id: str) -> dict[str, Any]:
        """The columns of an object, with the times in seconds."""
        curve = self._curves.get(id)
        found: dict[str, Any] = {"id": id, "interval": INTERVAL_S * 1000, "kept": curve is not None}
        first = max(self.first, self.number - POINTS + 1)
        numbers = range(first, self.number + 1) if curve is not None and self.number else range(0)
        found["times"] = [number * INTERVAL_S for number in numbers]
        found |= {column: [] for column in COLUMNS}
        if curve is None:
            return found
        for number in numbers:
            at = number % POINTS * len(COLUMNS)
            idle = number > curve.last
            for index, column in enumerate(COLUMNS):
                value = curve.values[at + index] if not idle else NOTHING if column.startswith("p") else 0.0
                found[column].append(None if math.isnan(value) else round(value, 3))
        return found
