"""Connections of one worker to Redis or Valkey, and calls of scripts there.

A connection carries many calls at once; another one is opened when those that are open have much to do. A call that
cannot be sent now is refused at once: a store that has failed, or does not reply, is dialed in the background, with
pauses, and nobody waits for that. A cluster needs no other settings: where a key lies is told by its servers.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import hashlib
import ipaddress
import logging
import random
import re
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

from lbcore.config.tls import ServerTls
from lbcore.store.resp import MOST_BYTES, Refusal, Replies, Reply, command
from lbcore.store.secure import context_of

BUSY = 32  # calls under way on each connection, from which on another one is opened
MOST_CONNECTIONS = 10  # of a worker to a server, where nothing is set
MOST_WAITING = 1000  # calls that wait for a connection
MOST_NODES = 1024  # servers of a cluster
MOST_TRIES = 4  # to send a call: a connection was lost, or the key lies elsewhere
IDLE_S = 60.0  # after which a connection is closed that need not stay
PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # between two dials of a store that is away
SAY_S = 10.0  # between two lines of the log
SLOTS = 16384
# Errors of a server that is of no use until it is dialed anew.
AWAY = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "NOAUTH", "NOREPLICAS"})

_PLACE = re.compile(r"(MOVED|ASK) ([0-9]{1,5}) (\S*):([0-9]{1,5})")
_log = logging.getLogger("lbcore.store")
Address = tuple[str, int]
Done = Callable[[Any], None]


class StoreAway(Exception):
    """A store cannot be asked, or has not replied as it should."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a store is asked by. Stores with equal settings are one.

    endpoints  of one server, or of some of a cluster.
    most       connections to each server; 0: MOST_CONNECTIONS.
    least      of these that stay open.
    dial_s, read_s, write_s  limits for a connection to be made, for a reply, and for what is sent to be taken; 0: none.
    wait_s     after which nobody waits for a server that does not reply.
    most_reply  bytes of a reply.
    """

    endpoints: tuple[Address, ...]
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: ServerTls | None = field(default=None, repr=False)
    most: int = 0
    least: int = 0
    dial_s: float = 5.0
    read_s: float = 3.0
    write_s: float = 3.0
    wait_s: float = 1.0
    most_reply: int = MOST_BYTES

    def share(self, workers: int) -> Settings:
        """The settings of one of so many workers: limits of connections are those of all together, but each has one."""
        most = max(1, self.most // workers) if self.most else MOST_CONNECTIONS
        return replace(self, most=most, least=min(most, -(-self.least // workers)))

    @property
    def identity(self) -> str:
        """A text that is the same for equal settings, and tells nothing of the password."""
        text = repr((self, self.password, self.tls)).encode()
        return f"redis|{hashlib.blake2b(text, digest_size=16).hexdigest()}"


class Script:
    """A script for the server, which is sent whole only to one that does not know it.

    any_reply  it returns anything, and not an integer: to be called by `Store.ask`.
    """

    def __init__(self, text: bytes, *, any_reply: bool = False) -> None:
        self.text = text
        self.any_reply = any_reply
        self.digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


class Call:
    """A call of a script that is under way."""

    __slots__ = ("done", "key", "parts", "script", "sent_s", "tries")

    def __init__(self, script: Script, key: bytes, parts: tuple[bytes, ...], done: Done | None) -> None:
        self.script = script
        self.key = key
        self.parts = parts
        self.done = done
        self.tries = 0
        self.sent_s = 0.0

    def forget(self) -> None:
        """The result is not wanted any more."""
        self.done = None

    def finish(self, result: Reply) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(result)

    def text(self, whole: bool) -> bytes:
        name, script = (b"EVAL", self.script.text) if whole else (b"EVALSHA", self.script.digest)
        return command(name, script, b"1", self.key, *self.parts)


_ASKING = Script(b"")  # stands where the reply to ASKING comes


class Store:
    """A store, in the hands of one worker. Raises ValueError for settings of TLS that cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._nodes: dict[Address, _Node] = {}
        self._context = context_of(settings.tls) if settings.tls is not None else None
        self._slots: dict[int, Address] = {}  # of a cluster, as far as its servers have told
        self._home = 0  # index of the endpoint that is asked where nothing is known
        self._say_again_s = 0.0

    def run(self, script: Script, key: bytes, parts: tuple[bytes, ...], done: Done) -> Call | None:
        """Call a script with a key and arguments. On the event loop. None: the store is away.

        done  called later with what the script returns, an integer or a list; None: the store has failed.
        """
        call = Call(script, key, parts, done)
        return call if self._send(call) else None

    async def ask(self, script: Script, key: bytes, parts: tuple[bytes, ...]) -> Reply:
        """Call a script, and wait for its result, for `wait_s` at most. Raises StoreAway."""
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(result: Reply) -> None:
            if not replied.done():
                replied.set_result(result)

        call = self.run(script, key, parts, done)
        places = ", ".join(f"{host}:{port}" for host, port in self.settings.endpoints)
        if call is None:
            raise StoreAway(f"store redis at {places} is away")
        try:
            async with asyncio.timeout(self.settings.wait_s):
                found = await replied
        except TimeoutError:
            raise StoreAway(f"store redis at {places} does not reply in time") from None
        finally:
            call.forget()
        if found is None:
            raise StoreAway(f"store redis at {places} has failed")
        return found

    @property
    def connections(self) -> int:
        """Open ones."""
        return sum(len(node.links) for node in self._nodes.values())

    def _send(self, call: Call, address: Address | None = None, asking: bool = False) -> bool:
        if address is None:
            address = self.settings.endpoints[self._home]
            if self._slots:
                address = self._slots.get(slot_of(call.key), address)
        node = self._nodes.get(address)
        if node is None:
            if len(self._nodes) >= MOST_NODES:
                self.say(f"more than {MOST_NODES} servers")
                return False
            node = self._nodes[address] = _Node(self, address, self._context)
        return node.take(call, asking)

    def again(self, call: Call, address: Address | None = None, asking: bool = False) -> None:
        """Send a call once more, since its connection was lost, or its key lies elsewhere."""
        call.tries += 1
        if call.done is not None and (call.tries > MOST_TRIES or not self._send(call, address, asking)):
            call.finish(None)

    def redirect(self, call: Call, text: str, host: str) -> None:
        """A server of a cluster has told where a key lies: `MOVED 3999 127.0.0.1:6381`; ASK: for this time alone."""
        found = _PLACE.fullmatch(text)
        if found is None or not 0 < int(found[4]) < 65536:
            self.say(f"{text!r} names no server")
            call.finish(None)
            return
        address = (found[3].strip("[]") or host, int(found[4]))
        if found[1] == "MOVED":
            self._slots[int(found[2]) % SLOTS] = address
        self.again(call, address, found[1] == "ASK")

    def has_failed(self, address: Address) -> None:
        """Another server is asked in place of this one, if any is known."""
        endpoints = self.settings.endpoints
        if endpoints[self._home] == address:
            self._home = (self._home + 1) % len(endpoints)
        if self._slots:
            self._slots = {slot: other for slot, other in self._slots.items() if other != address}

    def say(self, text: str) -> None:
        """Log what is wrong, not too often."""
        now_s = time.monotonic()
        if now_s >= self._say_again_s:
            self._say_again_s = now_s + SAY_S
            places = ", ".join(f"{host}:{port}" for host, port in self.settings.endpoints)
            _log.warning("store redis at %s: %s", places, text)

    def close(self) -> None:
        """Close all connections. On the event loop."""
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            node.close()

    def __del__(self) -> None:
        """The last configuration that has used it is gone, maybe in another thread than that of the loop."""
        for node in self._nodes.values():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                node.loop.call_soon_threadsafe(node.close)


