"""Servers and load of the UDP workloads, as processes: `python -m bench.udp echo PORT...`, `ask PORT ...`."""

from __future__ import annotations

import contextlib
import json
import socket
import sys

from bench.load import Load, LoadError, run
from bench.micro.native import load as native

QUESTION = b"is anybody there?"


def server_command(ports: list[int]) -> list[str]:
    native("datagrams")  # built before its processes run
    return [sys.executable, "-m", "bench.udp", "echo", *map(str, ports)]


def answers(port: int) -> bool:
    """Whether a datagram comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            sock.send(QUESTION)
            return sock.recv(100) == QUESTION
    return False


def ask(port: int, seconds: int, clients: int, size: int) -> Load:
    """As fast as it goes: each client has one datagram under way."""
    text = run(sys.executable, "-m", "bench.udp", "ask", *map(str, (port, seconds, clients, size)))
    found = json.loads(text)
    if not found["answers"]:
        raise LoadError("no datagram came back")
    return Load(found["answers"], found["answers"] / seconds, found["p50_ms"], found["p99_ms"])


def main(command: str, *numbers: str) -> None:
    values = [int(number) for number in numbers]
    if command == "echo":
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in values]
        for sock, port in zip(sockets, values, strict=True):
            sock.bind(("127.0.0.1", port))
        native("datagrams").echo([sock.fileno() for sock in sockets])
    port, seconds, clients, size = values
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(clients)]
    for sock in sockets:
        sock.connect(("127.0.0.1", port))
    times = sorted(native("datagrams").ask([sock.fileno() for sock in sockets], seconds, size))
    count = len(times)
    p50_ms, p99_ms = (times[count * part // 100] / 1e6 if count else 0.0 for part in (50, 99))
    print(json.dumps({"answers": count, "p50_ms": p50_ms, "p99_ms": p99_ms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
