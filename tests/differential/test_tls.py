"""TLS of real Traefik and of lbcore: certificates by name, options, mutual TLS, 421, plain text beside it."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.certificates import RSA, Files, certificate
from tests.support.traefik import NAMES
from tests.support.twins import Twins, connect, describe, get, twins
from tests.support.wire import Peer, Server, config_for, serving

POINTS = {
    "entryPoints": {
        "web": {"address": ""},
        "secure": {"address": "", "http": {"tls": {"options": "new@file"}}},
        "away": {"address": "", "http": {"redirections": {"entryPoint": {"to": "secure"}}}},
    }
}


class World:
    def __init__(self, both: Twins, files: dict[str, Files], server: Server) -> None:
        self.both, self.files, self.server = both, files, server


def dynamic(server: str, files: dict[str, Files]) -> dict[str, Any]:
    routers: dict[str, dict[str, Any]] = {
        "plain": {"rule": "PathPrefix(`/`)"},
        "a": {"rule": "Host(`a.test`)", "tls": {}},
        "b": {"rule": "Host(`b.test`)", "tls": {"options": "new"}},
        "c": {"rule": "Host(`c.test`) && Path(`/only`)", "tls": {"options": "new"}},
        "mutual": {"rule": "Host(`mutual.test`)", "tls": {"options": "mutual"}},
        "any": {"rule": "Host(`any.test`)", "tls": {"options": "any"}},
        "given": {"rule": "Host(`given.test`)", "tls": {"options": "given"}},
        "strict": {"rule": "Host(`strict.test`) || Host(`x.strict.test`)", "tls": {"options": "strict"}},
        "old": {"rule": "Host(`old.test`)", "tls": {"options": "old"}},
        "two": {"rule": "Host(`two.test`)", "tls": {"options": "new"}},
        "twice": {"rule": "Host(`two.test`) && Path(`/x`)", "tls": {"options": "old"}},
        "secure": {"rule": "Host(`s.test`)", "entryPoints": ["secure"]},
        "rest": {"rule": "PathPrefix(`/rest`)", "tls": {}},
        "no-host": {"rule": "PathPrefix(`/no-host`)", "tls": {"options": "mutual"}},
        "mixed": {"rule": "Host(`mixed.test`) || Host(`two.test`) && Path(`/y`)", "tls": {"options": "any"}},
        "or": {"rule": "Host(`or.test`) || PathPrefix(`/or`)", "tls": {"options": "any"}},
    }
    found = config_for(server)
    found["http"]["routers"] = {
        name: {"service": "all", "entryPoints": ["web"], **router} for name, router in routers.items()
    }
    ca = [str(files["client"].certificate)]
    options = {
        "new": {"minVersion": "VersionTLS13"},
        "old": {"maxVersion": "VersionTLS12", "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]},
        "mutual": {"clientAuth": {"caFiles": ca, "clientAuthType": "RequireAndVerifyClientCert"}},
        "any": {"clientAuth": {"clientAuthType": "RequireAnyClientCert"}},
        "given": {"clientAuth": {"caFiles": ca, "clientAuthType": "VerifyClientCertIfGiven"}},
        "strict": {"sniStrict": True},
    }
    certificates = [files[name].entry for name in ("a", "rsa", "wild")]
    stores = {"default": {"defaultCertificate": files["default"].entry}}
    return {**found, "tls": {"certificates": certificates, "options": options, "stores": stores}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("tls")
    hosts = ("a.test", "b.test", "mutual.test", "strict.test", "old.test", "two.test")
    files = {
        "a": certificate(folder, "a", *hosts),
        "rsa": certificate(folder, "rsa", "r.test", key=RSA),
        "wild": certificate(folder, "wild", "*.strict.test", "*.wild.test"),
        "default": certificate(folder, "default", "default.test"),
        "client": certificate(folder, "client", "client.test"),
    }
    with serving(describe) as server, twins(folder, POINTS, dynamic(server.url, files), only="web") as both:
        yield World(both, files, server)


# Name asked for, host of the request, highest version, client's certificate, entry point.
CASES = {
    "a name": ("a.test", "a.test"),
    "a name in capitals": ("A.TEST", "a.test"),
    "a name that only has an RSA key": ("r.test", "a.test"),
    "a wildcard": ("x.wild.test", "a.test"),
    "two labels for a wildcard": ("y.x.wild.test", "a.test"),
    "no name": (None, "a.test"),
    "no router": ("a.test", "nobody.test"),
    "an unknown name": ("nobody.test", "nobody.test"),
    "options of a host": ("b.test", "b.test"),
    "options of a host with an old client": ("b.test", "b.test", ssl.TLSVersion.TLSv1_2),
    "other options by the host": ("a.test", "b.test"),
    "other options by the name": ("b.test", "a.test"),
    "the same options": ("b.test", "c.test"),
    "options of a host whose router asks for more": ("c.test", "c.test"),
    "no name and a host with options": (None, "b.test"),
    "an unknown name and a host with options": ("nobody.test", "b.test"),
    "a host with a port": ("b.test", "b.test:443"),
    "mutual without a certificate": ("mutual.test", "mutual.test"),
    "mutual with a strange one": ("mutual.test", "mutual.test", None, "a"),
    "mutual with a known one": ("mutual.test", "mutual.test", None, "client"),
    "mutual by the host alone": ("a.test", "mutual.test"),
    "any certificate: none": ("any.test", "any.test"),
    "any certificate: a strange one": ("any.test", "any.test", None, "a"),
    "a certificate if given: none": ("given.test", "given.test"),
    "a certificate if given: a strange one": ("given.test", "given.test", None, "a"),
    "a certificate if given: a known one": ("given.test", "given.test", None, "client"),
    "strict and known": ("strict.test", "strict.test"),
    "strict and a wildcard": ("x.strict.test", "x.strict.test"),
    "an old version": ("old.test", "old.test"),
    "two options for a host": ("two.test", "two.test", ssl.TLSVersion.TLSv1_2),
    "an entry point with options": ("s.test", "s.test", None, "", "secure"),
    "an entry point with options, an old client": ("s.test", "s.test", ssl.TLSVersion.TLSv1_2, "", "secure"),
}


def outcome(
    world: World,
    name: str,
    server_name: str | None,
    host: str,
    version: ssl.TLSVersion | None = None,
    client: str = "",
    point: str = "web",
    path: str = "/",
) -> tuple[str, ...]:
    """Version, suite, certificate and status; or that there was no answer."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    if client:
        context.load_cert_chain(world.files[client].certificate, world.files[client].key)
    try:
        sock = context.wrap_socket(connect(world.both.ports[name][point]).sock, server_hostname=server_name)
        peer = Peer(sock)
        peer.send(get(path, host))
        status = peer.until(b"\r\n").split()[1].decode()
    except (OSError, EOFError):
        return ("no answer",)
    der = sock.getpeercert(True)
    own = {ssl.PEM_cert_to_DER_cert(files.certificate.read_text()): key for key, files in world.files.items()}
    cipher = sock.cipher()
    assert der is not None
    assert cipher is not None
    return str(sock.version()), cipher[0], own.get(der, "another"), status


