"""Where the parts of a configuration are written. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from lbcore.errors import Problem


def split_place(place: str) -> tuple[str, int | None]:
    """File and line of a place, `dynamic.yml:7`; an empty text, and None, where it has none."""
    file, _, line = place.rpartition(":")
    return file, int(line) if line.isdigit() else None


class Lines(dict[str, Callable[[tuple[str | int, ...]], int | None]]):
    """By the name of a file: the line on which something is written, by its path.

    Equal to any other: where things stand is no part of what a configuration means.
    """

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lines)

    __hash__ = None

    def line(self, place: str, path: tuple[str | int, ...]) -> int | None:
        """The line of a part of an object whose place is known; that of the object if no more is known."""
        file, line = split_place(place)
        return (self[file](path) if file in self else None) or line

    def located(self, problem: Problem) -> Problem:
        """A problem with the file that its path was read from, and the line of that, or of the nearest key around it.

        Unchanged if it has a file already, or a path that no file has.
        """
        if problem.file or not problem.path:
            return problem
        path = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", problem.path))
        for file, line_of in self.items():
            if (line := line_of(path)) is not None:
                return replace(problem, file=file, line=line)
        return problem
