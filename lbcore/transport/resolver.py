"""Resolution of server names to socket addresses. Answers age, so that a moved server is found without a reload."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import time
from collections.abc import Callable

from lbcore.errors import OUR_LACK
from lbcore.transport.address import packed_address

FRESH_S = 5.0  # an answer is used for this time
Addresses = tuple[bytes, ...]  # socket addresses in the kernel's form, the preferred one first
Found = Callable[[Addresses | None, bool], None]  # None: no addresses; and whether this process lacks a resource

_log = logging.getLogger("lbcore.transport")


class Resolver:
    """Asks the system's resolver in a thread of the loop, once for concurrent requests for the same name."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answers: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._waiting: dict[tuple[str, int], list[Found]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def known(self, host: str, port: int) -> Addresses | None:
        """The address of a host that needs no resolution, or None: an IP address; with port 0, a path."""
        if port == 0:
            try:
                return (packed_address(socket.AF_UNIX, host),)
            except ValueError as error:
                _log.warning("cannot connect to %s: %s", host, error)
                return ()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return None
        if address.version == 4:
            return (packed_address(socket.AF_INET, (host, port)),)
        # The system resolves zones, because the number of an interface changes when it is created anew.
        return None if address.scope_id else (packed_address(socket.AF_INET6, (host, port, 0, 0)),)

    def resolve(self, host: str, port: int, found: Found) -> bool:
        """Call `found` with the addresses, the preferred one first, or with None. Returns whether that has happened
        already, as it does if a fresh answer is known."""
        key = (host, port)
        answer = self._answers.get(key)
        if answer is not None and time.monotonic() - answer[0] < FRESH_S:
            found(answer[1], False)
            return True
        if key in self._waiting:
            self._waiting[key].append(found)
        else:
            self._waiting[key] = [found]
            task = self._loop.create_task(self._ask(host, port))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return False

    async def _ask(self, host: str, port: int) -> None:
        key = (host, port)
        addresses: Addresses | None
        lacking = False
        try:
            infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # The resolver may return an address several times.
            packed = (packed_address(family, target) for family, _, _, _, target in infos)
            addresses = tuple(dict.fromkeys(packed))
            self._answers[key] = (time.monotonic(), addresses)
        except (OSError, ValueError) as error:  # ValueError: an invalid name
            _log.warning("cannot resolve %s: %s", host, error)
            addresses = self._answers[key][1] if key in self._answers else None
            lacking = addresses is None and (getattr(error, "errno", None) in OUR_LACK or not _can_open())
        for found in self._waiting.pop(key):
            found(addresses, lacking)


def _can_open() -> bool:
    """Whether a descriptor is free: without one, the resolver fails for every name as if that did not exist."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True
