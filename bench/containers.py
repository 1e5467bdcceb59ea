"""A Docker for benchmarks: its API, about containers of which there are none. Real clients accept it.

Ten thousand containers cannot be started on one machine. What a provider asks (version, list, details, events) is
answered from memory, each answer prepared, so that the time is that of whoever asks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = {"Version": "28.0.0", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}
MANY = 100  # containers changed at once after which the streams of events end, as when Docker starts again
CREATED = "2026-01-01T00:00:00.000000000Z"


class Containers:
    """One container for each router, by number. Its API is on loopback, at `port`; methods are safe in any thread.

    server  the port of loopback on which all of them listen.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._ids: dict[int, str] = {}
        self._details: dict[str, bytes] = {}
        self._lines: dict[str, bytes] = {}
        self._events: deque[tuple[float, bytes]] = deque(maxlen=2 * MANY)
        self._listeners: set[asyncio.Transport] = set()
        self._asked: list[str] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    async def _listen(self) -> int:
        server = await self._loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def port(self) -> int:
        """The port of the API."""
        return self._port

    def asked(self) -> list[str]:
        """The paths that were asked for since the last call."""
        asked, self._asked = self._asked, []
        return asked

    def put(self, hosts: Mapping[int, str]) -> None:
        """Create the containers of these routers, or replace them by others with other hosts."""
        asyncio.run_coroutine_threadsafe(self._put(hosts), self._loop).result()

    async def _put(self, hosts: Mapping[int, str]) -> None:
        events: list[tuple[str, str, int]] = []
        for number, host in hosts.items():
            if (before := self._ids.get(number)) is not None:
                del self._details[before], self._lines[before]
                events += (("die", before, number), ("destroy", before, number))
            made = self._ids[number] = hashlib.sha256(f"{number} {host}".encode()).hexdigest()
            self._details[made], self._lines[made] = self._described(made, number, host)
            events.append(("start", made, number))
        if len(hosts) > MANY:
            for listener in self._listeners:
                listener.abort()
            self._listeners.clear()
            return
        for action, key, number in events:
            text = _event(action, key, f"r{number}")
            self._events.append((time.time(), text))
            for listener in self._listeners:
                listener.write(_chunk(text))

    def _described(self, key: str, number: int, host: str) -> tuple[bytes, bytes]:
        """The details of a container, and its line in the list."""
        labels = {
            f"traefik.http.routers.r{number}.rule": f"Host(`{host}`)",
            f"traefik.http.routers.r{number}.service": f"s{number}",
            f"traefik.http.services.s{number}.loadbalancer.server.port": str(self._server),
        }
        networks = {"Networks": {"bridge": {"NetworkID": "b", "IPAddress": "127.0.0.1"}}}
        mode = {"NetworkMode": "bridge"}
        details: dict[str, Any] = {"Id": key, "Name": f"/r{number}", "Created": CREATED, "HostConfig": mode}
        details |= {"State": {"Status": "running", "Running": True}, "Config": {"Labels": labels}}
        details["NetworkSettings"] = {**networks, "Ports": {}}
        line: dict[str, Any] = {"Id": key, "Names": [f"/r{number}"], "Created": 1767225600, "HostConfig": mode}
        line |= {"State": "running", "Status": "Up 1 hour", "Labels": labels, "Ports": [], "NetworkSettings": networks}
        return json.dumps(details).encode(), json.dumps(line).encode()

    def answer(self, target: str, client: asyncio.Transport) -> bytes | None:
        """The body of an answer; None: there is no such thing. Empty: a stream of events begins."""
        parts = urlsplit(target)
        path = parts.path.split("/")[1:]
        if path and path[0].startswith("v1."):
            path = path[1:]
        self._asked.append("/".join(path))
        match path:
            case ["_ping"]:
                return b"OK"
            case ["version"]:
                return json.dumps(VERSION).encode()
            case ["containers", "json"]:
                return b"[%s]" % b",".join(self._lines.values())
            case ["containers", key, "json"]:
                return self._details.get(key)
            case ["networks"]:
                return b"[]"
            case ["events"]:
                client.write(_head("200 OK", "Transfer-Encoding: chunked"))
                since = float(parse_qs(parts.query).get("since", ["inf"])[0])
                for stamp, text in self._events:
                    if stamp >= since:
                        client.write(_chunk(text))
                self._listeners.add(client)
                return b""
        return None

    def forget(self, client: asyncio.Transport) -> None:
        """A client has gone."""
        self._listeners.discard(client)


class _Client(asyncio.Protocol):
    """A connection. Requests have no bodies."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._containers.forget(self._transport)

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for head in heads:
            method, target, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
            body = self._containers.answer(target, self._transport)
            if body == b"":
                return
            status = "200 OK" if body is not None else "404 Not Found"
            content = body if body is not None else b'{"message":"there is none"}'
            self._transport.write(_head(status, f"Content-Length: {len(content)}"))
            if method != "HEAD":
                self._transport.write(content)


def _head(status: str, framing: str) -> bytes:
    date = formatdate(usegmt=True)
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Api-Version: {VERSION['ApiVersion']}")
    return "\r\n".join((*lines, "Ostype: linux", f"Date: {date}", framing, "", "")).encode()


def _event(action: str, key: str, name: str) -> bytes:
    now = time.time_ns()
    event: dict[str, Any] = {"status": action, "id": key, "Type": "container", "Action": action, "scope": "local"}
    event |= {"Actor": {"ID": key, "Attributes": {"name": name}}, "time": now // 10**9, "timeNano": now}
    return json.dumps(event).encode() + b"\n"


def _chunk(text: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text)
