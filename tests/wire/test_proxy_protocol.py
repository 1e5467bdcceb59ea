"""PROXY protocol headers on connections that come in: whose is believed, what is passed on, what closes."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.wire import Edge, Peer, Server, config_for, edge, serving
from tests.unit.transport.test_proxy_protocol import BROKEN, GOOD, V1, block4, v2
from tests.wire.test_tcp import address, echoes, first_line, tcp

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TRUSTED = {"proxyProtocol": {"trustedIPs": ["127.0.0.0/8"]}}
UNTRUSTED = {"proxyProtocol": {"trustedIPs": ["192.0.2.0/24"]}}


def tell(peer: Peer) -> None:
    """Answer with the headers that name the client."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            _, headers, _ = peer.message()
            text = f"{headers.get('x-real-ip')} {headers.get('x-forwarded-for')}".encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


@contextlib.contextmanager
def web(**entry_point: Any) -> Iterator[Edge]:
    with serving(tell) as server, edge(config_for(server.url), **entry_point) as lb:
        yield lb


def seen(lb: Edge, *pieces: bytes) -> str:
    """What the server sees of a client that sends these pieces and a request; empty when the connection is closed."""
    client = lb.client()
    try:
        for piece in pieces:
            client.send(piece)
        return client.ask(GET)[2].decode()
    except (EOFError, ConnectionError):
        return ""
    finally:
        client.close()


@pytest.mark.parametrize("header", GOOD)
def test_a_trusted_proxy_is_believed(header: bytes) -> None:
    ends = GOOD[header]
    host = ends[0] if ends else "127.0.0.1"
    with web(**TRUSTED) as lb:
        client = lb.client()
        client.send(header + GET + GET)
        assert [client.message()[2].decode() for _ in range(2)] == [f"{host} {host}"] * 2
        assert client.ask(GET)[2].decode() == f"{host} {host}", "it holds for the whole connection"
        client.close()


@pytest.mark.parametrize("header", [V1, v2(block=block4())])
def test_who_is_not_trusted_has_its_header_read_past(header: bytes) -> None:
    with web(**UNTRUSTED) as lb:
        assert seen(lb, header) == seen(lb) == "127.0.0.1 127.0.0.1"
    with web(proxyProtocol={"insecure": True}) as lb:
        assert seen(lb, header) == "192.0.2.7 192.0.2.7"
    with web() as lb:
        client = lb.client()
        assert client.ask(header + GET)[0].startswith("HTTP/1.1 400"), "no header is expected here"


@pytest.mark.parametrize("entry_point", [TRUSTED, UNTRUSTED])
@pytest.mark.parametrize("header", BROKEN)
def test_a_broken_header_closes_the_connection(header: bytes, entry_point: dict[str, Any]) -> None:
    with web(**entry_point) as lb:
        client = lb.client()
        client.send(header)
        assert client.to_the_end() == b""
        assert seen(lb) == "127.0.0.1 127.0.0.1"
        assert lb.open_connections == 0


@pytest.mark.parametrize("header", [V1, v2(block=block4() + b"\x04\x00\x02ab")])
def test_a_header_may_be_split_anywhere(header: bytes) -> None:
    whole = header + GET
    with web(**TRUSTED) as lb:
        for at in range(1, len(header) + 3):
            client = lb.client()
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.send(whole[:at])
            eventually(lambda: lb.open_connections == 1, "the first part has come")
            client.send(whole[at:])
            assert client.message()[2].decode() == "192.0.2.7 192.0.2.7"
            client.close()
            eventually(lambda: lb.open_connections == 0, "it is gone")
        assert seen(lb, *(bytes([byte]) for byte in header)) == "192.0.2.7 192.0.2.7"


@pytest.mark.parametrize("header", [V1, v2(block=block4())])
def test_a_client_that_leaves_or_is_too_slow_inside_its_header(header: bytes) -> None:
    with web(transport={"respondingTimeouts": {"readTimeout": "300ms"}}, **TRUSTED) as lb:
        for part in (b"", header[:1], header[:-1]):
            client = lb.client()
            client.send(part)
            client.sock.shutdown(socket.SHUT_WR)
            assert client.to_the_end() == b""
            client = lb.client()
            client.send(part)
            started = time.monotonic()
            assert client.to_the_end() == b""
            assert time.monotonic() - started < 20
        eventually(lambda: lb.open_connections == 0, "no server is left")


def test_the_address_decides_rules_and_whose_forwarding_headers_are_believed() -> None:
    with serving(tell) as server:
        config = config_for(server.url)
        config["http"]["routers"]["all"]["rule"] = "ClientIP(`192.0.2.0/24`)"
        with edge(config, forwardedHeaders={"trustedIPs": ["192.0.2.7"]}, **TRUSTED) as lb:
            ask = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
            client = lb.client()
            assert client.ask(V1 + ask)[2] == b"192.0.2.7 203.0.113.9, 192.0.2.7"
            client.close()
            other = v2(block=block4("192.0.2.8"))
            client = lb.client()
            assert client.ask(other + ask)[2] == b"192.0.2.8 192.0.2.8"
            client.close()
            client = lb.client()
            assert client.ask(ask)[0].startswith("HTTP/1.1 404"), "without a header the peer is the client"
            client.close()


