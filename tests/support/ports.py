"""Ports for programs that a test starts: they must be known before the program runs."""

from __future__ import annotations

import contextlib
import random
import socket

# Below what the kernel gives to outgoing connections and to those that ask for any port: either could take one of
# these before its program does.
RANGE = range(12_000, 32_000)
_order = iter(random.sample(RANGE, len(RANGE)))  # each once in a run of the tests, whoever asks


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports of `host` that nobody listens on, and that no other call of this process has given or gives."""
    found: list[int] = []
    while len(found) < count:
        port = next(_order)
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((host, port))
            found.append(port)
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """One of `free_ports`."""
    return free_ports(1, host)[0]
