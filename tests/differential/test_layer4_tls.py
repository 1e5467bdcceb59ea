"""TLS at layer 4, of real Traefik and of lbcore: routers of connections, where TLS ends, SSLRequest of PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files, certificate
from tests.support.secure import secure_serving
from tests.support.tls import trusting
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, twins
from tests.support.wire import Peer, Server, serving
from tests.unit.transport.test_client_hello import hello, in_records

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
POINTS = {"entryPoints": {name: {"address": ""} for name in ("web", "mixed", "any", "tcp")}}


def named(text: bytes) -> Any:
    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            if data := peer.sock.recv(65536):
                peer.send(text + data)
                peer.sock.recv(1)

    return script


def database(peer: Peer) -> None:
    with contextlib.suppress(OSError):
        peer.send({SSL_REQUEST: b"S"}.get(peer.sock.recv(8), b"N"))
        named(b"db:")(peer)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder: Path = tmp_path_factory.mktemp("layer4")
    own = certificate(folder, "own", "a.test", "b.test", "*.wild.test", "mutual.test")
    other = certificate(folder, "other", "other.test")
    client = certificate(folder, "client", "client.test")
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(contextlib.closing(Server(describe)))  # idle connections may time out
        servers: dict[str, int] = {
            name: stack.enter_context(serving(named(name.encode() + b":"))).port for name in ("x", "y", "z")
        }
        servers["secure"] = stack.enter_context(secure_serving(other, named(b"secure:"))).port
        servers["db"] = stack.enter_context(serving(database)).port
        yield stack.enter_context(twins(folder, POINTS, dynamic(web.url, servers, own, client), only="web"))


def dynamic(web: str, servers: dict[str, int], own: Files, client: Files) -> dict[str, Any]:
    https = {
        "ready": {"rule": "PathPrefix(`/`)", "entryPoints": ["web"]},
        "a": {"rule": "Host(`a.test`)", "entryPoints": ["mixed", "any"], "tls": {}},
        "only": {"rule": "Host(`only.test`) && Path(`/only`)", "entryPoints": ["mixed"], "tls": {}},
        "plain": {"rule": "PathPrefix(`/`)", "entryPoints": ["mixed"]},
        "any": {"rule": "PathPrefix(`/`)", "entryPoints": ["any"], "tls": {}},
    }
    layer_4: dict[str, dict[str, Any]] = {
        "a": {"rule": "HostSNI(`a.test`)", "service": "x", "priority": 9999, "tls": {}},
        "b": {"rule": "HostSNI(`b.test`)", "service": "x", "tls": {}},
        "regexp": {"rule": "HostSNIRegexp(`^r[0-9]+\\.test$`)", "service": "y", "tls": {}},
        "past": {"rule": "HostSNI(`p.test`) || HostSNI(`q.test`)", "service": "secure", "tls": {"passthrough": True}},
        "db": {"rule": "HostSNI(`db.test`)", "service": "db", "tls": {"passthrough": True}},
        "alpn": {"rule": "HostSNI(`alpn.test`) && ALPN(`old`)", "service": "y", "tls": {"options": "old"}},
        "rest": {"rule": "HostSNI(`alpn.test`)", "service": "z", "tls": {}},
        "ip": {"rule": "HostSNI(`ip.test`) && ClientIP(`127.0.0.1`)", "service": "x", "tls": {}},
        "not-ip": {"rule": "HostSNI(`ip.test`) && !ClientIP(`127.0.0.0/8`)", "service": "y", "tls": {}, "priority": 99},
        "mutual": {"rule": "HostSNI(`mutual.test`)", "service": "x", "tls": {"options": "mutual"}},
        "strict": {"rule": "HostSNI(`strict.test`)", "service": "x", "tls": {"options": "strict"}},
        "wide": {"rule": "HostSNI(`w.test`) || HostSNI(`v.test`)", "service": "y", "tls": {}},
        "capitals": {"rule": "HostSNI(`Up.test`)", "service": "y", "tls": {}},
        "wildcard": {"rule": "HostSNI(`*.wide.test`)", "service": "y", "tls": {}},
        "narrow": {"rule": "HostSNI(`w.test`)", "service": "z", "tls": {}},
    }
    routers = {name: {"entryPoints": ["mixed", "any", "tcp"], **router} for name, router in layer_4.items()}
    routers["all"] = {"rule": "HostSNI(`*`)", "service": "z", "entryPoints": ["any", "tcp"], "tls": {}}
    routers["plain"] = {"rule": "HostSNI(`*`)", "service": "y", "entryPoints": ["tcp"]}
    mutual = {"caFiles": [str(client.certificate)], "clientAuthType": "RequireAndVerifyClientCert"}
    return {
        "http": {
            "routers": {name: {"service": "web", **router} for name, router in https.items()},
            "services": {"web": {"loadBalancer": {"servers": [{"url": web}]}}},
        },
        "tcp": {
            "routers": routers,
            "services": {
                name: {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{port}"}]}}
                for name, port in servers.items()
            },
        },
        "tls": {
            "certificates": [own.entry],
            "options": {
                "old": {"alpnProtocols": ["old"]},
                "mutual": {"clientAuth": mutual},
                "strict": {"sniStrict": True},
            },
        },
    }


def outcome(
    both: Twins, name: str, point: str, server_name: str | None, *protocols: str, first: bytes = b""
) -> tuple[Any, ...]:
    """Who answers, by which protocol and with whose certificate."""
    context = trusting()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    try:
        plain = socket.create_connection(("127.0.0.1", both.ports[name][point]), timeout=20)
        if first:
            plain.sendall(first)
            if plain.recv(1) != b"S":
                return ("no consent",)
        sock = context.wrap_socket(plain, server_hostname=server_name)
        request = f"GET / HTTP/1.1\r\nHost: {server_name or 'none.test'}\r\n\r\n".encode()
        sock.sendall(request)
        answer = Peer(sock).until(b"\r\n")
    except (OSError, EOFError):
        return ("nobody",)
    who = answer.split()[1] if answer.startswith(b"HTTP/1.1 ") else answer.partition(b":")[0]
    der = sock.getpeercert(True) or b""
    return who, sock.selected_alpn_protocol(), b"own" in der, b"other" in der


HOSTS = "a A b r1 rx p q alpn ip mutual strict w v only nobody up y.wide x.y.wide wide"
SERVER_NAMES = [f"{host}.test" for host in HOSTS.split()]
CASES: dict[str, tuple[Any, ...]] = {
    f"{name} on {point}": (point, name) for point in ("mixed", "any", "tcp") for name in (*SERVER_NAMES, None)
}
CASES |= {
    "the protocol chooses": ("tcp", "alpn.test", "old"),
    "the protocol is among others": ("tcp", "alpn.test", "other", "old"),
    "no common protocol": ("tcp", "b.test", "other"),
    "http/1.1": ("tcp", "b.test", "http/1.1"),
    "h2 at layer 4": ("tcp", "b.test", "h2", "http/1.1"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_takes_the_connection(both: Twins, case: str) -> None:
    traefik, lbcore = (outcome(both, name, *CASES[case]) for name in NAMES)
    assert lbcore == traefik


@pytest.mark.parametrize("point", ["mixed", "tcp"])
@pytest.mark.parametrize("name", ["b.test", "a.test", "p.test", "db.test", "nobody.test"])
def test_postgresql(both: Twins, point: str, name: str) -> None:
    traefik, lbcore = (outcome(both, each, point, name, first=SSL_REQUEST) for each in NAMES)
    assert lbcore == traefik


def test_a_database_gets_the_question_and_the_hello(both: Twins) -> None:
    data = hello("db.test")
    found = []
    for name in NAMES:
        peer = both.client(name, "tcp")
        peer.send(SSL_REQUEST)
        assert peer.exactly(1) == b"S"
        peer.send(data)
        found.append(peer.exactly(len(data) + 3))
    assert found == [b"db:" + data] * 2


@pytest.mark.parametrize("point", ["mixed", "tcp"])
@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"hello, whoever you are\r\n\r\n"])
def test_without_tls(both: Twins, point: str, data: bytes) -> None:
    found = []
    for name in NAMES:
        peer = both.client(name, point)
        peer.send(data)
        found.append(peer.until(b"\r\n").split(b":")[0])
    assert found[0] == found[1]


def test_a_hello_in_records_reaches_the_server_as_it_came(both: Twins) -> None:
    data = in_records(hello("p.test"), 100)
    peer = both.client("lbcore", "tcp")
    peer.send(data)
    assert peer.sock.recv(1)[0] in (0x15, 0x16), "the server reads it as TLS"