def outcome_of_http2(world: World, name: str, server_name: str, host: str, client: str) -> tuple[str, int]:
    """Version and status; or that there was no answer."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if client:
        context.load_cert_chain(world.files[client].certificate, world.files[client].key)
    url = f"https://127.0.0.1:{world.both.ports[name]['web']}/"
    try:
        with httpx.Client(http2=True, verify=context, timeout=30) as asking:
            answer = asking.get(url, headers={"Host": host}, extensions={"sni_hostname": server_name})
            return answer.http_version, answer.status_code
    except httpx.TransportError:
        return "no answer", 0


@pytest.mark.parametrize(
    ("server_name", "host", "client"),
    [
        ("a.test", "a.test", ""),
        ("a.test", "b.test", ""),
        ("b.test", "a.test", ""),
        ("b.test", "c.test", ""),
        ("a.test", "mutual.test", "client"),
        ("mutual.test", "mutual.test", "client"),
        ("mutual.test", "mutual.test", ""),
        ("mutual.test", "a.test", "client"),
        ("a.test", "nobody.test", ""),
        ("nobody.test", "b.test", ""),
        ("a.test", "b.test:443", ""),
    ],
)
def test_same_client_of_http2_same_outcome(world: World, server_name: str, host: str, client: str) -> None:
    found = {name: outcome_of_http2(world, name, server_name, host, client) for name in world.both.ports}
    assert found["lbcore"] == found["traefik"]


@pytest.mark.parametrize("name", CASES)
def test_same_client_same_outcome(world: World, name: str) -> None:
    case: Any = CASES[name]
    traefik, lbcore = (outcome(world, each, *case) for each in NAMES)
    assert lbcore == traefik


@pytest.mark.parametrize("path", ["/", "/rest", "/no-host", "/or"])
@pytest.mark.parametrize("host", ["a.test", "b.test", "c.test", "or.test", "nobody.test"])
@pytest.mark.parametrize("server_name", ["a.test", "c.test", "or.test", "any.test", None])
def test_the_options_of_the_router_count(world: World, server_name: str | None, host: str, path: str) -> None:
    traefik, lbcore = (outcome(world, each, server_name, host, None, "client", "web", path) for each in NAMES)
    assert lbcore == traefik


@pytest.mark.parametrize("client", ["", "client"])
@pytest.mark.parametrize("server_name", ["mixed.test", "two.test", "any.test"])
def test_a_router_whose_hosts_are_in_conflict_has_the_default_options(
    world: World, server_name: str, client: str
) -> None:
    traefik, lbcore = (outcome(world, each, server_name, "mixed.test", None, client) for each in NAMES)
    assert lbcore == traefik


@pytest.mark.parametrize("point", ["web", "secure"])
def test_what_comes_without_tls(world: World, point: str) -> None:
    found = []
    for name in NAMES:
        peer = connect(world.both.ports[name][point])
        peer.send(get("/", "a.test"))
        found.append(peer.until(b"\r\n").split()[1])
    assert found[0] == found[1]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("host", ["a.test", "s.test:80", "nobody.test", "[::1]", "S.Test"])
def test_the_same_redirection_to_https(world: World, host: str, method: bytes) -> None:
    found = []
    for name in NAMES:
        ports = world.both.ports[name]
        peer = connect(ports["away"])
        peer.send(get("/a%20b/?c=d", host).replace(b"GET", method, 1))
        head = peer.until(b"\r\n\r\n").decode()
        (location,) = re.findall(r"(?im)^location: (.*?)\r$", head)
        found.append((head.split()[1], location.replace(f":{ports['secure']}/", ":secure/")))
    assert found[0] == found[1]
    assert found[1][1].startswith("https://") and ":secure/a%20b/?c=d" in found[1][1]


def test_servers_get_the_same_headers_and_certificates(world: World) -> None:
    found = []
    for name in NAMES:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        sock = context.wrap_socket(connect(world.both.ports[name]["web"]).sock, server_hostname="a.test")
        peer = Peer(sock)
        peer.send(get("/", "a.test"))
        head = peer.until(b"\r\n\r\n").lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        told = json.loads(peer.exactly(length))["headers"]
        found.append({name: value for name, value in told.items() if name.lower().startswith("x-")})
    assert found[0] == found[1]
