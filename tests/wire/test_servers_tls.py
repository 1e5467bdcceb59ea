"""TLS to servers: trust, sessions and pools by their settings, and bytes in both directions."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files, authority, certificate, signed
from tests.support.instance import eventually
from tests.support.secure import SecureServer, secure_serving
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
AGENT = "spiffe://shop.test/cart"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    ca = authority(folder, "ca")
    return {
        "ca": ca,
        "other-ca": authority(folder, "other-ca"),
        "ip": signed(folder, ca, "ip", "IP:127.0.0.1"),
        "local": signed(folder, ca, "local", "DNS:localhost"),
        "named": signed(folder, ca, "named", "DNS:shop.test", f"URI:{AGENT}"),
        "wild": signed(folder, ca, "wild", "DNS:*.wild.test"),
        "common": signed(folder, ca, "localhost"),
        "old": signed(folder, ca, "old", "IP:127.0.0.1", days=-1),
        "client": signed(folder, ca, "client", "DNS:client.test"),
        "self": certificate(folder, "self", "localhost"),
    }


def trusting(made: dict[str, Files], **more: Any) -> dict[str, Any]:
    return {"rootCAs": [str(made["ca"].certificate)], **more}


@contextlib.contextmanager
def before(server: SecureServer, transport: dict[str, Any] | None, url: str = "") -> Iterator[Edge]:
    with edge(config_for(url or server.url, transport=transport)) as lb:
        yield lb


def outcome(lb: Edge) -> str:
    return lb.ask(GET)[0].split()[1]


def test_a_request_goes_over_tls_and_the_connection_is_used_again(made: dict[str, Files]) -> None:
    with secure_serving(made["ip"]) as server, before(server, trusting(made)) as lb:
        client = lb.client()
        for _ in range(3):
            first, _, body = client.ask(GET)
            assert (first, body) == ("HTTP/1.1 200 OK", b"GET / HTTP/1.1\n")
        assert server.server.connections == 1
        # A server that wants another key share reads the name twice.
        assert set(server.seen.names) == {None}, "an address is no name"


@pytest.mark.parametrize(
    ("files", "host", "settings", "expected", "said"),
    [
        ("ip", "127.0.0.1", {}, "200", ""),
        ("local", "localhost", {}, "200", ""),
        ("local", "127.0.0.1", {}, "502", "IP address mismatch"),
        ("ip", "localhost", {}, "502", "hostname mismatch"),
        ("common", "localhost", {}, "502", "hostname mismatch"),
        ("named", "127.0.0.1", {"serverName": "shop.test"}, "200", ""),
        ("named", "127.0.0.1", {"serverName": "SHOP.test"}, "200", ""),
        ("named", "127.0.0.1", {"serverName": "cart.test"}, "502", "hostname mismatch"),
        ("wild", "127.0.0.1", {"serverName": "a.wild.test"}, "200", ""),
        ("wild", "127.0.0.1", {"serverName": "a.b.wild.test"}, "502", "hostname mismatch"),
        ("old", "127.0.0.1", {}, "502", "certificate has expired"),
        ("old", "127.0.0.1", {"insecureSkipVerify": True}, "200", ""),
        ("self", "localhost", {}, "502", "self-signed certificate"),
        ("self", "127.0.0.1", {"insecureSkipVerify": True}, "200", ""),
        ("ip", "127.0.0.1", {"rootCAs": []}, "502", "unable to get local issuer certificate"),
        ("named", "127.0.0.1", {"serverName": "shop.test", "peerCertURI": AGENT}, "200", ""),
        ("named", "127.0.0.1", {"insecureSkipVerify": True, "peerCertURI": AGENT.upper()}, "200", ""),
        ("ip", "127.0.0.1", {"peerCertURI": AGENT}, "502", "does not name the URI"),
        ("self", "localhost", {"insecureSkipVerify": True, "peerCertURI": AGENT}, "502", "self-signed certificate"),
        ("ip", "127.0.0.1", {"maxVersion": "VersionTLS12"}, "200", ""),
    ],
)
def test_who_is_trusted(
    made: dict[str, Files],
    caplog: pytest.LogCaptureFixture,
    files: str,
    host: str,
    settings: dict[str, Any],
    expected: str,
    said: str,
) -> None:
    with secure_serving(made[files]) as server, before(server, trusting(made, **settings), server.named(host)) as lb:
        with caplog.at_level(logging.WARNING, "lbcore.transport"):
            assert outcome(lb) == expected
        lines = [record.message for record in caplog.records if "handshake" in record.message]
        assert len(lines) == bool(said)
        assert said in "".join(lines)


def test_what_is_listed_is_trusted_although_it_signs_nothing(made: dict[str, Files]) -> None:
    own = {"rootCAs": [made["self"].certificate.read_text()]}
    with secure_serving(made["self"]) as server, before(server, own, server.named("localhost")) as lb:
        assert outcome(lb) == "200"


def test_without_settings_the_authorities_of_the_system_count(
    made: dict[str, Files], monkeypatch: pytest.MonkeyPatch
) -> None:
    with secure_serving(made["ip"]) as server, edge(config_for(server.url)) as lb:
        assert outcome(lb) == "502"
    static = {"serversTransport": {"rootCAs": [str(made["ca"].certificate)]}}
    with secure_serving(made["ip"]) as server, edge(config_for(server.url), static=static) as lb:
        assert outcome(lb) == "200"
    with secure_serving(made["self"]) as server:
        static = {"serversTransport": {"insecureSkipVerify": True}}
        with edge(config_for(server.url), static=static) as lb:
            assert outcome(lb) == "200"


def test_a_server_that_speaks_no_tls_is_told(made: dict[str, Files], caplog: pytest.LogCaptureFixture) -> None:
    def plain(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with serving(plain) as server, edge(config_for(server.url.replace("http:", "https:"))) as lb:
        assert outcome(lb) == "502"
        assert "wrong version number" in caplog.text or "packet length" in caplog.text


def test_failures_of_a_server_are_told_once_for_a_while(
    made: dict[str, Files], caplog: pytest.LogCaptureFixture
) -> None:
    with secure_serving(made["self"]) as server, before(server, trusting(made)) as lb:
        assert [outcome(lb) for _ in range(5)] == ["502"] * 5
    assert caplog.text.count("the TLS handshake failed") == 1


def test_a_server_that_is_not_trusted_is_passed_over(made: dict[str, Files]) -> None:
    with secure_serving(made["self"]) as bad, secure_serving(made["ip"]) as good:
        with edge(config_for(bad.url, good.url, transport=trusting(made))) as lb:
            assert [outcome(lb) for _ in range(4)] == ["200"] * 4


def test_a_client_certificate_is_shown_to_servers_that_ask(made: dict[str, Files]) -> None:
    def ask(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(made["ca"].certificate)

    with secure_serving(made["ip"], adjust=ask) as server:
        with before(server, trusting(made)) as lb:
            assert outcome(lb) == "502"
        with before(server, trusting(made, certificates=[made["client"].entry])) as lb:
            assert outcome(lb) == "200"
        assert [entry and entry["subject"] for entry in server.seen.certificates] == [((("commonName", "client"),),)]


def test_versions_and_suites(made: dict[str, Files]) -> None:
    with secure_serving(made["ip"]) as server:
        tls12 = {"maxVersion": "VersionTLS12", "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"]}
        with before(server, trusting(made, **tls12)) as lb:
            assert outcome(lb) == "200"
        with before(server, trusting(made, minVersion="VersionTLS13")) as lb:
            assert outcome(lb) == "200"
    assert server.seen.versions == ["TLSv1.2", "TLSv1.3"]
    assert server.seen.ciphers[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"


@pytest.mark.parametrize(
    ("transport", "error"),
    [
        ({"minVersion": "1.3"}, "minVersion: '1.3' has to be one of"),
        ({"minVersion": "VersionTLS13", "maxVersion": "VersionTLS12"}, "no version of TLS is left"),
        ({"cipherSuites": ["TLS_NONE"]}, "invalid CipherSuite: TLS_NONE"),
        ({"rootCAs": ["/nowhere.pem"]}, "rootCAs: /nowhere.pem cannot be read"),
        ({"rootCAs": ["-----BEGIN CERTIFICATE-----\nno"]}, "rootCAs: holds a certificate that cannot be read"),
        ({"certificates": [{"certFile": "/nowhere.pem", "keyFile": "x"}]}, "certFile: /nowhere.pem cannot be read"),
    ],
)
def test_settings_that_cannot_be_used_disable_the_service(transport: dict[str, Any], error: str) -> None:
    with edge(config_for("https://127.0.0.1:9", transport=transport)) as lb:
        errors = {entry.kind: entry.errors for entry in lb.proxy.disabled}
        assert set(errors) == {"serversTransport", "service", "router"}
        assert error in errors["serversTransport"][0]
        assert outcome(lb) == "404"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_next_connection_resumes_the_session(made: dict[str, Files], version: ssl.TLSVersion) -> None:
    def limit(context: ssl.SSLContext) -> None:
        context.maximum_version = version

    closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    def answer_once(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    with secure_serving(made["ip"], answer_once, adjust=limit) as server, before(server, trusting(made)) as lb:
        for _ in range(3):
            assert lb.ask(closing)[2] == b"ok"
        assert server.seen.resumed == [False, True, True]


def test_other_settings_never_use_the_connections_and_sessions_of_those_before(made: dict[str, Files]) -> None:
    """Neither an idle connection nor a session proves anything under settings that it was not made under."""
    with secure_serving(made["self"]) as server:
        insecure = config_for(server.url, transport={"insecureSkipVerify": True})
        with edge(insecure) as lb:
            client = lb.client()
            assert client.ask(GET)[0].endswith("200 OK")
            assert client.ask(GET)[0].endswith("200 OK")
            assert server.server.connections == 1
            lb.apply(config_for(server.url, transport=trusting(made)))
            assert client.ask(GET)[0].startswith("HTTP/1.1 502")
            lb.apply(insecure)
            assert client.ask(GET)[0].endswith("200 OK")
            assert server.seen.resumed == [False, False]
            # What does not concern connections leaves them alone.
            lb.apply(config_for(server.url, transport={"insecureSkipVerify": True, "maxIdleConnsPerHost": 7}))
            before = server.server.connections
            assert client.ask(GET)[0].endswith("200 OK")
            assert server.server.connections == before


def test_a_connection_at_work_ends_under_the_settings_it_was_made_by_and_is_not_kept(made: dict[str, Files]) -> None:
    with secure_serving(made["ip"], slow) as server:
        with edge(config_for(server.url, transport=trusting(made))) as lb:
            client = lb.client()
            client.send(GET)
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
            lb.apply(config_for(server.url, transport=trusting(made, serverName="127.0.0.1")))
            go_on.release()
            assert client.exactly(4) == b"done"
            client.send(GET)
            assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
            go_on.release()
            assert client.exactly(4) == b"done"
            assert server.server.connections == 2


go_on = threading.Semaphore(0)


def slow(peer: Peer) -> None:
    with contextlib.suppress(EOFError):
        while True:
            peer.message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            go_on.acquire()
            peer.send(b"done")


def test_large_bodies_both_ways(made: dict[str, Files]) -> None:
    body = os.urandom(3 << 20)

    def echo(peer: Peer) -> None:
        _, _, received = peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received))
        peer.send(received)

    with secure_serving(made["ip"], echo) as server, before(server, trusting(made)) as lb:
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.send(body)
        _, _, received = client.message()
        assert zlib.crc32(received) == zlib.crc32(body)


def test_a_body_that_ends_without_the_end_of_tls_is_incomplete(made: dict[str, Files]) -> None:
    """Anybody on the way may cut a connection: an answer until its end needs the peer's word for that end."""

    def cut(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        plain = socket.socket(fileno=os.dup(peer.sock.fileno()))
        plain.shutdown(socket.SHUT_RDWR)
        plain.close()

    def end(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")

    with secure_serving(made["ip"], cut) as server, before(server, trusting(made)) as lb:
        client = lb.client()
        client.send(GET)
        assert b"0\r\n\r\n" not in client.to_the_end()
    with secure_serving(made["ip"], end) as server, before(server, trusting(made)) as lb:
        assert lb.ask(GET)[2] == b"whole"


def test_a_tunnel_goes_over_tls(made: dict[str, Files]) -> None:
    def switch(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
        while data := peer.sock.recv(65536):
            peer.send(data)

    data = os.urandom(1 << 20)
    with secure_serving(made["ip"], switch) as server, before(server, trusting(made)) as lb:
        client = lb.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        assert client.exactly(5) == b"hello"
        sender = threading.Thread(target=client.send, args=(data,))
        sender.start()
        assert client.exactly(len(data)) == data
        sender.join()
        client.close()
        eventually(lambda: lb.open_connections == 0, "the client's end is closed")


def test_a_mirror_is_reached_over_tls(made: dict[str, Files]) -> None:
    with serving() as main, secure_serving(made["ip"]) as copy:
        dynamic = config_for(copy.url, transport=trusting(made))
        http = dynamic["http"]
        http["routers"]["all"]["service"] = "both"
        http["services"]["main"] = {"loadBalancer": {"servers": [{"url": main.url}]}}
        http["services"]["both"] = {"mirroring": {"service": "main", "mirrors": [{"name": "all", "percent": 100}]}}
        with edge(dynamic) as lb:
            assert outcome(lb) == "200"
            eventually(lambda: len(copy.seen.versions) == 1, "the copy arrives")


def test_a_handshake_that_does_not_end_is_given_up(made: dict[str, Files]) -> None:
    def silent(peer: Peer) -> None:
        while peer.sock.recv(65536):
            pass

    with serving(silent) as server, edge(config_for(server.url.replace("http:", "https:"))) as lb:
        lb.drive()
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.connections == 1, "the server is reached")
        lb.drive(9000)
        lb.drive(2000)
        assert client.message()[0] == "HTTP/1.1 504 Gateway Timeout"


def test_a_client_that_leaves_during_the_handshake_takes_the_connection_with_it(made: dict[str, Files]) -> None:
    ended = threading.Event()

    def silent(peer: Peer) -> None:
        while peer.sock.recv(65536):
            pass
        ended.set()

    with serving(silent) as server, edge(config_for(server.url.replace("http:", "https:"))) as lb:
        client = lb.client()
        client.send(GET)
        eventually(lambda: server.connections == 1, "the server is reached")
        client.close()
        assert ended.wait(30)


def test_certificates_of_a_transport_may_change(made: dict[str, Files], tmp_path: Path) -> None:
    """Other contents under the same name are other settings; contents that are broken leave what was read before."""
    roots = tmp_path / "roots.pem"
    roots.write_text(made["other-ca"].certificate.read_text())
    with secure_serving(made["ip"]) as server, before(server, {"rootCAs": [str(roots)]}) as lb:
        dynamic = config_for(server.url, transport={"rootCAs": [str(roots)]})
        assert outcome(lb) == "502"
        roots.write_text(made["ca"].certificate.read_text())
        lb.apply(dynamic)
        assert outcome(lb) == "200"
        roots.write_text("-----BEGIN CERTIFICATE-----\n")
        lb.apply(dynamic)
        assert outcome(lb) == "200"
        assert not lb.proxy.disabled


def is_up(lb: Edge) -> bool:
    return outcome(lb) == "200"


def checked(server: SecureServer, transport: dict[str, Any], **check: Any) -> dict[str, Any]:
    settings = {"path": "/", "interval": "50ms", "startDown": True, **check}
    return config_for(server.url, transport=transport, healthCheck=settings)


def test_health_checks_trust_the_same_servers_as_requests(made: dict[str, Files]) -> None:
    with secure_serving(made["ip"]) as server:
        with edge(checked(server, trusting(made))) as lb:
            eventually(lambda: is_up(lb), "the server is up")
        with edge(checked(server, {})) as lb:
            eventually(lambda: len(server.seen.failures) > 2, "checks are made")
            assert outcome(lb) == "503"
            # The same check goes on by other settings as soon as they are there.
            lb.apply(checked(server, trusting(made)))
            eventually(lambda: is_up(lb), "the server is up")


def test_health_checks_have_a_scheme_of_their_own(made: dict[str, Files]) -> None:
    with secure_serving(made["ip"]) as server, serving() as plain:
        dynamic = checked(server, trusting(made), scheme="https", port=server.port)
        dynamic["http"]["services"]["all"]["loadBalancer"]["servers"] = [{"url": plain.url}]
        with edge(dynamic) as lb:
            eventually(lambda: is_up(lb), "the server is up")


def behind_tcp(address: str, transport: dict[str, Any] | None = None, **balancer: Any) -> dict[str, Any]:
    settings = {"servers": [{"address": address, "tls": True}], "serversTransport": "custom", **balancer}
    return {
        "tcp": {
            "routers": {"all": {"rule": "HostSNI(`*`)", "service": "all"}},
            "services": {"all": {"loadBalancer": settings}},
            "serversTransports": {"custom": transport or {}},
        }
    }


def echo(peer: Peer) -> None:
    with contextlib.suppress(OSError):
        while data := peer.sock.recv(65536):
            peer.send(data)


def key_shares(hello: bytes) -> list[int]:
    """The groups for which a ClientHello in one record has key shares (RFC 8446 section 4.2.8)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at] + 2
    found = []
    while at < len(hello):
        kind, length = (int.from_bytes(hello[at + n : at + n + 2], "big") for n in (0, 2))
        if kind == 51:
            entry = at + 6
            while entry < at + 4 + length:
                found.append(int.from_bytes(hello[entry : entry + 2], "big"))
                entry += 4 + int.from_bytes(hello[entry + 2 : entry + 4], "big")
        at += 4 + length
    return found


def test_a_server_without_the_hybrid_group_need_not_ask_again() -> None:
    from lbcore.tls.openssl import library

    hellos: list[bytes] = []

    def take(peer: Peer) -> None:
        head = peer.exactly(5)
        hellos.append(head + peer.exactly(int.from_bytes(head[3:5], "big")))

    with serving(take) as server, edge(config_for(server.url.replace("http:", "https:"))) as lb:
        assert outcome(lb) == "502"
    hybrid = library.number >= 0x30500000
    assert key_shares(hellos[0]) == ([0x11EC, 0x1D] if hybrid else [0x1D])


def test_connections_of_layer_4_go_over_tls(made: dict[str, Files]) -> None:
    data = os.urandom(1 << 20)
    with secure_serving(made["ip"], echo) as server:
        address = f"127.0.0.1:{server.port}"
        with edge(behind_tcp(address, {"tls": trusting(made)})) as lb:
            client = lb.client()
            sender = threading.Thread(target=client.send, args=(data,))
            sender.start()
            assert client.exactly(len(data)) == data
            sender.join()
            client.sock.shutdown(socket.SHUT_WR)
            assert client.to_the_end() == b""
        with edge(behind_tcp(address, {"tls": {}})) as lb:
            assert lb.client().to_the_end() == b""
        with edge(behind_tcp(address, {"tls": {"insecureSkipVerify": True}})) as lb:
            client = lb.client()
            client.send(b"hello")
            assert client.exactly(5) == b"hello"


def test_connections_of_layer_4_without_a_transport_have_the_static_one(made: dict[str, Files]) -> None:
    authority = {"rootCAs": [str(made["ca"].certificate)]}
    check = {"healthCheck": {"send": "ping", "expect": "ping", "interval": "20ms", "timeout": "10s"}}
    with secure_serving(made["ip"], echo) as server:
        dynamic = behind_tcp(f"127.0.0.1:{server.port}", serversTransport="", **check)
        for settings, works in ((authority, True), ({"insecureSkipVerify": True}, True), ({}, False)):
            with edge(dynamic, static={"tcpServersTransport": {"tls": settings}}) as lb:
                slot = lb.proxy._runtime.slots.servers[f"tcp:all@file|127.0.0.1:{server.port}"]
                if not works:
                    eventually(lambda lb=lb, slot=slot: not lb.proxy._region.is_up(slot), "the check fails, too")  # type: ignore[misc]
                    assert lb.client().to_the_end() == b""
                    continue
                client = lb.client()
                client.send(b"hello")
                assert client.exactly(5) == b"hello"
                assert lb.proxy._region.is_up(slot)


def test_the_proxy_header_goes_before_the_handshake(made: dict[str, Files]) -> None:
    found: list[bytes] = []

    def behind(peer: Peer) -> None:
        while not found or not found[-1].endswith(b"\n"):
            found.append((found[-1] if found else b"") + peer.sock.recv(1))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made["ip"].certificate, made["ip"].key)
        peer.sock = context.wrap_socket(peer.sock, server_side=True)
        echo(peer)

    with serving(behind) as server:
        transport = {"tls": trusting(made), "proxyProtocol": {"version": "1"}}
        with edge(behind_tcp(f"127.0.0.1:{server.port}", transport)) as lb:
            client = lb.client()
            client.send(b"hello")
            assert client.exactly(5) == b"hello"
            host, port = client.sock.getsockname()
            assert found[-1].startswith(f"PROXY TCP4 {host} 127.0.0.1 {port} ".encode())
            client.close()


def test_checks_of_layer_4_go_over_tls(made: dict[str, Files]) -> None:
    with secure_serving(made["ip"], echo) as server:
        check = {"send": "ping", "expect": "ping", "interval": "50ms", "startDown": True}
        address = f"127.0.0.1:{server.port}"
        with edge(behind_tcp(address, {"tls": trusting(made)}, healthCheck=check)) as lb:

            def is_through() -> bool:
                client = lb.client()
                with contextlib.suppress(ConnectionError, EOFError):
                    client.send(b"hello")
                    return client.exactly(5) == b"hello"
                return False

            eventually(is_through, "the server is up")


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_a_server_has_said_before_it_took_no_more_is_read(tmp_path: Path, encrypted: bool) -> None:
    """It answers and closes with bytes unread, which resets its connection; that is found by sending to it."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.head()
        asked.set()
        assert go_on.wait(TIMEOUT_S)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        os.close(peer.sock.detach())
        closed.set()

    asked, go_on, closed = (threading.Event() for _ in range(3))
    with contextlib.ExitStack() as stack:
        if encrypted:
            files = certificate(tmp_path, "server", "a.test")
            url = stack.enter_context(secure_serving(files, script)).url
        else:
            url = stack.enter_context(serving(script)).url
        lb = stack.enter_context(edge(config_for(url, transport={"insecureSkipVerify": True})))
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + bytes(100_000))
        assert asked.wait(TIMEOUT_S)
        lb.settle()

        def all_at_once() -> None:  # before the proxy looks again
            client.send(bytes(60_000))
            go_on.set()
            assert closed.wait(TIMEOUT_S)

        lb._loop.call_soon_threadsafe(all_at_once)
        first, _, body = client.message()
        assert (first.split()[1], body) == ("413", b"much")