def test_the_access_log_names_the_client(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serving(tell) as server:
        with edge(config_for(server.url), static={"accessLog": {"filePath": str(log)}}, **TRUSTED) as lb:
            assert seen(lb, V1)
        assert log.read_text().startswith("192.0.2.7 - - [")


def test_layer_4_goes_by_the_address_and_tells_its_servers() -> None:
    heads: list[bytes] = []

    def read(peer: Peer) -> None:
        heads.append(peer.until(b"\n"))
        peer.send(peer.exactly(5) + b"\n")

    server = Server(read)
    with echoes("a") as (a,):
        config = tcp([address(server)], "ClientIP(`192.0.2.0/24`)", proxyProtocol={"version": "1"})
        config["tcp"]["routers"]["rest"] = {"rule": "HostSNI(`*`)", "service": "rest"}
        config["tcp"]["services"]["rest"] = {"loadBalancer": {"servers": [{"address": address(a)}]}}
        with edge(config, **TRUSTED) as lb:
            client = lb.client()
            client.send(V1 + b"hello")
            assert client.until(b"\n") == b"hello\n"
            assert heads == [V1], "both ends are passed on"
            client.close()
            other = lb.client()
            other.send(b"hello\n")
            assert other.until(b"\n") + other.until(b"\n") == b"a\nhello\n"
            other.close()
    server.close()


def test_a_sticky_source_ip_is_the_one_told() -> None:
    with echoes("a", "b", "c") as servers:
        with edge(tcp([address(server) for server in servers], sticky={"sourceIP": {}}), **TRUSTED) as lb:

            def named(number: int) -> str:
                client = lb.client()
                client.send(v2(block=block4(f"192.0.2.{number}")))
                try:
                    return client.until(b"\n").decode()
                finally:
                    client.close()

            found = {number: {named(number) for _ in range(3)} for number in range(1, 25)}
            assert all(len(names) == 1 for names in found.values())
            assert len(set.union(*found.values())) == 3, "they are spread"


def test_a_silent_client_of_a_server_that_speaks_first() -> None:
    with echoes("a") as (a,):
        timeouts = {"transport": {"respondingTimeouts": {"readTimeout": "200ms"}}}
        with edge(tcp([address(a)]), **timeouts, **TRUSTED) as lb:
            assert first_line(lb) == "a"


def test_an_entry_point_that_is_closed_lets_go_of_who_has_not_finished() -> None:
    with echoes("a") as (a,):
        life = {"transport": {"lifeCycle": {"graceTimeOut": "200ms"}}}
        with edge(tcp([address(a)]), **life, **TRUSTED) as lb:
            silent, half = lb.client(stays=True), lb.client(stays=True)
            half.send(V1[:5])
            eventually(lambda: lb.open_connections == 2, "they have come")
        assert half.to_the_end() == silent.to_the_end() == b""


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"])
def test_haproxy_in_front_of_it(option: str, tmp_path: Path) -> None:
    with web(**TRUSTED) as lb:
        _, port = lb.address
        front = free_port()
        config = tmp_path / "haproxy.cfg"
        config.write_text(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n"
            f"listen front\n  bind 127.0.0.1:{front}\n  unique-id-format %ci\n"
            f"  server lb 127.0.0.1:{port} source 127.0.0.3 {option}\n"
        )
        process = subprocess.Popen(["haproxy", "-db", "-f", str(config)])
        try:

            def ask() -> str:
                with contextlib.suppress(OSError), socket.socket() as sock:
                    sock.settimeout(5)
                    sock.bind(("127.0.0.9", 0))
                    sock.connect(("127.0.0.1", front))
                    peer = Peer(sock)
                    return peer.ask(GET)[2].decode()
                return ""

            assert eventually(ask, "HAProxy listens") == "127.0.0.9 127.0.0.9"
            for _ in range(20):
                assert ask() == "127.0.0.9 127.0.0.9"
        finally:
            process.terminate()
            process.wait(10)


def test_curl_and_a_health_checkers_local_header() -> None:
    with web(**TRUSTED) as lb:
        _, port = lb.address
        command = ["curl", "-sS", "--haproxy-protocol", "--interface", "127.0.0.5", f"http://127.0.0.1:{port}/"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        assert answer == "127.0.0.5 127.0.0.5"
        assert seen(lb, v2(0x20, 0x00)) == "127.0.0.1 127.0.0.1"


def test_who_is_trusted_has_to_be_said() -> None:
    for wrong in ({}, {"trustedIPs": []}, {"trustedIPs": ["nonsense"]}, {"trustedIPs": ["10.0.0.0/8"], "bogus": 1}):
        with pytest.raises(ValueError, match="proxyProtocol"), web(proxyProtocol=wrong):
            pass


def test_a_client_with_an_ipv6_address_behind_an_ipv4_proxy() -> None:
    """The two ends of one header are of one family, whatever this side's own address is."""
    header = v2(family=0x21, block=socket.inet_pton(socket.AF_INET6, "2001:db8::7")
                + socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1") + struct.pack("!HH", 7, 8))  # fmt: skip
    heads: list[bytes] = []
    server = Server(lambda peer: heads.append(peer.until(b"\r\n")))
    with edge(tcp([address(server)], proxyProtocol={"version": "1"}), **TRUSTED) as lb:
        client = lb.client()
        client.send(header)
        client.to_the_end()
        client.close()
        assert heads == [b"PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 7 8\r\n"]
    server.close()
