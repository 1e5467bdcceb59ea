"""One who watches an instance: reads the stream of the API, and holds what it says of each node."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

View = dict[str, Any]


class Stream:
    """`nodes`: what the events so far make of each that is not idle and well; `events`: all of them, by name."""

    def __init__(self, port: int, path: str = "/api/live", headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("GET", path, headers=headers or {})
        self.port: int = self._connection.sock.getsockname()[1]  # its own
        self.answer = self._connection.getresponse()
        self.nodes: dict[str, View] = {}
        self.totals: View = {}
        self.events: list[tuple[str, View]] = []

    def next(self) -> tuple[str, View] | None:
        """The next event; None: the stream has ended."""
        name = ""
        while line := self.answer.readline():
            text = line.decode().rstrip("\n")
            if text.startswith("event: "):
                name = text.removeprefix("event: ")
            elif text.startswith("data: "):
                data = json.loads(text.removeprefix("data: "))
                self.take(name, data)
                return name, data
        return None

    def take(self, name: str, data: View) -> None:
        self.events.append((name, data))
        if name == "state":
            self.nodes = dict(data["nodes"])
        if name in ("state", "change"):
            self.totals = data["totals"]
            for id, view in data["nodes"].items():
                if view is None:
                    self.nodes.pop(id, None)
                else:
                    self.nodes[id] = view

    def until(self, found: Callable[[], object], what: str, timeout_s: float = 60) -> Any:
        """Read until `found` is true, which is returned."""
        give_up = time.monotonic() + timeout_s
        while not (result := found()):
            assert time.monotonic() < give_up, f"not within {timeout_s:g} s: {what}; nodes: {self.nodes}"
            assert self.next() is not None, f"the stream has ended before: {what}"
        return result

    def event(self, name: str) -> View:
        """The next event of that name."""
        while (found := self.next()) is not None:
            if found[0] == name:
                return found[1]
        raise AssertionError(f"the stream has ended before: {name}")

    def close(self) -> None:
        self._connection.close()
