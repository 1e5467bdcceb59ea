"""The admin server: serves the admin application on a Unix socket, to which the workers forward its requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
from typing import TYPE_CHECKING

from lbcore.config.static import StaticConfig

if TYPE_CHECKING:
    from lbcore.api.live import Live
    from lbcore.api.runtime import Runtime
    from lbcore.api.tap import Taps

STOP_S = 1.0


def is_wanted(static: StaticConfig) -> bool:
    """Whether the configuration needs the admin server."""
    has_metrics = static.metrics is not None and static.metrics.prometheus is not None
    return static.api is not None or static.providers.rest is not None or has_metrics


class AdminServer:
    """`url`: its address, for processes that inherit the descriptor `address`. No name in a folder leads to it, so that
    nothing is left of it, however the process ends."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._taps: Taps | None = None
        # Bound at once, so that requests before the start of the application wait for it.
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with tempfile.TemporaryDirectory(prefix="lbcore-") as folder:
            path = os.path.join(folder, "admin.sock")
            self._sock.bind(path)
            self.address = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._sock.listen(128)
        self.path = f"/proc/self/fd/{self.address}"
        self.url = f"unix:{self.path}"

    async def run(self, runtime: Runtime) -> None:
        """Serve until cancelled."""
        # Loaded while the workers start, and only by instances with an API or metrics.
        import uvicorn

        from lbcore.api.app import make_app
        from lbcore.api.live import Live
        from lbcore.api.tap import Taps

        live = self._live = Live(runtime) if runtime.static.api is not None else None
        taps = self._taps = Taps(runtime) if live is not None else None
        looking = asyncio.create_task(live.run(), name="lbcore live") if live is not None else None
        config = uvicorn.Config(
            make_app(runtime, live, taps), lifespan="off", log_config=None, access_log=False, server_header=False
        )
        # Its own events are of no interest to an operator, but its failures are.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        server = uvicorn.Server(config)
        # The supervisor handles signals.
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(server.serve([self._sock]), name="lbcore admin")
        try:
            await asyncio.shield(serving)
        finally:
            self.end_streams()
            if looking is not None:
                looking.cancel()
            server.should_exit = server.force_exit = True
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await serving

    def end_streams(self) -> None:
        """End what would go on for ever, so that the entry points can drain."""
        if self._live is not None:
            self._live.close()
        if self._taps is not None:
            self._taps.close()

    def close(self) -> None:
        """Close the socket. Safe to call twice."""
        self._sock.close()
        if self.address >= 0:
            os.close(self.address)
            self.address = -1
