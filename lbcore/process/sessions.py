"""The open sessions of one worker, as the control channel carries them: what is asked for, and what is told of each.

The id of a session is `RUN.NUMBER`, that of a stream in it `RUN.NUMBER.STREAM`. RUN stands for one process of a worker,
so that no other session has ever had the same id.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lbcore.transport.engine import SessionFilter

if TYPE_CHECKING:
    from lbcore.transport.engine import Engine, Session

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
CLOSED_AT_ONCE = 200  # sessions, until it is the turn of traffic
TCP_TIMES = struct.Struct("=4xI4xI")  # of `struct tcp_info`, from byte 40 on: ms since data was sent, and received
TCP_BYTES = struct.Struct("=QQ")  # from byte 120 on: acknowledged by the peer, received
TIMES_AT, BYTES_AT = 40, 120

_log = logging.getLogger("lbcore.process.worker")


def run_of(worker: int) -> str:
    """A name for this process: no other process of this worker, of this instance or an earlier one, has it."""
    number, text = time.time_ns() // 1_000_000, ""
    while number:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return f"{worker}-{text}"


class Sessions:
    """Lists and ends the sessions of an engine."""

    def __init__(self, engine: Engine, worker: int) -> None:
        self._engine = engine
        self.run = run_of(worker)

    def listed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of sessions: `found`, how many fit; `sessions`, `limit` of these, the newest or the oldest ones.
        Streams have the place of their connection."""
        wanted, engine = self._filter(asked), self._engine
        if wanted is None:
            return {"found": 0, "sessions": []}
        found = engine.sessions(wanted)
        choose = heapq.nsmallest if asked["order"] == "oldest" else heapq.nlargest
        chosen = choose(int(asked["limit"]), found)  # no two have the same numbers
        views = [self._view(engine.describe(wanted, session, stream)) for _, stream, session in chosen]
        return {"found": len(found), "sessions": views}

    async def close(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """End sessions, some at a time: `closed`, their number. What has ended meanwhile, or begun, does not matter."""
        wanted, closed = self._filter(asked), 0
        done: set[tuple[int, int]] = set()
        rounds = len(self._engine.sessions(wanted)) // CLOSED_AT_ONCE + 1 if wanted is not None else 0
        for _ in range(rounds):
            closed += self._end_some(wanted, done)
            await asyncio.sleep(0)
        return {"closed": closed}

    def _end_some(self, wanted: SessionFilter | None, done: set[tuple[int, int]]) -> int:
        """`done`: the sessions and streams that were ended before. Some are open still: their last answer waits
        for a middleware, or for a client that takes it."""
        ended = 0
        for number, stream, session in self._engine.sessions(wanted) if wanted is not None else ():
            if ended >= CLOSED_AT_ONCE:
                break
            if (number, stream) in done:
                continue
            done.add((number, stream))
            try:
                ended += self._engine.end_session(session, stream)
            except Exception as error:
                _log.error("internal error while closing a session", exc_info=error)
        return ended

    def _filter(self, asked: Mapping[str, Any]) -> SessionFilter | None:
        """None: none of this process can fit."""
        kinds, points, routers, services, servers = (
            frozenset(asked[key]) if key in asked else None
            for key in ("kinds", "points", "routers", "services", "servers")
        )
        ids: dict[int, frozenset[int] | None] | None = None
        if "ids" in asked:
            ids = self._numbers(asked["ids"])
            if not ids:
                return None
        external = bool(asked.get("external"))
        return SessionFilter((ids, kinds, points, routers, services, servers, asked.get("clients"), external))

    def _numbers(self, ids: list[str]) -> dict[int, frozenset[int] | None]:
        """The sessions of this process that are named: themselves, or streams of theirs."""
        streams: dict[int, set[int]] = {}
        whole: set[int] = set()
        for id in ids:
            run, number, stream = parsed(id)
            if run != self.run:
                continue
            if stream is None:
                whole.add(number)
            else:
                streams.setdefault(number, set()).add(stream)
        return {**{key: frozenset(value) for key, value in streams.items()}, **dict.fromkeys(whole)}

    def _view(self, session: Session) -> dict[str, Any]:
        (number, stream, kind, client, port, point, router, service, server, encrypted, age_ms, idle_ms, bytes_in,
         bytes_out, streams, requests, info) = session  # fmt: skip
        connection = f"{self.run}.{number}"
        if len(info) >= TIMES_AT + TCP_TIMES.size:
            idle_ms = min(TCP_TIMES.unpack_from(info, TIMES_AT))
        if len(info) >= BYTES_AT + TCP_BYTES.size:
            bytes_out, bytes_in = TCP_BYTES.unpack_from(info, BYTES_AT)
        view: dict[str, Any] = {
            "id": connection if stream < 0 else f"{connection}.{stream}",
            "kind": kind,
            "client": f"[{client}]:{port}" if ":" in client else f"{client}:{port}" if client else "",
            "entryPoint": point,
            "tls": encrypted,
            "ageMs": max(0, age_ms),
            "bytesIn": bytes_in,
            "bytesOut": bytes_out,
        }
        if stream >= 0:
            view["connection"] = connection
        if idle_ms >= 0:
            view["idleMs"] = idle_ms
        if kind in ("http2", "http3"):
            view["streams"] = streams
        if requests:
            view["requests"] = requests
        return view | {
            key: name for key, name in (("router", router), ("service", service), ("server", server)) if name
        }


def parsed(id: str) -> tuple[str, int, int | None]:
    """An id in its parts: run, number, stream. Raises ValueError."""
    run, *numbers = id.split(".")
    right = run and len(run) < 40 and len(numbers) in (1, 2)
    if not right or not all(each.isascii() and each.isdigit() and len(each) < 20 for each in numbers):
        raise ValueError(f"{id[:80]!r} is not the id of a session")
    return run, int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else None
