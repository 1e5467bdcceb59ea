"""The data plane of one worker: the engine, the compilation of its tables, and the observer of its requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.respond import Ping
from lbcore.native.slices import give_way
from lbcore.observability.watch import Watch
from lbcore.process.sessions import Sessions
from lbcore.routing.compile import compile_table
from lbcore.routing.queue import WaitQueue, adopt
from lbcore.routing.server import Server
from lbcore.routing.table import Table, release
from lbcore.state.holdings import State
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap
from lbcore.transport.engine import Engine
from lbcore.transport.reactor import Reactor

LARGE = 500  # servers of a table that is freed in a thread, because it takes longer than a request may wait
UNLIMITED = 1 << 40  # clients, where descriptors have no limit

_log = logging.getLogger("lbcore.access_log")


class DataPlane:
    """Runs on one event loop (uvloop's or asyncio's). Only `prepare` may be called from another thread.

    region  the shared state; `worker` is the row of this worker in it.
    admin   URL of the server behind `api@internal`; empty = there is none.
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
        self._ping_fails = self._terminates = False
        self._challenges = Challenges()
        self._staples: dict[str, bytes] = {}  # OCSP responses, by the fingerprint of their certificate
        self._state = State(region, worker, loop)
        self._servers: Mapping[str, Server] = {}  # of the table in force, by identity
        self._table: Table | None = None  # in force
        self._queues: dict[str, WaitQueue] = {}  # of the table in force, by service
        self._unlimited: set[str] = set()  # services whose queue empties itself, since they have no limits any more
        self._watch = Watch(static, region, worker, self._say)
        self._engine = Engine(loop, static, region, worker, self._watch.observer, self._watch.tracer, self._watch.tap)
        self._sessions = Sessions(self._engine, worker)

    def _say(self, level: int, text: str) -> None:
        """Log from another thread."""
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
        """Open client connections of one entry point."""
        return self._engine.connections_of(entry_point)

    def share_loop(self) -> None:
        """Declare that other tasks use the loop as well, so that the data plane shortens its turns."""
        self._engine.share_loop()

    def listen(self, entry_point: str, sock: socket.socket, adopted: bool = False) -> Any:
        """Start accepting on a bound, listening, non-blocking socket, or reading one of UDP, whose ownership passes to
        the data plane.

        adopted  it is that of another worker, which cannot.
        Returns the argument for `close_listener`.
        """
        return self._engine.listen(entry_point, sock, adopted)

    def close_listener(self, listener: Any) -> None:
        """Stop accepting on a listener that `listen` returned; other listeners continue."""
        self._engine.close_listener(listener)

    def prepare(self, dynamic: DynamicConfig, slots: SlotMap, give_way: Callable[[], None] = lambda: None) -> Table:
        """Compile a configuration to a table, for `commit`.

        Objects that cannot run are left out, and listed in `disabled` of the table. Running objects do not change, so
        the table may be dropped, and the loop may continue in another thread. Servers that are in the table in force
        are the same objects. `give_way` is called between steps.
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
            staples=self._staples,
            state=self._state,
            before=self._table,
            give_way=give_way,
        )
        if table.speaks_tls:
            import lbcore.transport.tls  # noqa: F401 -- a failure here is a refusal; `commit` must not fail
        return table

    def commit(self, table: Table) -> None:
        """Route by a table of `prepare`. Requests under way finish by the previous table.

        No other table may have been committed since it was prepared. Servers that are in both tables keep their state
        and their idle connections. The cost is that of what is new in it.
        """
        table.take_effect()
        names = {*self._queues, *table.queued} if table.requeued is None else {*table.requeued, *self._unlimited}
        balancers = {name: table.balancers.get(name) for name in names}
        adopt(self._queues, balancers)
        waiting = ((name, each) for name, each in balancers.items() if each is not None and name in self._queues)
        self._unlimited = {name for name, each in waiting if each.queue is None}
        self._engine.install(table)
        self._servers = table.servers
        before, self._table = self._table, table
        if before is not None and len(before.servers) > LARGE:
            pieces = [*before.pieces(), before]
            del before
            self._loop.run_in_executor(None, release, pieces, give_way)

    def reopen_log(self) -> None:
        """Reopen the access log, because its file was moved aside."""
        self._watch.reopen()

    def set_challenges(self, texts: Mapping[str, str], certificates: Mapping[str, tuple[str, str]]) -> None:
        """Answer these challenges of certificate authorities from now on, and no others.

        texts         the answers to http-01, by token.
        certificates  certificate and key for the handshakes of tls-alpn-01, as PEM, by name.
        """
        pairs: dict[bytes, Any] = {}
        if certificates:
            from lbcore.tls.certificate import Pair

            pairs = {name.encode(): Pair(text.encode(), key.encode()) for name, (text, key) in certificates.items()}
        self._challenges.replace({token.encode(): text.encode() for token, text in texts.items()}, pairs)

    def set_taps(self, watches: Sequence[Mapping[str, Any]]) -> None:
        """Show single requests to these watches (`observability.tap`), and to no others."""
        if self._watch.tap is not None:
            self._watch.tap.follow(watches)

    async def sessions(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """List open sessions, or end some of them, as `act` says: see `process.sessions`."""
        return await self._sessions.close(asked) if asked["act"] == "close" else self._sessions.listed(asked)

    def set_staples(self, added: Mapping[str, bytes], gone: Sequence[str]) -> None:
        """Staple these OCSP responses, by the fingerprint of their certificate, and those of `gone` no more."""
        for name in gone:
            self._staples.pop(name, None)
        self._staples.update(added)

    def follow_log_level(self) -> None:
        """Do what the level of the log asks for, after it was changed."""
        if self._watch.follow_log_level():
            self._engine.watch(self._watch.observer)

    def memory(self) -> dict[str, dict[str, int | None]]:
        """What this process keeps for its next use, and its connections. O(servers)."""
        found: dict[str, dict[str, int | None]] = {name: {**part} for name, part in self._engine.memory().items()}
        connections = found["connections"]
        connections["mostClients"] = most if (most := connections["mostClients"] or 0) < UNLIMITED else None
        return found

    def fail_ping(self, fails: bool) -> None:
        """Answer pings as `terminate` does, or as usual again."""
        self._ping_fails = fails
        self._set_ping()

    def terminate(self) -> None:
        """Answer pings with the status of an instance that is about to stop; everything else continues."""
        self._terminates = True
        self._set_ping()

    def _set_ping(self) -> None:
        if self._static.ping is not None:
            fails = self._ping_fails or self._terminates
            self._ping.answer_with(self._static.ping.terminating_status_code if fails else 200)

    def stop_accepting(self) -> None:
        """Close the listening sockets of this process."""
        self._engine.stop_accepting()

    def leave(self, entry_point: str) -> None:
        """Close the listening sockets of an entry point and drain it; other entry points continue."""
        self._engine.leave(entry_point)

    def drain(self) -> None:
        """Close idle connections now, and the others when their exchange has ended."""
        self._engine.drain()

    def cut(self, entry_point: str) -> None:
        """Close the connections of an entry point at once."""
        self._engine.cut(entry_point)

    def close(self) -> None:
        """Close everything at once. Safe to call twice."""
        self._engine.close()
        self._watch.close()
