"""Peers that never come to an end: each is cut off where the documentation says, and costs no more memory than that."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance, eventually, running
from tests.support.wire import Peer, config_for, serving

PEERS = 40
PIECE = bytes(range(97, 123)) * 160  # 4 KiB
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
GROWTH_BYTES = 24 << 20  # of a worker; buffers of all these peers are 40 times 64 KiB, and the pool keeps 16 MiB
if "LBCORE_TEST_PYTHON" in os.environ:
    GROWTH_BYTES += 320 << 20  # the address sanitizer keeps 256 MiB of what was freed, and notes about it


def memory_bytes(lb: Instance) -> int:
    (worker,) = lb.workers
    return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def connected(lb: Instance) -> Iterator[Peer]:
    peer = Peer(socket.create_connection(("127.0.0.1", lb.port), timeout=10))
    try:
        yield peer
    finally:
        peer.close()


def feed(peer: Peer, piece: bytes, most: int) -> int:
    """Send the same again and again, until the other side has had enough of it or `most` bytes went out."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < most:
            peer.send(piece)
            sent += len(piece)
    return sent


@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        (b"GET /", PIECE, "431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", PIECE, "431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n" * 600, "431"),
        (POST + b"5;", PIECE, "400"),
        (POST + b"0\r\nX: ", PIECE, "400"),
        (POST + b"0\r\n", b"X: y\r\n" * 600, "400"),
    ],
)
def test_requests_without_end(tmp_path: Path, begin: bytes, piece: bytes, status: str) -> None:
    def take(peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            peer.to_the_end()

    with serving(take) as server:
        limits = {"http": {"maxHeaderBytes": 65536}}
        with running(tmp_path, config_for(server.url), workers=1, entry_point=limits) as lb:
            lb.runs(1)
            before = memory_bytes(lb)
            with contextlib.ExitStack() as stack:
                peers = [stack.enter_context(connected(lb)) for _ in range(PEERS)]
                for peer in peers:
                    peer.send(begin)
                for peer in peers:
                    feed(peer, piece, 150_000)
                assert memory_bytes(lb) - before < GROWTH_BYTES
                heard = []
                for peer in peers:
                    with contextlib.suppress(ConnectionError, EOFError):
                        heard.append(peer.message()[0].split()[1])
                # One that goes on sending for long after the answer may be reset before it has read it.
                assert set(heard) == {status}
            assert "internal error" not in lb.log


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"HTTP/1.1 200 ", PIECE),
        (b"HTTP/1.1 200 OK\r\nX: ", PIECE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;", PIECE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", PIECE),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
    ],
)
def test_answers_without_end(tmp_path: Path, begin: bytes, piece: bytes) -> None:
    def answer(peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            peer.head()
            peer.send(begin)
            feed(peer, piece, 4_000_000)

    with serving(answer) as server:
        with running(tmp_path, config_for(server.url), workers=1) as lb:
            lb.runs(1)
            before = memory_bytes(lb)
            for _ in range(4):
                with connected(lb) as peer, contextlib.suppress(EOFError, ConnectionError):
                    peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    while (status := peer.message()[0].split()[1]) == "103":
                        pass
                    assert status in ("200", "502")
            assert memory_bytes(lb) - before < GROWTH_BYTES
            assert "internal error" not in lb.log


@pytest.mark.parametrize("upload", [False, True])
def test_bodies_wait_at_their_sender_while_they_have_no_reader(tmp_path: Path, upload: bool) -> None:
    size = 64_000_000
    flood = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
    over = threading.Event()

    def answer(peer: Peer) -> None:
        with contextlib.suppress(OSError, EOFError):
            peer.head()
            if upload:
                over.wait(60)
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            peer.sock.settimeout(1)
            feed(peer, flood, size)

    with serving(answer) as server:
        with running(tmp_path, config_for(server.url), workers=1) as lb:
            lb.runs(1)
            before = memory_bytes(lb)
            with contextlib.ExitStack() as stack:
                for _ in range(8):
                    peer = stack.enter_context(connected(lb))
                    peer.send(POST)
                    peer.sock.settimeout(0.3 if upload else 1)  # a peer that takes nothing for so long is full
                    if upload:
                        with contextlib.suppress(TimeoutError):
                            feed(peer, flood, size)
                    else:
                        assert peer.sock.recv(15) == b"HTTP/1.1 200 OK"
                eventually(lambda: server.connections == 8, "a server is asked for each")
                assert memory_bytes(lb) - before < GROWTH_BYTES
                over.set()
