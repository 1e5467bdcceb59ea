"""Logs changes of services: which lose traffic or redundancy, and which recover."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from lbcore.api.condition import LOST, service_problems
from lbcore.api.runtime import Runtime
from lbcore.routing.compile import Table

LOOK_S = 0.5  # interval of checks whether any server has gone up or down, which are cheap if none has

_log = logging.getLogger("lbcore.health")


class ServiceWatch:
    """Compares the problems of services with the previous ones whenever a server changes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seen: tuple[int, Table | None] = (-1, None)
        self._known: dict[str, dict[str, Any]] = {}
        self._all_lost = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Log changes since the last look. Costs nothing if no server, weight or configuration has changed."""
        now = self._runtime.region.eligibility, self._runtime.table
        if now == self._seen or now[1] is None:
            return
        self._seen = now
        found = {problem["object"]: problem for problem in service_problems(self._runtime)}
        for about, problem in found.items():
            if self._known.get(about, {}).get("text") != problem["text"]:
                _log.warning("%s", problem["text"])
        for about in self._known.keys() - found.keys():
            _log.info("%s is well again", about)
        self._known = found
        lost = sum(problem["severity"] == LOST and problem["share"] == 1.0 for problem in found.values())
        services = sum(1 for _ in self._runtime.roots())
        all_lost = 0 < services == lost
        if all_lost and not self._all_lost:
            _log.warning("DOWN: none of the services that routers lead to has a server for a request")
        elif self._all_lost and not all_lost:
            _log.warning("UP: a service that routers lead to has servers again")
        self._all_lost = all_lost
