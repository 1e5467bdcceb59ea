"""The data plane as a worker drives it: the engine, what tables are compiled from, and what watches its requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Mapping
from typing import Any

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.respond import Ping
from lbcore.observability.watch import Watch
from lbcore.routing.compile import Table, compile_table
from lbcore.routing.queue import WaitQueue, adopt
from lbcore.routing.server import Server
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap
from lbcore.transport.engine import Engine
from lbcore.transport.reactor import Reactor

_log = logging.getLogger("lbcore.access_log")


class DataPlane:
    """Lives on one event loop (uvloop's or asyncio's) and is called from its thread alone, but for `prepare`.

    region  the shared state; `worker` is the row of this worker in it.
    admin   URL of the server behind `api@internal`; empty: there is none.
    Raises OSError when the access log cannot be opened.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, static: StaticConfig, region: Region, worker: int, admin: str = ""
    ) -> None:
        self._loop = loop
        self._static = static
        self._region = region
        self._worker = worker
        self._admin = admin
        self._ping = Ping()
        self._challenges = Challenges()
        self._servers: dict[str, Server] = {}  # by identity, of the table in force
        self._queues: dict[str, WaitQueue] = {}  # by the name of their service, likewise
        self._watch = Watch(static, region, worker, self._say)
        self._engine = Engine(loop, static, region, worker, self._watch.observer)

    def _say(self, level: int, text: str) -> None:
        """Put something into the log of this process, from another thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_log.log, level, text)

    @property
    def reactor(self) -> Reactor:
        return self._engine.reactor

    @property
    def connections(self) -> int:
        """Open client connections; 0 = drained."""
        return self._engine.connections

    def connections_of(self, entry_point: str) -> int:
        """Those of one entry point."""
        return self._engine.connections_of(entry_point)

    def share_loop(self) -> None:
        """The loop runs other tasks, too: the data plane holds them up no longer than it must."""
        self._engine.share_loop()

    def listen(self, entry_point: str, sock: socket.socket) -> Any:
        """Start accepting on a bound, listening, non-blocking socket, which is the data plane's from now on.

        Returns what `close_listener` takes.
        """
        return self._engine.listen(entry_point, sock)

    def close_listener(self, listener: Any) -> None:
        """Stop accepting on what `listen` gave; the others go on."""
        self._engine.close_listener(listener)

    def prepare(self, dynamic: DynamicConfig, slots: SlotMap) -> Table:
        """Compile a configuration to a table, for `commit`.

        What cannot run is left out alone, and stands in `disabled` of the table. Nothing that runs is changed, so that
        a table may be dropped, and the loop may go on in another thread. Servers that stay are those of the table in
        force.
        """
        table = compile_table(
            dynamic,
            self._static,
            slots,
            self._region,
            self._worker,
            self._servers,
            self._ping,
            self._admin,
            challenges=self._challenges,
        )
        if table.speaks_tls:
            import lbcore.transport.tls  # noqa: F401 -- what fails here is refused; `commit` may not fail
        return table

    def commit(self, table: Table) -> None:
        """Route by a table of `prepare`; requests under way end on the one they began with.

        No other table may have been committed since it was prepared. Servers that stay keep their state and their idle
        connections.
        """
        table.take_effect()
        self._queues = adopt(self._queues, table.balancers)
        self._engine.install(table)
        self._servers = dict(table.servers)

    def reopen_log(self) -> None:
        """Open the access log anew: it was moved aside."""
        self._watch.reopen()

    def set_challenges(self, texts: Mapping[str, str], certificates: Mapping[str, tuple[str, str]]) -> None:
        """Answer these challenges of certificate authorities from now on, and no others.

        texts         by token: what http-01 is answered with.
        certificates  by name: certificate and key of the handshakes of tls-alpn-01, as PEM.
        """
        pairs: dict[bytes, Any] = {}
        if certificates:
            from lbcore.tls.contexts import Pair

            pairs = {name.encode(): Pair(text.encode(), key.encode()) for name, (text, key) in certificates.items()}
        self._challenges.replace({token.encode(): text.encode() for token, text in texts.items()}, pairs)

    def terminate(self) -> None:
        """Say through ping that this instance is about to stop; everything else goes on."""
        if self._static.ping is not None:
            self._ping.terminate(self._static.ping.terminating_status_code)

    def stop_accepting(self) -> None:
        """Close the listening sockets of this process."""
        self._engine.stop_accepting()

    def leave(self, entry_point: str) -> None:
        """Close the listening sockets of an entry point and drain it; the others go on."""
        self._engine.leave(entry_point)

    def drain(self) -> None:
        """Close idle connections now and the others when their exchange has ended."""
        self._engine.drain()

    def cut(self, entry_point: str) -> None:
        """Close the connections of an entry point at once."""
        self._engine.cut(entry_point)

    def close(self) -> None:
        """Close everything at once. Safe to call twice."""
        self._engine.close()
        self._watch.close()
