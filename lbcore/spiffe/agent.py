"""Follows the Workload API of SPIFFE: the identity of this instance, and the bundles of the trust domains.

What the API has said last stays in force while it is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from lbcore.config.spiffe import Identity
from lbcore.config.static import WorkloadApi
from lbcore.errors import ConfigError, Problem
from lbcore.spiffe.messages import identity_in

ENVIRONMENT = "SPIFFE_ENDPOINT_SOCKET"
WAITS_S = (0.5, 30.0)  # after failures in a row: the first, and the longest
METHOD = "/SpiffeWorkloadAPI/FetchX509SVID"
HEADER = ("workload.spiffe.io", "true")  # which a browser that was tricked could not send
LIMIT_BYTES = 4 << 20  # of a message

_log = logging.getLogger("lbcore.spiffe")


def problems_of(settings: WorkloadApi) -> list[Problem]:
    """Why the Workload API cannot be followed. Asks nobody."""
    try:
        import grpc  # noqa: F401
    except ImportError:
        return [Problem("spiffe", "needs the package grpcio, which is missing", "type: pip install 'lbcore[spiffe]'")]
    if not _address(settings):
        return [Problem("spiffe.workloadAPIAddr", "is missing", f"set it, or {ENVIRONMENT} in the environment")]
    return []


def _address(settings: WorkloadApi) -> str:
    return settings.workload_api_addr or os.environ.get(ENVIRONMENT, "")


class IdentityAgent:
    """Calls `set_identity` with each identity that the Workload API gives. Raises ConfigError if it cannot be asked."""

    def __init__(self, settings: WorkloadApi, set_identity: Callable[[Identity], None]) -> None:
        if problems := problems_of(settings):
            raise ConfigError(problems)
        self._address = _address(settings)
        self._set_identity = set_identity
        self._complaint = ""

    async def run(self) -> None:
        """Follow the API, until cancelled."""
        wait_s = WAITS_S[0]
        while True:
            if await self._follow():
                wait_s = WAITS_S[0]
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, WAITS_S[1])

    async def _follow(self) -> bool:
        """Follow one stream of the API to its end. Returns whether it has said anything."""
        import grpc

        messages: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        loop, has_spoken = asyncio.get_running_loop(), False
        target = self._address.removeprefix("tcp://")
        options = [("grpc.max_receive_message_length", LIMIT_BYTES), ("grpc.enable_http_proxy", 0)]
        channel = grpc.insecure_channel(target, options)
        stream: Any = channel.unary_stream(METHOD)(b"", metadata=(HEADER,))

        def read() -> None:
            try:
                for message in stream:
                    loop.call_soon_threadsafe(messages.put_nowait, message)
                raise EOFError("the stream has ended")
            except Exception as error:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(messages.put_nowait, error)

        threading.Thread(target=read, name="lbcore spiffe", daemon=True).start()
        try:
            while True:
                message = await messages.get()
                if isinstance(message, Exception):
                    raise message
                identity = await asyncio.to_thread(identity_in, message)
                has_spoken, self._complaint = True, ""
                names = ", ".join(sorted(identity.bundles))
                _log.info("the Workload API gives an identity, and trust bundles of %s", names)
                self._set_identity(identity)
        except (grpc.RpcError, EOFError, ValueError) as error:
            self._complain(error)
        finally:
            stream.cancel()
            channel.close()
        return has_spoken

    def _complain(self, error: Exception) -> None:
        details = getattr(error, "details", None)
        text = " ".join(str(details() if callable(details) else error).split()) or type(error).__name__
        if text != self._complaint:
            self._complaint = text
            _log.error("the Workload API at %s cannot be followed, what it said last stays: %s", self._address, text)
