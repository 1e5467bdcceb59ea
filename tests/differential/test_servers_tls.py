"""TLS to servers, of real Traefik and of lbcore: trust, and what servers receive.

A server that is not trusted is answered with 500 by Traefik and with 502 here (docs/differences.md).
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Files, authority, certificate, signed
from tests.support.instance import eventually
from tests.support.secure import SecureServer, secure_serving
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, twins
from tests.support.wire import Peer, serving

AGENT = "spiffe://shop.test/cart"

# The server's certificate, the host of the URL, and the transport, which trusts the authority if it names no rootCAs.
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an address": ("ip", "127.0.0.1", {}),
    "a name": ("local", "localhost", {}),
    "a name for an address": ("local", "127.0.0.1", {}),
    "an address for a name": ("ip", "localhost", {}),
    "a common name alone": ("common", "localhost", {}),
    "serverName": ("named", "127.0.0.1", {"serverName": "shop.test"}),
    "serverName in capitals": ("named", "127.0.0.1", {"serverName": "SHOP.test"}),
    "another serverName": ("named", "127.0.0.1", {"serverName": "cart.test"}),
    "a wildcard": ("wild", "127.0.0.1", {"serverName": "a.wild.test"}),
    "a wildcard for two labels": ("wild", "127.0.0.1", {"serverName": "a.b.wild.test"}),
    "expired": ("old", "127.0.0.1", {}),
    "expired and insecure": ("old", "127.0.0.1", {"insecureSkipVerify": True}),
    "self-signed": ("self", "localhost", {}),
    "self-signed and trusted": ("self", "localhost", {"rootCAs": ["self"]}),
    "self-signed and insecure": ("self", "127.0.0.1", {"insecureSkipVerify": True}),
    "the system's authorities": ("ip", "127.0.0.1", {"rootCAs": []}),
    "the leaf trusted": ("ip", "127.0.0.1", {"rootCAs": ["ip"]}),
    "another authority": ("ip", "127.0.0.1", {"rootCAs": ["other"]}),
    "peerCertURI": ("named", "127.0.0.1", {"serverName": "shop.test", "peerCertURI": AGENT}),
    "peerCertURI and the wrong name": ("named", "127.0.0.1", {"peerCertURI": AGENT}),
    "peerCertURI in capitals": ("named", "127.0.0.1", {"insecureSkipVerify": True, "peerCertURI": AGENT.upper()}),
    "peerCertURI that is not there": ("ip", "127.0.0.1", {"peerCertURI": AGENT}),
    "peerCertURI, insecure, untrusted": ("self", "localhost", {"insecureSkipVerify": True, "peerCertURI": AGENT}),
    "a client certificate": ("asks", "127.0.0.1", {"certificates": ["client"]}),
    "no client certificate": ("asks", "127.0.0.1", {}),
    "TLS 1.2": ("ip", "127.0.0.1", {"maxVersion": "VersionTLS12"}),
    "a suite": (
        "ip",
        "127.0.0.1",
        {"maxVersion": "VersionTLS12", "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"]},
    ),
    "both versions": ("ip", "127.0.0.1", {"minVersion": "VersionTLS13", "maxVersion": "VersionTLS13"}),
    "no HTTP/2": ("ip", "127.0.0.1", {"disableHTTP2": True}),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twins, dict[str, SecureServer]]]:
    folder: Path = tmp_path_factory.mktemp("servers")
    ca = authority(folder, "ca")
    files = {
        "other": authority(folder, "other"),
        "ip": signed(folder, ca, "ip", "IP:127.0.0.1"),
        "asks": signed(folder, ca, "asks", "IP:127.0.0.1"),
        "local": signed(folder, ca, "local", "DNS:localhost"),
        "named": signed(folder, ca, "named", "DNS:shop.test", f"URI:{AGENT}"),
        "wild": signed(folder, ca, "wild", "DNS:*.wild.test"),
        "common": signed(folder, ca, "localhost"),
        "old": signed(folder, ca, "old", "IP:127.0.0.1", days=-1),
        "client": signed(folder, ca, "client", "DNS:client.test"),
        "self": certificate(folder, "self", "localhost"),
    }

    def ask(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.certificate)

    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(serving(describe))
        found = {
            name: stack.enter_context(secure_serving(pair, describe, ask if name == "asks" else None))
            for name, pair in files.items()
        }
        dynamic = configured(plain.url, found, files, ca)
        points = {"entryPoints": {"web": {"address": ""}}}
        both = stack.enter_context(twins(folder, points, dynamic, path="/ready"))
        yield both, found


def configured(
    plain: str, servers: dict[str, SecureServer], files: dict[str, Files], ca: Files
) -> dict[str, Any]:
    http: dict[str, Any] = {
        "routers": {"ready": {"rule": "Path(`/ready`)", "service": "ready"}},
        "services": {"ready": {"loadBalancer": {"servers": [{"url": plain}]}}},
        "serversTransports": {},
    }
    for number, (server, host, settings) in enumerate(CASES.values()):
        name = f"case{number}"
        roots = settings.get("rootCAs", ["ca"])
        transport = {
            **settings,
            "rootCAs": [str((ca if root == "ca" else files[root]).certificate) for root in roots],
            "certificates": [files[pair].entry for pair in settings.get("certificates", [])],
        }
        balancer = {"servers": [{"url": servers[server].named(host)}], "serversTransport": name}
        http["routers"][name] = {"rule": f"Path(`/{name}`)", "service": name}
        http["services"][name] = {"loadBalancer": balancer}
        http["serversTransports"][name] = {key: value for key, value in transport.items() if value != []}
    return {"http": http}


@pytest.mark.parametrize("case", CASES)
def test_the_same_servers_are_trusted_and_see_the_same(
    servers: tuple[Twins, dict[str, SecureServer]], case: str
) -> None:
    both, found = servers
    server = found[CASES[case][0]]
    outcomes = []
    for name in NAMES:
        seen = server.seen
        handshakes, failures = len(seen.versions), len(seen.failures)
        client = both.client(name, "web")
        client.send(f"GET /case{list(CASES).index(case)} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        first, headers, body = client.message()
        status = first.split()[1]
        if status != "200":
            eventually(lambda: len(seen.failures) + len(seen.versions) > failures + handshakes, "the server sees it")  # noqa: B023
            assert (status, body) in [("502", b"Bad Gateway"), ("500", b"Internal Server Error")]
            outcomes.append(("not trusted", headers.get("content-type")))
        else:
            outcomes.append((status, seen.versions[-1], seen.ciphers[-1][:10], seen.names[-1], seen.certificates[-1]))  # type: ignore[arg-type]
    assert outcomes[1] == outcomes[0]


def echo(peer: Peer) -> None:
    with contextlib.suppress(OSError):
        while data := peer.sock.recv(65536):
            peer.send(data)


LAYER_4: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "no transport": ("ip", "127.0.0.1", None),
    "a name for an address": ("local", "127.0.0.1", {}),
    "serverName": ("named", "127.0.0.1", {"serverName": "shop.test"}),
    "insecure": ("self", "127.0.0.1", {"insecureSkipVerify": True}),
    "peerCertURI": ("named", "127.0.0.1", {"serverName": "shop.test", "peerCertURI": AGENT}),
    "another peerCertURI": ("local", "localhost", {"peerCertURI": AGENT}),
}


@pytest.fixture(scope="module")
def layer_4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twins, list[str]]]:
    folder: Path = tmp_path_factory.mktemp("layer4")
    ca = authority(folder, "ca")
    files = {
        "ip": signed(folder, ca, "ip", "IP:127.0.0.1"),
        "local": signed(folder, ca, "local", "DNS:localhost"),
        "named": signed(folder, ca, "named", "DNS:shop.test", f"URI:{AGENT}"),
        "self": certificate(folder, "self", "localhost"),
    }
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(serving(describe))
        found = {name: stack.enter_context(secure_serving(pair, echo)) for name, pair in files.items()}
        tcp: dict[str, Any] = {"routers": {}, "services": {}, "serversTransports": {}}
        points: dict[str, Any] = {"web": {"address": ""}}
        for number, (server, host, settings) in enumerate(LAYER_4.values()):
            name = f"case{number}"
            points[name] = {"address": ""}
            balancer: dict[str, Any] = {"servers": [{"address": f"{host}:{found[server].port}", "tls": True}]}
            if settings is not None:
                balancer["serversTransport"] = name
                tcp["serversTransports"][name] = {"tls": {"rootCAs": [str(ca.certificate)], **settings}}
            tcp["routers"][name] = {"rule": "HostSNI(`*`)", "service": name, "entryPoints": [name]}
            tcp["services"][name] = {"loadBalancer": balancer}
        http = {
            "routers": {"ready": {"rule": "Path(`/`)", "service": "ready", "entryPoints": ["web"]}},
            "services": {"ready": {"loadBalancer": {"servers": [{"url": plain.url}]}}},
        }
        both = stack.enter_context(twins(folder, {"entryPoints": points}, {"http": http, "tcp": tcp}, only="web"))
        yield both, list(LAYER_4)


@pytest.mark.parametrize("case", LAYER_4)
def test_layer_4_trusts_the_same(layer_4: tuple[Twins, list[str]], case: str) -> None:
    both, cases = layer_4
    outcomes = []
    for name in NAMES:
        client = both.client(name, f"case{cases.index(case)}")
        try:
            client.send(b"hello")
            outcomes.append(client.exactly(5))
        except (EOFError, ConnectionError):
            outcomes.append(b"")
    assert outcomes[1] == outcomes[0]
