"""The end of ejections: workers eject servers that fail, and this file ends the ejections when their time is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from lbcore.config.dynamic import PassiveHealthCheck
from lbcore.state.cells import CHECK, EJECTED
from lbcore.state.region import Region

POLL_S = 0.05

_log = logging.getLogger("lbcore.health")


@dataclass(frozen=True, slots=True)
class Watched:
    """A server that may be ejected."""

    slot: int
    service: str
    url: str
    check: PassiveHealthCheck


class Ejections:
    """Watches the shared cells. The n-th consecutive ejection of a server lasts 2**(n-1) windows.

    A successful active check does not end an ejection, because its request may succeed while others fail. A failed one
    keeps the server down.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._watched: Mapping[int, Watched] = {}
        self._out: set[int] = set()
        self._seen = -1
        self._hinted: list[int] = []
        self._followed: set[int] = set()  # those that were ejected by a hint
        self._hints: Collection[str] = ()

    def watch(self, servers: Mapping[int, Watched]) -> None:
        """Set the servers that may be ejected, by slot. The ejections of other servers end at once."""
        for slot in self._watched:
            if slot not in servers:
                self._region.set_up(slot, True, EJECTED)
        stay = {slot for slot, server in servers.items() if self._is_watched(slot, server)}
        self._out &= stay
        self._followed &= stay
        self._watched = servers
        self._seen = -1
        self.hint(self._hints)

    def _is_watched(self, slot: int, server: Watched) -> bool:
        before = self._watched.get(slot)
        return before is not None and (before.service, before.url) == (server.service, server.url)

    def hint(self, servers: Collection[str]) -> None:
        """Eject these servers (`service|URL`), which other instances have ejected, at their next failure here."""
        self._hints = servers
        found = {f"{watched.service}|{watched.url}": slot for slot, watched in self._watched.items()} if servers else {}
        self._hinted = [found[server] for server in servers if server in found]

    def found_out(self) -> list[str]:
        """The servers that are ejected because of what was seen here, as `service|URL`."""
        own = [self._watched[slot] for slot in self._out - self._followed]
        return [f"{server.service}|{server.url}" for server in own]

    async def run(self) -> None:
        """Poll until cancelled: O(1) while nothing changes."""
        while True:
            self._look()
            await asyncio.sleep(POLL_S)

    def _look(self) -> None:
        region = self._region
        for slot in self._hinted:
            if region.failures(slot) and not region.down_reasons(slot) and self._may_eject(slot) and region.eject(slot):
                self._followed.add(slot)
        if self._seen != region.eligibility:
            self._seen = region.eligibility
            out = {slot for slot in self._watched if region.down_reasons(slot) & EJECTED}
            for slot in out - self._out:
                server = self._watched[slot]
                _log.warning("Server ejected. service=%s url=%s", server.service, server.url)
            self._out = out
            self._followed &= out
        now_ns = time.monotonic_ns()
        for slot in self._out:
            server = self._watched[slot]
            if region.down_reasons(slot) & CHECK:
                continue
            if now_ns - region.changed_ns(slot) >= ejection_ns(server.check, region.ejections(slot)):
                region.try_again(slot)
                _log.info("Server is tried again. service=%s url=%s", server.service, server.url)

    def _may_eject(self, slot: int) -> bool:
        """Whether one more server of the same service may be ejected."""
        server = self._watched[slot]
        others = [other for other, watched in self._watched.items() if watched.service == server.service]
        out = 1 + sum(1 for other in others if self._region.down_reasons(other) & EJECTED)
        return out * 100 <= server.check.max_ejection_percent * len(others)


def ejection_ns(check: PassiveHealthCheck, times: int) -> int:
    """The duration in ns of consecutive ejection number `times`."""
    longest = max(check.max_ejection_time, check.failure_window)
    return int(min(check.failure_window * 2 ** min(times - 1, 20), longest).total_seconds() * 1e9)