class _Node:
    """A server of a store: its connections, and calls that wait for the first one."""

    def __init__(self, store: Store, address: Address, context: ssl.SSLContext | None) -> None:
        self.store = weakref.ref(store)
        self.settings = store.settings
        self.address = address
        self.loop = asyncio.get_running_loop()
        self.links: list[_Link] = []
        self._context = context
        self._pending: list[tuple[Call, bool]] = []
        self._dials: set[asyncio.Task[None]] = set()
        self._away = False  # the last dial has failed
        self._rests_until_s = 0.0
        self._pause_s = PAUSE_S
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, call: Call, asking: bool) -> bool:
        """Send a call, or have it wait for a connection that is being made. False: neither can be."""
        now_s = time.monotonic()
        best: _Link | None = None
        for link in self.links:
            if link.can_take(now_s) and (best is None or len(link.waiting) < len(best.waiting)):
                best = link
        if not self._dials:
            if best is None or len(best.waiting) >= BUSY:
                self._dial(now_s)
        elif best is None and len(self._pending) >= BUSY * len(self._dials):
            self._dial(now_s)
        if best is not None:
            best.send(call, asking, now_s)
            return True
        if self._away or not self._dials or self.links or len(self._pending) >= MOST_WAITING:
            return False
        self._pending.append((call, asking))
        return True

    def _dial(self, now_s: float) -> None:
        """Begin to open a connection, unless there are enough, or the server rests."""
        count = len(self.links) + len(self._dials)
        if now_s >= self._rests_until_s and count < self.settings.most and not self._closed:
            self._dials.add(self.loop.create_task(self._open()))

    async def _open(self) -> None:
        link: _Link | None = None
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            async with asyncio.timeout(self.settings.dial_s or None):
                link = await self._connect()
                await link.greet()
        except Exception as error:
            self.fail(str(error) or ("it does not answer in time" if isinstance(error, TimeoutError) else repr(error)))
        else:
            self._dials.discard(task)
            self._opened(link)
            link = None
        finally:
            self._dials.discard(task)
            if link is not None:
                link.abort()

    async def _connect(self) -> _Link:
        """A connection to the first of the server's addresses that takes one. Raises OSError."""
        host, port = self.address
        secure = {"ssl": self._context, "server_hostname": host} if self._context is not None else {}
        failure: OSError | None = None
        for address in await self._resolve(host, port):
            try:
                _, link = await self.loop.create_connection(lambda: _Link(self), address, port, **secure)  # type: ignore[call-overload]
            except OSError as error:
                failure = error
            else:
                return cast(_Link, link)
        raise failure or OSError(f"{host} has no address")

    async def _resolve(self, host: str, port: int) -> list[str]:
        """By the loop's executor, whose threads end, and not by those of uvloop, which stay: see `process.threads`."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await self.loop.run_in_executor(None, ask)
            return list(dict.fromkeys(str(item[4][0]) for item in found))
        return [host]

    def _opened(self, link: _Link) -> None:
        if self._closed:
            link.abort()
            return
        self.links.append(link)
        self._away, self._pause_s, self._rests_until_s = False, PAUSE_S, 0.0
        now_s = time.monotonic()
        pending, self._pending = self._pending, []
        for call, asking in pending:
            if call.done is not None:
                link.send(call, asking, now_s)
        for _ in range(len(self.links) + len(self._dials), self.settings.least):
            self._dial(now_s)
        if self._sweep is None:
            self._sweep = self.loop.call_later(IDLE_S, self._close_idle)

    def fail(self, text: str) -> None:
        """The server is away: until it is dialed again, nobody waits for it."""
        if self._closed:
            return
        self._away = True
        self._rests_until_s = time.monotonic() + self._pause_s * random.uniform(0.75, 1.25)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        pending, self._pending = self._pending, []
        store = self.store()
        if store is not None:
            store.has_failed(self.address)
            store.say(text)
        for call, _ in pending:
            if store is not None:
                store.again(call)
            else:
                call.finish(None)

    def lost(self, link: _Link) -> None:
        """A connection has ended: its calls are sent once more."""
        if link in self.links:
            self.links.remove(link)
        waiting, store = [*link.waiting], self.store()
        link.waiting.clear()
        if link.reason:
            self.fail(link.reason)
        for call in waiting:
            if store is None or self._closed:
                call.finish(None)
            else:
                store.again(call)

    def replied(self, link: _Link, call: Call, reply: Reply) -> None:
        """A reply to a call has come."""
        if isinstance(reply, int) or (call.script.any_reply and isinstance(reply, list)):
            call.finish(reply)
            return
        store = self.store()
        if call.done is None or store is None:
            return
        text = str(reply) if isinstance(reply, Refusal) else f"{reply!r} is no reply to a script"
        word = text.partition(" ")[0]
        if word == "NOSCRIPT" and call.tries <= MOST_TRIES:
            call.tries += 1
            link.send(call, False, time.monotonic(), whole=True)
        elif word in ("MOVED", "ASK"):
            store.redirect(call, text, self.address[0])
        else:
            store.say(text)
            call.finish(None)
            if word in AWAY:
                link.reason = text
                link.abort()

    def _close_idle(self) -> None:
        self._sweep = None
        now_s = time.monotonic()
        idle = [link for link in self.links if not link.waiting and now_s - link.used_s >= IDLE_S]
        for link in idle[: max(0, len(self.links) - self.settings.least)]:
            self.links.remove(link)
            link.close()
        if self.links:
            self._sweep = self.loop.call_later(IDLE_S, self._close_idle)

    def close(self) -> None:
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for task in self._dials:
            task.cancel()
        for link in [*self.links]:
            link.abort()
        pending, self._pending = self._pending, []
        for call, _ in pending:
            call.finish(None)


class _Link(asyncio.Protocol):
    """One connection: replies come in the order of the calls."""

    def __init__(self, node: _Node) -> None:
        self.node = node
        self.waiting: deque[Call] = deque()
        self.used_s = 0.0
        self.reason = ""  # why the server counts as away; empty: it does not
        self._replies = Replies(node.settings.most_reply)
        self._transport: asyncio.Transport | None = None
        self._greeting: list[bool] = []  # of replies to the greeting that are to come: whether they may be errors
        self._greeted: asyncio.Future[None] | None = None
        self._blocked = False  # the server does not take what is sent, or the connection is ending
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    def can_take(self, now_s: float) -> bool:
        """Whether what is sent now has a chance: the server takes it, and replies."""
        waiting = self.waiting
        return not self._blocked and (not waiting or now_s - waiting[0].sent_s < self.node.settings.wait_s)

    async def greet(self) -> None:
        """Say who is there. Raises ValueError if the server refuses it. That it replies at all is seen by PING."""
        settings = self.node.settings
        parts = []
        if settings.password:
            user = (settings.username.encode(),) if settings.username else ()
            parts.append(command(b"AUTH", *user, settings.password.encode()))
        if settings.db:
            parts.append(command(b"SELECT", b"%d" % settings.db))
        self._greeting = [False] * len(parts) + [True]
        self._greeted = self.node.loop.create_future()
        assert self._transport is not None
        self._transport.write(b"".join([*parts, command(b"PING")]))
        await self._greeted

    def send(self, call: Call, asking: bool, now_s: float, whole: bool = False) -> None:
        assert self._transport is not None
        text = call.text(whole)
        if asking:
            nothing = Call(_ASKING, b"", (), None)
            nothing.sent_s = now_s
            self.waiting.append(nothing)
            text = command(b"ASKING") + text
        call.sent_s = self.used_s = now_s
        self.waiting.append(call)
        try:
            self._transport.write(text)
        except RuntimeError:  # it has just ended: `lost` follows, and sends the call once more
            self.abort()
        if self._late is None and self.node.settings.read_s:
            self._late = self.node.loop.call_later(self.node.settings.read_s, self._look)

    def _look(self) -> None:
        """Break off if the oldest call has waited for too long."""
        self._late = None
        if self.waiting:
            left_s = self.waiting[0].sent_s + self.node.settings.read_s - time.monotonic()
            if left_s > 0:
                self._late = self.node.loop.call_later(left_s, self._look)
            else:
                self.reason = "it does not reply in time"
                self.abort()

    def _give_up(self) -> None:
        self._stuck = None
        self.reason = "it does not take what is sent"
        self.abort()

    def close(self) -> None:
        self._blocked = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        self._blocked = True
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # one of uvloop is no subclass of asyncio's
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        try:
            for reply in self._replies.feed(data):
                if self._greeting:
                    self._take_greeting(reply)
                elif self.waiting:
                    self.node.replied(self, self.waiting.popleft(), reply)
                else:
                    raise ValueError("a reply that nobody waits for")
        except ValueError as error:
            self.reason = str(error)
            self.abort()

    def _take_greeting(self, reply: Reply) -> None:
        may_fail = self._greeting.pop(0)
        assert self._greeted is not None
        if self._greeted.done():
            return
        if isinstance(reply, Refusal) and (not may_fail or reply.partition(" ")[0] in AWAY):
            self._greeted.set_exception(ValueError(str(reply)))
        elif not self._greeting:
            self._greeted.set_result(None)

    def pause_writing(self) -> None:
        self._blocked = True
        if self.node.settings.write_s:
            self._stuck = self.node.loop.call_later(self.node.settings.write_s, self._give_up)

    def resume_writing(self) -> None:
        self._blocked = False
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def eof_received(self) -> None:
        self._blocked = True

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._late, self._stuck):
            if timer is not None:
                timer.cancel()
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_exception(ConnectionResetError("it has closed the connection"))
        self.node.lost(self)


def slot_of(key: bytes) -> int:
    """The part of a cluster in which a key lies: by what stands in its first braces, if anything does."""
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS
