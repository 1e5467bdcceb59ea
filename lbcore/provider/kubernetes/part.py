"""A section of an object as it is written, of which keys are read one by one. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcore.config.decode import nearest

Complain = Callable[[str], None]


class Part:
    """Keys and values, and where they stand: `spec.routes[0]`. A value of the wrong type is reported, and not there.

    Types are those of JSON: an API server has checked them against the schema of a kind, where there is one.
    """

    def __init__(self, value: Any, path: str, complain: Complain) -> None:
        self.path = path
        self._complain = complain
        self._value: dict[str, Any] = value if isinstance(value, dict) else {}
        self._read: set[str] = set()
        if not isinstance(value, dict):
            self.complain("", "needs keys and values")

    def complain(self, key: str, text: str) -> None:
        """Report a problem of a key; empty: of all of it."""
        self._complain(f"{self.at(key)}: {text}")

    def report(self, text: str) -> None:
        """Report a problem whose text begins with its key."""
        self._complain(text)

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if key else self.path

    def __contains__(self, key: str) -> bool:
        self._read.add(key)
        return self._value.get(key) is not None

    def raw(self, key: str) -> Any:
        """A value as it is, which something else checks; None: there is none."""
        self._read.add(key)
        return self._value.get(key)

    def present(self, *keys: str) -> dict[str, Any]:
        """Those of these keys that are there, with their values as they are: files have the same."""
        return {key: self.raw(key) for key in keys if key in self}

    def _of(self, key: str, kind: type | tuple[type, ...], wanted: str) -> Any:
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.complain(key, f"needs {wanted}")
            return None
        return value

    def text(self, key: str) -> str:
        """A text, or a number as such; empty: there is none."""
        value = self._of(key, (str, int), "a text")
        return "" if value is None else str(value)

    def number(self, key: str) -> int | None:
        found: int | None = self._of(key, int, "a whole number")
        return found

    def flag(self, key: str) -> bool | None:
        found: bool | None = self._of(key, bool, "true or false")
        return found

    def texts(self, key: str) -> list[str]:
        values = self._of(key, list, "a list") or []
        if not all(isinstance(value, str) for value in values):
            self.complain(key, "needs a list of texts")
            return []
        return list(values)

    def part(self, key: str) -> Part | None:
        value = self._of(key, dict, "keys and values")
        return None if value is None else Part(value, self.at(key), self._complain)

    def parts(self, key: str) -> list[Part]:
        values = self._of(key, list, "a list") or []
        return [Part(value, f"{self.at(key)}[{index}]", self._complain) for index, value in enumerate(values)]

    def end(self) -> None:
        """Report the keys that nothing has read: they would have no effect."""
        for key in self._value:
            if key not in self._read and self._value[key] is not None:
                self.complain(key, f"unknown key {key!r} ({nearest(key, sorted(self._read))})")
