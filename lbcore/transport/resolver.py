"""Names of servers to socket addresses: asked again as they age, so that a moved server is found without a reload."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from lbcore.transport.address import packed_address

FRESH_S = 5.0  # how long an answer is used
Addresses = tuple[bytes, ...]  # socket addresses as the kernel takes them, the preferred one first
Found = Callable[[Addresses | None], None]

_log = logging.getLogger("lbcore.transport")


class Resolver:
    """Asks the system's resolver in a thread of the loop, once for all who wait for the same name."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answers: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._waiting: dict[tuple[str, int], list[Found]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def known(self, host: str, port: int) -> Addresses | None:
        """The addresses of what needs no resolving: an IP address, or with port 0 the path of a Unix socket."""
        if port == 0:
            try:
                return (packed_address(socket.AF_UNIX, host),)
            except ValueError as error:
                _log.warning("cannot connect to %s: %s", host, error)
                return ()
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return None
        # The system reads it, too: it knows the zone of a link-local address.
        return _packed(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))

    def resolve(self, host: str, port: int, found: Found) -> None:
        """Call `found` with the addresses, the preferred one first, or None; at once when the answer is fresh."""
        key = (host, port)
        answer = self._answers.get(key)
        if answer is not None and time.monotonic() - answer[0] < FRESH_S:
            found(answer[1])
        elif key in self._waiting:
            self._waiting[key].append(found)
        else:
            self._waiting[key] = [found]
            task = self._loop.create_task(self._ask(host, port))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, host: str, port: int) -> None:
        key = (host, port)
        addresses: Addresses | None
        try:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = _packed(infos)
            self._answers[key] = (time.monotonic(), addresses)
        except (OSError, UnicodeError) as error:
            _log.warning("cannot resolve %s: %s", host, error)
            addresses = self._answers[key][1] if key in self._answers else None
        for found in self._waiting.pop(key):
            found(addresses)


def _packed(infos: list[Any]) -> Addresses:
    """From what `getaddrinfo` gives, each once."""
    return tuple(dict.fromkeys(packed_address(family, target) for family, _, _, _, target in infos))
