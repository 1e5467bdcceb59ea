"""How many instances there are: those that answer, or those that a name stands for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from urllib.parse import urlsplit

from lbcore.config.dynamic import HealthCheck
from lbcore.config.static.fleet import FleetPeers
from lbcore.health.probe import Probe, ProbeError, probe_for


class Peers:
    """The instances beside this one, by their addresses or by a name. Raises ValueError for addresses of no use."""

    def __init__(self, settings: FleetPeers) -> None:
        self._dns = settings.dns
        self._timeout_s = settings.timeout.total_seconds()
        self._probes = [_probe(url) for url in settings.addresses]
        self._asked: asyncio.Future[int] | None = None  # a question to the resolver that is under way

    async def count(self) -> int:
        """How many instances live now, this one among them. Raises OSError if that cannot be found out."""
        living = sum(await asyncio.gather(*(self._answers(probe) for probe in self._probes)))
        named = await self._resolved() if self._dns else 0
        return max(1 + living, named)

    async def _answers(self, probe: Probe) -> bool:
        with contextlib.suppress(OSError, ProbeError, TimeoutError, EOFError):
            async with asyncio.timeout(self._timeout_s):
                await probe()
            return True
        return False

    async def _resolved(self) -> int:
        """One question at a time: one that the resolver does not answer holds one thread, and no more."""
        if self._asked is None:
            self._asked = asyncio.get_running_loop().run_in_executor(None, _named, self._dns)
        done, _ = await asyncio.wait([self._asked], timeout=self._timeout_s)
        if not done:
            raise OSError(f"{self._dns} is not resolved in time")
        asked, self._asked = self._asked, None
        return asked.result()


def _named(name: str) -> int:
    """How many instances a name stands for: each may have an address of both families. Raises OSError."""
    found = {(family, place[0]) for family, _, _, _, place in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    return max(Counter(family for family, _ in found).values())


def _probe(url: str) -> Probe:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return probe_for(f"{parts.scheme}://{parts.netloc}", HealthCheck(path=path, status=200))
