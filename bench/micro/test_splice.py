"""What moving bytes from socket to socket costs: through a pipe in the kernel, or through this process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.micro.timing import yardstick

SIZES = {"4k": 4 << 10, "64k": 64 << 10, "256k": 256 << 10}
ROUNDS = 300
BUFFER = 1 << 20
Pair = tuple[socket.socket, socket.socket]
Move = Callable[[int, int, int], int]


def connected() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * BUFFER)
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * BUFFER)
        one.connect(listener.getsockname())
        other, _ = listener.accept()
    return one, other


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    both = connected(), connected()
    yield both
    for pair in both:
        for one in pair:
            one.close()


def moving(benchmark: Any, pairs: tuple[Pair, Pair], name: str, size: str, move: Move) -> None:
    """Bytes wait at one connection, are moved to the other and read there; only the moving counts."""
    (client, inside), (outside, server) = pairs
    count = SIZES[size]
    data, taken = bytes(count), bytearray(count)
    times = []

    def fill() -> tuple[tuple[int, int, int], dict[str, Any]]:
        client.sendall(data)
        while len(inside.recv(count, socket.MSG_PEEK)) < count:
            pass
        return (inside.fileno(), outside.fileno(), count), {}

    def moved(source: int, sink: int, count: int) -> None:
        times.append(move(source, sink, count))
        left = memoryview(taken)
        while left:
            left = left[server.recv_into(left) :]

    benchmark.name = benchmark.fullname = f"splice_{name}_{size}"
    benchmark.group = f"splice {size}"
    benchmark.pedantic(moved, setup=fill, rounds=ROUNDS, warmup_rounds=5)
    benchmark.extra_info["ns_per_op"] = float(min(times[5:]))


@pytest.mark.parametrize("size", SIZES)
def test_splice(benchmark: Any, pairs: tuple[Pair, Pair], size: str) -> None:
    moving(benchmark, pairs, "pipe", size, yardstick.spliced_ns)


@pytest.mark.parametrize("size", SIZES)
def test_copy(benchmark: Any, pairs: tuple[Pair, Pair], size: str) -> None:
    buffer = bytearray(64 << 10)
    moving(benchmark, pairs, "copy", size, lambda source, sink, count: yardstick.copied_ns(source, sink, count, buffer))
