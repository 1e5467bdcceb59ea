"""Ports for programs that a test starts: they must be known before the program runs."""

from __future__ import annotations

import contextlib
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path

# Below what the kernel gives to outgoing connections and to those that ask for any port: either could take one of
# these before its program does.
RANGE = range(12_000, 32_000)
BLOCK = 250
_locks: list[socket.socket] = []


def claimed() -> Iterator[int]:
    """Ports, each once, that no other run of the tests has claimed: it would give one to a program before ours has it.

    A claim on a block of them is an abstract name of a socket, which lasts as long as this process.
    """
    for block in random.sample(range(0, len(RANGE), BLOCK), len(RANGE) // BLOCK):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0lbcore tests: ports from {RANGE[block]}")
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        yield from random.sample(RANGE[block : block + BLOCK], BLOCK)


_ports = claimed()


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Closed ports of `host`; no other call, of this process or another, returns them."""
    found: list[int] = []
    while len(found) < count:
        port = next(_ports)
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((host, port))
            found.append(port)
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """One of `free_ports`."""
    return free_ports(1, host)[0]


def replace_ports(folder: Path, *numbers: str) -> dict[str, str]:
    """Put free ports in the place of these numbers in all files of a folder and below. Gives them by the numbers."""
    ports = dict(zip(numbers, map(str, free_ports(len(numbers))), strict=True))
    for path in folder.rglob("*.*"):
        path.write_text(re.sub(rf"\b({'|'.join(numbers)})\b", lambda found: ports[found[0]], path.read_text()))
    return ports
