"""Listening sockets: a descriptor that was accepted has an owner at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import subprocess
import sys
import time

import uvloop

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
    gc.collect()  # what other tests have left may close its descriptors at any moment, and their numbers are used again
    before = descriptors()
    static = StaticConfig.model_validate({"entryPoints": points})
    async with lbcore.Proxy(static, DynamicConfig.model_validate({"http": {}})) as proxy:
        engine = proxy._engine
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


def test_a_connection_that_cannot_be_watched_is_closed() -> None:
    uvloop.run(accept_unwatched(PLAIN, b"GET / HTTP/1.1\r\n"))


def test_neither_is_one_kept_that_is_to_begin_with_a_proxy_header() -> None:
    uvloop.run(accept_unwatched(BEHIND, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"))
    uvloop.run(accept_unwatched(BEHIND, b"PROXY TCP4"))


async def wait_without_descriptors() -> float:
    """Processor time used while a client waits and nobody can be accepted: others hold all descriptors."""
    static = StaticConfig.model_validate({"entryPoints": PLAIN})
    async with lbcore.Proxy(static, DynamicConfig.model_validate({"http": {}})) as proxy:
        client = socket.create_connection(proxy.addresses["web"])
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.1)
        client.setblocking(False)
        assert client.recv(100).startswith(b"HTTP/1.1 404")
        client.send(b"GET / HTTP/1.1\r\nHo")  # it is not idle, so it stays
        await asyncio.sleep(0.1)
        waits, taken = socket.socket(), []
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        waits.connect(proxy.addresses["web"])  # the backlog takes it
        waits.send(b"GET / HTTP/1.1\r\nHo")
        waits.setblocking(False)
        await asyncio.sleep(0.2)
        before = time.process_time()
        await asyncio.sleep(1)
        used = time.process_time() - before
        for fd in taken:
            os.close(fd)
        waits.send(b"st: a\r\n\r\n")
        assert (await asyncio.get_running_loop().sock_recv(waits, 100)).startswith(b"HTTP/1.1 404")
        waits.close()
        client.close()
        return used


def test_without_descriptors_the_backlog_waits_and_nothing_spins() -> None:
    code = (
        "import resource, uvloop; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256));"
        "from tests.unit.transport.test_listener import wait_without_descriptors;"
        "print(uvloop.run(wait_without_descriptors()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.2
