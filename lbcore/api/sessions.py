"""What is open: connections, streams, tunnels and sessions, as the workers tell on request; and the end of some.

Nothing is kept here: each request asks all workers, which look at what is open at that moment.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from lbcore.api import audit
from lbcore.api.refused import RefusedError
from lbcore.api.runtime import LAYERS, Runtime
from lbcore.observability.tap import is_named

LIMIT = 100
MOST = 1000  # sessions that one answer lists
MOST_IDS = 1000
MOST_LETTERS = 2048
ALARMING = 100  # sessions beyond which a filter needs `force`
KINDS = ("http1", "http2", "http3", "stream", "upgrade", "tcp", "udp", "handshake")
ORDERS = ("newest", "oldest")
FILTERS = ("kind", "entrypoint", "router", "service", "server", "client")
REST = 4  # workers rest so many times as long as they have taken for a list, before they make the next one
LONGEST_REST_S = 1.0
MOST_WAITING = 16  # lists that wait for their turn
SCHEMES = ("http://", "https://", "h2c://")


def filters_of(runtime: Runtime, given: Mapping[str, Any]) -> dict[str, Any]:
    """The sessions that are asked for by FILTERS, in the form of `process.sessions`. Raises RefusedError."""
    for key, value in given.items():
        if not isinstance(value, str):
            raise RefusedError(400, f"{key} is no text")
        if len(value) > MOST_LETTERS:
            raise RefusedError(400, f"{key}: more than {MOST_LETTERS} letters")
        if not is_text(value):
            raise RefusedError(400, f"{key} is no text")
    found: dict[str, Any] = {}
    if kind := given.get("kind"):
        if kind not in KINDS:
            raise RefusedError(400, f"no such kind: {kind}; known: {', '.join(KINDS)}")
        found["kinds"] = [kind]
    if point := given.get("entrypoint"):
        if point not in runtime.static.entry_points:
            known = ", ".join(runtime.static.entry_points)
            raise RefusedError(404, f"entry point not found: {point}; known: {known}")
        found["points"] = [point]
    if router := given.get("router"):
        found["routers"] = _named(router, (name for layer in LAYERS for name in runtime.routers_of(layer)))
    if service := given.get("service"):
        found["services"] = _named(service, (name for layer in LAYERS for name in runtime.services_of(layer)))
    if server := given.get("server"):
        found["servers"] = _servers(server)
    if client := given.get("client"):
        try:
            found["clients"] = [str(ip_network(client, strict=False))]
        except ValueError:
            raise RefusedError(400, f"client: {client!r} is neither an address nor a network") from None
    return found


def is_text(value: str) -> bool:
    """Whether it is one in UTF-8: JSON can name halves of letters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(wanted: str, names: Iterable[str]) -> list[str]:
    """The names that are meant: one without a provider is that of each provider. What is not configured any more may
    have sessions still."""
    return sorted({wanted, *(name for name in names if is_named(name, wanted))})


def _servers(wanted: str) -> list[str]:
    """The keys of servers that are meant: an address stands for all schemes."""
    wanted = wanted.rstrip("/")
    keys = [wanted] if "://" in wanted else [wanted, *(scheme + wanted for scheme in SCHEMES)]
    return [*keys, *(f"{key}/" for key in keys)]


