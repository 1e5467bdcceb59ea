"""Keys of TLS session tickets: of this instance alone, or shared with others, so that any of them resumes a session.

Shared keys have numbers by the clock, and another one twice a day. They are derived from a secret in a file, or are
kept in a Redis, where the instance that comes first makes the next one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import stat
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lbcore.config.blocking import BlockingCalls
from lbcore.config.network import is_redis
from lbcore.config.regular import read_regular
from lbcore.errors import Problem, message_of, system_message_of
from lbcore.state.region import Region
from lbcore.tls.tickets import TicketKeys

EPOCH_S = 12 * 3600.0  # that a key encrypts; two older ones still decrypt
KEY_BYTES = 80
LEAST_SECRET_BYTES = 32
LOOK_S = 60.0  # between two looks at the clock
AGAIN_S = 5.0  # after a failure
CALL_S = 5.0

_log = logging.getLogger("lbcore.process")

KeyOf = Callable[[int], bytes]


def ticket_key_problems(source: str) -> list[Problem]:
    """Why shared keys cannot be used. Asks no server."""
    try:
        key_source(source)
    except ValueError as error:
        return [Problem("tls.ticketKeys", str(error))]
    return []


async def keep_ticket_keys(region: Region, source: str) -> None:
    """Renew the keys in the shared region, until cancelled. `source`: of shared keys; empty: make them."""
    if not source:
        while True:
            await asyncio.sleep(EPOCH_S)
            region.rotate_ticket_keys()
    calls, epoch, complaint = BlockingCalls(), -1, ""
    while True:
        now_epoch = int(time.time() // EPOCH_S)
        if now_epoch != epoch:
            try:
                keys = await calls.run("ticket keys", 4 * CALL_S, functools.partial(keys_of, source, now_epoch))
                TicketKeys(region).use(now_epoch, keys)
                epoch, complaint = now_epoch, ""
            except Exception as error:
                text = message_of(error)
                if text != complaint:
                    complaint = text
                    _log.error("the shared keys of session tickets are not known, the present ones stay: %s", text)
        await asyncio.sleep(LOOK_S if epoch == now_epoch else AGAIN_S)


def keys_of(source: str, epoch: int) -> list[bytes]:
    """The keys of an epoch and of the two before it, oldest first. Blocks. Raises ValueError, or errors of a client."""
    key_of = key_source(source)
    return [key_of(number) for number in range(epoch - 2, epoch + 1)]


def key_source(source: str) -> KeyOf:
    """A function from the number of an epoch to its key. Raises ValueError."""
    return _in_redis(source) if is_redis(source) else _from_secret(source) if source else lambda epoch: b""


def _from_secret(file: str) -> KeyOf:
    try:
        data, status = read_regular(file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {system_message_of(error)}") from None
    secret, is_open = data.strip(), bool(status.st_mode & stat.S_IROTH)
    if len(secret) < LEAST_SECRET_BYTES:
        raise ValueError(f"{file} has fewer than {LEAST_SECRET_BYTES} bytes: openssl rand -hex 32 makes a secret")
    if is_open:
        raise ValueError(f"{file}: all users of the system may read this secret: chmod 600 {file}")

    def key_of(epoch: int) -> bytes:
        info = f"lbcore session tickets {epoch}".encode()
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)

    return key_of


def _in_redis(url: str) -> KeyOf:
    try:
        import redis
    except ImportError:
        raise ValueError("keys in a Redis need the package redis: type pip install 'lbcore[redis]'") from None
    address, _, name = url.partition("#")
    limits: dict[str, Any] = {"socket_timeout": CALL_S, "socket_connect_timeout": CALL_S}
    try:
        client: Any = redis.Redis.from_url(address, **limits)
    except (ValueError, TypeError):  # whose text may hold a part of the password
        raise ValueError("the URL cannot be used: write redis://USER:PASSWORD@HOST:6379/0#NAME") from None

    def key_of(epoch: int) -> bytes:
        place = f"lbcore/tickets/{name or 'default'}/{epoch}"
        client.set(place, os.urandom(KEY_BYTES), nx=True, ex=int(4 * EPOCH_S))
        found = client.get(place)
        if not isinstance(found, bytes) or len(found) != KEY_BYTES:
            raise ValueError(f"what is at {place} is no key")
        return found

    return key_of
