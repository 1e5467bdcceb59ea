"""Listening sockets: a descriptor that was accepted has an owner at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time

import lbcore
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig

COUNT = 30
PLAIN = {"web": {"address": "127.0.0.1:0"}}
BEHIND = {"web": {"address": "127.0.0.1:0", "proxyProtocol": {"insecure": True}}}


def descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


async def accept_unwatched(points: dict[str, object], first: bytes) -> None:
    before = descriptors()
    static = StaticConfig.model_validate({"entryPoints": points})
    async with lbcore.Proxy(static, DynamicConfig.model_validate({"http": {}})) as proxy:
        engine = proxy._plane
        assert engine is not None
        (reactor,) = (fd for fd, name in descriptors().items() if "eventpoll" in name and fd not in before)
        clients = [socket.create_connection(proxy.addresses["web"]) for _ in range(COUNT)]
        for client in clients:
            client.sendall(first)
        opened = len(descriptors())
        # What the reactor's descriptor names is no epoll set for a while: nothing can be watched.
        kept, other = os.dup(reactor), os.open(os.devnull, os.O_RDONLY)
        os.dup2(other, reactor)
        try:
            engine.stop_accepting()
        finally:
            os.dup2(kept, reactor)
            os.close(kept)
            os.close(other)
        assert len(descriptors()) <= opened
        assert engine.connections == 0
        for client in clients:
            client.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
            client.close()


async def turns() -> None:
    """Let the loop look at all sockets."""
    for _ in range(3):
        await asyncio.sleep(0)


async def wait_without_descriptors() -> None:
    """Of two clients that wait the one cannot be accepted: others hold all descriptors."""
    static = StaticConfig.model_validate({"entryPoints": PLAIN})
    loop = asyncio.get_running_loop()
    async with lbcore.Proxy(static, DynamicConfig.model_validate({"http": {}})) as proxy:
        client = socket.create_connection(proxy.addresses["web"])
        client.setblocking(False)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await loop.sock_recv(client, 100)).startswith(b"HTTP/1.1 404")
        client.send(b"GET / HTTP/1.1\r\nHo")  # it is not idle, so it stays
        await turns()
        waits, taken = socket.socket(), []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        waits.connect(proxy.addresses["web"])  # the backlog takes it
        waits.send(b"GET / HTTP/1.1\r\nHo")
        waits.setblocking(False)
        await turns()
        before = time.process_time()
        await asyncio.sleep(1)  # in which nothing happens
        used = time.process_time() - before
        for fd in taken:
            os.close(fd)
        waits.send(b"st: a\r\n\r\n")
        assert (await loop.sock_recv(waits, 100)).startswith(b"HTTP/1.1 404")
        waits.close()
        client.close()
    assert used < 0.2, used


def alone(code: str) -> None:
    """Run it in a process of its own: its descriptors are counted, and taken, which other tests would disturb."""
    code = f"import uvloop; from tests.unit.transport.test_listener import *; {code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_connection_that_cannot_be_watched_is_closed() -> None:
    alone("uvloop.run(accept_unwatched(PLAIN, b'GET / HTTP/1.1\\r\\n'))")


def test_neither_is_one_kept_that_is_to_begin_with_a_proxy_header() -> None:
    alone(
        "uvloop.run(accept_unwatched(BEHIND, b'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\\r\\n'));"
        "uvloop.run(accept_unwatched(BEHIND, b'PROXY TCP4'))"
    )


def test_without_descriptors_the_backlog_waits_and_nothing_spins() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))"
    alone(f"{limit}; uvloop.run(wait_without_descriptors())")
