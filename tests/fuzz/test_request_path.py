"""Bytes of all kinds at a running proxy: it answers or closes, its server understands it, it goes on."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.effort import examples
from tests.support.http2 import PREFACE
from tests.support.wire import Edge, Peer, Server, config_for, edge

GOOD = b"GET /good HTTP/1.1\r\nHost: good.test\r\n\r\n"

names = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Expect",
        b"X-A",
        b"Upgrade",
        b"Te",
        b"X_A",
        b"",
        b" X",
    ]
)
values = st.one_of(
    st.sampled_from(
        [b"a", b"0", b"5", b"-1", b"chunked", b"gzip, chunked", b"close", b"keep-alive, X-A", b"100-continue", b""]
    ),
    st.binary(max_size=12),
)
ends = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n "])
headers = st.lists(st.tuples(names, st.sampled_from([b": ", b":", b" : "]), values, ends).map(b"".join), max_size=5)
methods = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"G T", b""])
targets = st.one_of(
    st.sampled_from([b"/", b"*", b"/a/../b", b"http://h/x", b"/%2e%2e/%00", b"/a b", b"h:1", b"//", b"/#f"]),
    st.binary(max_size=8).map(lambda tail: b"/" + tail),
)
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.11", b""])
bodies = st.sampled_from(
    [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"0\r\n\r\n",
        b"5;a\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"x" * 50,
        b"ffff\r\n",
    ]
)
requests = st.tuples(methods, targets, versions, headers, bodies).map(
    lambda parts: b" ".join(parts[:3]) + b"\r\n" + b"".join(parts[3]) + b"\r\n" + parts[4]
)
streams = st.one_of(st.lists(requests, min_size=1, max_size=3).map(b"".join), st.binary(max_size=60))


class Strict:
    """A server that notes every request it reads, and everything it cannot read."""

    def __init__(self) -> None:
        self.unreadable: list[bytes] = []

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError, TimeoutError):
            while True:
                first, fields = peer.head()
                if len(first.split(" ")) != 3 or not first.endswith(" HTTP/1.1") or "host" not in fields:
                    self.unreadable.append(first.encode())
                if "content-length" in fields and "transfer-encoding" in fields:
                    self.unreadable.append(b"two framings")
                if fields.get("expect") == "100-continue":
                    peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                if "transfer-encoding" in fields:
                    peer.chunks()
                else:
                    peer.exactly(int(fields.get("content-length", 0)))
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (0 if first.startswith("HEAD") else 2))
                if not first.startswith("HEAD"):
                    peer.send(b"ok")


@pytest.fixture(scope="module")
def proxy() -> Iterator[tuple[Edge, Strict]]:
    strict = Strict()
    server = Server(strict.serve)
    with edge(config_for(server.url), transport={"respondingTimeouts": {"readTimeout": "100ms"}}) as lb:
        yield lb, strict
    server.close()


@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(streams)
def test_any_bytes_are_answered_or_refused_and_the_next_client_is_served(
    proxy: tuple[Edge, Strict], data: bytes
) -> None:
    lb, strict = proxy
    client = lb.client()
    with contextlib.suppress(ConnectionError):
        client.send(data)
        client.sock.shutdown(socket.SHUT_WR)
    answer = client.to_the_end()
    if data.startswith(PREFACE):  # which the generator finds among the constants of our code
        assert answer[3:9] == b"\4\0\0\0\0\0"  # SETTINGS
    else:
        assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    client.close()
    assert lb.ask(GOOD)[0] == "HTTP/1.1 200 OK"
    assert strict.unreadable == []