class Turns:
    """Makes lists of sessions one after the other, with rests between them: a worker looks at all that is open in the
    loop that serves its clients, and whoever may read the API may ask for any number of lists."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._free_s = 0.0

    async def list(self, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """`list_sessions`. Raises RefusedError."""
        if self._waiting >= MOST_WAITING:
            raise RefusedError(503, f"{MOST_WAITING} lists of sessions are asked for already")
        self._waiting += 1
        try:
            async with self._turn:
                await asyncio.sleep(max(0.0, self._free_s - time.monotonic()))
                began_s = time.monotonic()
                try:
                    return await list_sessions(self._runtime, pairs)
                finally:
                    now_s = time.monotonic()
                    self._free_s = now_s + min(LONGEST_REST_S, REST * (now_s - began_s))
        finally:
            self._waiting -= 1


async def list_sessions(runtime: Runtime, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What is open: `sessions`, the newest or the oldest ones; `found`, how many fit; `silent`, the workers that have
    not answered. Raises RefusedError."""
    given: dict[str, str] = {}
    for key, value in pairs:
        if key not in (*FILTERS, "limit", "order"):
            raise RefusedError(400, f"no such filter: {key}; there are {', '.join(FILTERS)}, and limit and order")
        given[key] = value
    order, text = given.pop("order", "") or "newest", given.pop("limit", "") or str(LIMIT)
    if order not in ORDERS:
        raise RefusedError(400, f"no such order: {order}; known: {', '.join(ORDERS)}")
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST):
        raise RefusedError(400, f"limit: {text!r} is no number between 1 and {MOST}")
    asked = {"act": "list", **filters_of(runtime, given), "limit": int(text), "order": order}
    answers, silent = await runtime.ask_workers(asked)
    sessions = sorted(
        (session for answer in answers for session in answer["sessions"]),
        key=lambda session: session["ageMs"],
        reverse=order == "oldest",
    )
    return {"sessions": sessions[: int(text)], "found": sum(answer["found"] for answer in answers), "silent": silent}


async def close_sessions(runtime: Runtime, given: Mapping[str, Any], asker: str) -> dict[str, Any]:
    """End sessions, by `ids` or by FILTERS. Returns how many were ended, and what to say. Raises RefusedError."""
    if unknown := [key for key in given if key not in (*FILTERS, "ids", "force")]:
        name = unknown[0].encode(errors="replace").decode()
        raise RefusedError(400, f"no such filter: {name}; there are ids and {', '.join(FILTERS)}, and force")
    force = given.get("force") is True
    named = {key: given[key] for key in FILTERS if given.get(key)}
    asked = filters_of(runtime, named)
    if "ids" in given:
        asked["ids"] = _ids(given["ids"])
        what = ", ".join(asked["ids"][:10]) + (f" and {len(asked['ids']) - 10} more" if len(asked["ids"]) > 10 else "")
    else:
        if not asked:
            raise RefusedError(400, f"needs ids of sessions, or one of {', '.join(FILTERS)}")
        what = ", ".join(f"{key} {value}" for key, value in named.items())
        asked["external"] = True  # the request that asks for this, for one, goes on
        if not force:
            answers, _ = await runtime.ask_workers({"act": "list", **asked, "limit": 0, "order": "newest"})
            if (count := sum(answer["found"] for answer in answers)) > ALARMING:
                raise RefusedError(409, f"{count} sessions would be closed: {what}", True)
    answers, silent = await runtime.ask_workers({"act": "close", **asked})
    closed = sum(answer["closed"] for answer in answers)
    text = f"{closed} session{'' if closed == 1 else 's'} closed: {what}"
    if silent:
        text += f"; worker{'s' if len(silent) > 1 else ''} {', '.join(map(str, silent))} did not answer"
    audit.log.info("sessions: %s (by %s)", text, asker)
    return {"message": text, "closed": closed, "silent": silent}


def _ids(ids: Any) -> list[str]:
    if not isinstance(ids, Sequence) or isinstance(ids, str) or not all(isinstance(each, str) for each in ids):
        raise RefusedError(400, "ids is a list of texts")
    if not 0 < len(ids) <= MOST_IDS:
        raise RefusedError(400, f"between 1 and {MOST_IDS} ids can be given")
    for each in ids:
        run, *numbers = each.split(".")
        right = run and each.isascii() and len(run) < 40 and len(numbers) in (1, 2)
        if not right or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in numbers):
            raise RefusedError(400, f"{each[:80]!r} is not the id of a session")
    return list(ids)
