"""TLS from clients, with Python's `ssl`: the choice of certificates and options, and bytes in both directions."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lbcore.config.load import parse_dynamic
from lbcore.config.tls import TlsOptions
from lbcore.tls.option_set import OptionSet
from tests.support.certificates import RSA, Files, authority, certificate, signed
from tests.support.instance import eventually
from tests.support.openssl import OpensslClient
from tests.support.tls import Records, handshakes, trusting
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving

SANITIZED = "libasan" in Path("/proc/self/maps").read_text()

HELLO = b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "a": certificate(folder, "a", "a.test", "*.wild.test"),
        "rsa": certificate(folder, "rsa", "a.test", key=RSA),
        "b": certificate(folder, "b", "b.test"),
        "client": certificate(folder, "client", "client.test"),
    }


def secured(url: str, tls: dict[str, Any], **routers: dict[str, Any]) -> dict[str, Any]:
    """A configuration with one router for what comes over TLS, and others."""
    dynamic = config_for(url)
    dynamic["http"]["routers"] = {
        "all": {"rule": "PathPrefix(`/`)", "priority": 1, "service": "all", "tls": {}},
        **{name: {"service": "all", **router} for name, router in routers.items()},
    }
    return {**dynamic, "tls": tls}


def over_tls(lb: Edge, name: str | None = "a.test", context: ssl.SSLContext | None = None, **session: Any) -> Peer:
    """A connection whose handshake has been made."""
    peer = lb.client()
    peer.sock = (context or trusting()).wrap_socket(peer.sock, server_hostname=name, **session)
    return peer


def tls_of(peer: Peer) -> ssl.SSLSocket:
    assert isinstance(peer.sock, ssl.SSLSocket)
    return peer.sock


def served(peer: Peer) -> bytes:
    """The certificate a client was given."""
    found = tls_of(peer).getpeercert(True)
    assert found is not None
    return found


def port_of(lb: Edge) -> int:
    assert not isinstance(lb.address, str)
    return lb.address[1]


def of(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


def status(peer: Peer, host: str = "a.test", path: str = "/") -> str:
    peer.send((HELLO % host.encode()).replace(b" / ", f" {path} ".encode(), 1))
    head = peer.until(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    peer.exactly(int(length.partition(b":")[2]))
    return head.split()[1].decode()


@contextlib.contextmanager
def secure(tls: dict[str, Any], entry_point: dict[str, Any] | None = None, **routers: Any) -> Iterator[Edge]:
    with serving() as server, edge(secured(server.url, tls, **routers), **(entry_point or {})) as lb:
        yield lb


def test_the_certificate_is_that_of_the_name(made: dict[str, Files]) -> None:
    tls = {
        "certificates": [made["a"].entry, made["b"].texts],
        "stores": {"default": {"defaultCertificate": made["client"].entry}},
    }
    expected = {
        "a.test": "a",
        "A.Test": "a",
        "x.wild.test": "a",
        "b.test": "b",
        "y.x.wild.test": "client",
        "wild.test": "client",
        "c.test": "client",
        None: "client",
    }
    with secure(tls) as lb:
        for name, files in expected.items():
            assert served(over_tls(lb, name)) == of(made[files]), name


def test_a_name_without_a_certificate_gets_the_self_signed_one(made: dict[str, Files]) -> None:
    with secure({}) as lb:
        first, second = served(over_tls(lb)), served(over_tls(lb, None))
        assert first == second
        assert b"LBCORE DEFAULT CERT" in first


def test_of_two_kinds_of_keys_the_cheaper_one_that_the_client_can_verify(made: dict[str, Files]) -> None:
    with secure({"certificates": [made["rsa"].entry, made["a"].entry]}) as lb:
        assert served(over_tls(lb)) == of(made["a"])
        old = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
        assert served(over_tls(lb, context=old)) == of(made["a"])
        old.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        peer = over_tls(lb, context=old)
        assert (served(peer), tls_of(peer).version()) == (of(made["rsa"]), "TLSv1.2")
        assert status(peer) == "200"


def test_a_chain_is_sent_as_its_file_has_it(tmp_path: Path) -> None:
    """An authority that is trusted for clients completes no chain."""
    ca = authority(tmp_path, "ca")
    leaf = signed(tmp_path, ca, "leaf", "DNS:a.test")
    whole = Files(tmp_path / "whole.pem", leaf.key)
    whole.certificate.write_text(leaf.certificate.read_text() + ca.certificate.read_text())
    asks = {"clientAuth": {"caFiles": [str(ca.certificate)], "clientAuthType": "VerifyClientCertIfGiven"}}
    for files, sent in ((leaf, 1), (whole, 2)):
        with secure({"certificates": [files.entry], "options": {"default": asks}}) as lb:
            assert isinstance(lb.address, tuple)
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{lb.address[1]}", "-servername", "a.test"]
            done = subprocess.run([*command, "-showcerts"], input="", capture_output=True, text=True, check=False)
            assert done.stdout.count("BEGIN CERTIFICATE") == sent


def test_routers_with_tls_take_what_comes_over_tls_and_the_others_the_rest(made: dict[str, Files]) -> None:
    answers = {
        "plain": {"rule": "PathPrefix(`/`)"},
        "secret": {"rule": "Host(`b.test`)", "priority": 99, "tls": {}, "middlewares": ["away"]},
    }
    with serving() as server:
        dynamic = secured(server.url, {"certificates": [made["a"].entry]}, **answers)
        dynamic["http"]["middlewares"] = {
            "away": {"redirectRegex": {"regex": ".*", "replacement": "https://x/"}},
        }
        with edge(dynamic) as lb:
            assert status(over_tls(lb)) == "200"
            assert status(over_tls(lb, "b.test"), "b.test") == "302"
            assert lb.ask(HELLO % b"b.test")[0].split()[1] == "200"
        del dynamic["http"]["routers"]["plain"]
        with edge(dynamic) as lb:
            assert lb.ask(HELLO % b"a.test")[0].split()[1] == "404"
        dynamic["http"]["routers"] = {"plain": answers["plain"] | {"service": "all"}}
        with edge(dynamic) as lb:
            with pytest.raises(OSError):
                over_tls(lb)


def test_an_entry_point_with_tls_has_it_on_all_its_routers(made: dict[str, Files]) -> None:
    with serving() as server:
        dynamic = {**config_for(server.url), "tls": {"certificates": [made["a"].entry]}}
        with edge(dynamic, http={"tls": {}}) as lb:
            assert status(over_tls(lb)) == "200"
            assert lb.ask(HELLO % b"a.test")[0].split()[1] == "404"


def test_servers_are_told_that_the_client_came_encrypted(made: dict[str, Files]) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        heads.append(peer.until(b"\r\n\r\n").lower())
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as server, edge(secured(server.url, {})) as lb:
        assert status(over_tls(lb)) == "200"
    assert b"x-forwarded-proto: https" in heads[0]


def test_what_is_redirected_to_https_passes_over_it(made: dict[str, Files]) -> None:
    with serving() as server:
        dynamic = secured(server.url, {}, plain={"rule": "PathPrefix(`/`)", "middlewares": ["to"]})
        dynamic["http"]["routers"]["all"]["middlewares"] = ["to"]
        dynamic["http"]["middlewares"] = {"to": {"redirectScheme": {"scheme": "https"}}}
        with edge(dynamic) as lb:
            assert status(over_tls(lb)) == "200"
            assert lb.ask(HELLO % b"a.test")[1]["location"] == "https://a.test/"


VERSIONS = [
    ({}, ["TLSv1.3", "TLSv1.2"]),
    ({"minVersion": "VersionTLS13"}, ["TLSv1.3"]),
    ({"maxVersion": "VersionTLS12"}, ["TLSv1.2"]),
    ({"cipherSuites": ["TLS_AES_128_GCM_SHA256"]}, ["TLSv1.3"]),
]


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(("options", "versions"), VERSIONS)
def test_versions(made: dict[str, Files], options: dict[str, Any], versions: list[str], named: bool) -> None:
    tls = {"certificates": [made["a"].entry], "options": {"o" if named else "default": options}}
    routers = {"r": {"rule": "Host(`a.test`)", "tls": {"options": "o"}}} if named else {}
    with secure(tls, **routers) as lb:
        agreed = []
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = trusting(minimum_version=version, maximum_version=version)
            with contextlib.suppress(OSError):
                peer = over_tls(lb, context=context)
                assert status(peer) == "200"
                agreed.append(tls_of(peer).version())
    assert agreed == versions


@pytest.mark.parametrize("named", [False, True])
def test_cipher_suites_by_the_names_of_go(made: dict[str, Files], named: bool) -> None:
    options = {"maxVersion": "VersionTLS12", "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]}
    tls = {"certificates": [made["a"].entry], "options": {"o" if named else "default": options}}
    routers = {"r": {"rule": "Host(`a.test`)", "tls": {"options": "o"}}} if named else {}
    with secure(tls, **routers) as lb:
        cipher = tls_of(over_tls(lb)).cipher()
        assert cipher is not None
        assert cipher[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        other = trusting()
        other.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises(OSError):
            over_tls(lb, context=other)
        if named:
            cipher = tls_of(over_tls(lb, "b.test")).cipher()
            assert cipher is not None
            assert cipher[0] == "TLS_AES_128_GCM_SHA256"


@pytest.mark.parametrize("name", ["CurveP384", "secp384r1"])
def test_curves(made: dict[str, Files], name: str) -> None:
    tls = {"certificates": [made["a"].entry], "options": {"default": {"curvePreferences": [name]}}}
    with secure(tls) as lb:
        context = trusting()
        context.set_ecdh_curve("secp384r1")
        assert status(over_tls(lb, context=context)) == "200"
        context = trusting()
        context.set_ecdh_curve("prime256v1")
        with pytest.raises(OSError):
            over_tls(lb, context=context)


def test_the_hybrid_curve(made: dict[str, Files], monkeypatch: pytest.MonkeyPatch) -> None:
    tls = {"certificates": [made["a"].entry], "options": {"default": {"curvePreferences": ["X25519MLKEM768"]}}}
    with secure(tls) as lb:
        # A client with the same library agrees on it, one that does not know it cannot.
        url = f"https://127.0.0.1:{port_of(lb)}"
        transport = {"insecureSkipVerify": True}
        with edge(config_for(url, transport=transport)) as before:
            assert before.ask(HELLO % b"a.test")[0].split()[1] == "200"
        context = trusting()
        context.set_ecdh_curve("X25519")
        with pytest.raises(OSError):
            over_tls(lb, context=context)
    options = TlsOptions.model_validate({"curvePreferences": ["X25519MLKEM768"]})
    old = SimpleNamespace(number=0x30000000, version="OpenSSL 3.0.0")
    monkeypatch.setattr("lbcore.tls.option_set.library", old)
    with pytest.raises(ValueError, match=r"OpenSSL 3\.0\.0 has no X25519MLKEM768"):
        OptionSet("old", options)


def test_the_order_of_suites_is_the_servers(made: dict[str, Files]) -> None:
    """Whether `preferServerCipherSuites` is there or not."""
    for prefers in (True, False):
        with secure({"certificates": [made["a"].entry]}) as lb:
            config, problems = parse_dynamic(f"tls: {{options: {{default: {{preferServerCipherSuites: {prefers}}}}}}}")
            assert not config.tls.options["default"].faults
            assert [problem.hint for problem in problems] == ["the order of the server always counts"] * prefers
            context = trusting(maximum_version=ssl.TLSVersion.TLSv1_2)
            context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
            cipher = tls_of(over_tls(lb, context=context)).cipher()
            assert cipher is not None
            assert cipher[0] == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_tickets_allow_no_early_data(made: dict[str, Files], tmp_path: Path) -> None:
    session = str(tmp_path / "session")
    with secure({"certificates": [made["a"].entry]}) as lb:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port_of(lb)}", "-servername", "a.test", "-tls1_3"]
        request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        command += ["-quiet", "-sess_out", session]
        done = subprocess.run(command, input=request, capture_output=True, timeout=60)
        assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    command = ["openssl", "sess_id", "-in", session, "-noout", "-text"]
    assert b"Max Early Data: 0\n" in subprocess.run(command, capture_output=True, check=True).stdout


def test_sni_strict(made: dict[str, Files]) -> None:
    tls = {"certificates": [made["a"].entry], "options": {"default": {"sniStrict": True}}}
    with secure(tls) as lb:
        assert status(over_tls(lb, "x.wild.test"), "x.wild.test") == "200"
        for name in ("c.test", None):
            with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                over_tls(lb, name)


def test_protocols(made: dict[str, Files]) -> None:
    with secure({}) as lb:
        for offered, agreed in ((["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (None, None)):
            context = trusting()
            if offered:
                context.set_alpn_protocols(offered)
            peer = over_tls(lb, context=context)
            assert tls_of(peer).selected_alpn_protocol() == agreed
            assert agreed == "h2" or status(peer) == "200"
        context = trusting()
        context.set_alpn_protocols(["http/1.0"])
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            over_tls(lb, context=context)


def test_a_client_of_http_1_where_http_2_alone_is_offered(made: dict[str, Files]) -> None:
    """As in Go: it is served as if it had not heard of ALPN."""
    with secure({"certificates": [made["a"].entry], "options": {"default": {"alpnProtocols": ["h2"]}}}) as lb:
        context = trusting()
        context.set_alpn_protocols(["http/1.1"])
        peer = over_tls(lb, context=context)
        assert tls_of(peer).selected_alpn_protocol() is None
        assert status(peer) == "200"


AUTH = {
    # clientAuthType: what becomes of a client without a certificate, with a strange one, with a known one
    "NoClientCert": (True, True, True),
    "RequestClientCert": (True, True, True),
    "RequireAnyClientCert": (False, True, True),
    "VerifyClientCertIfGiven": (True, False, True),
    "RequireAndVerifyClientCert": (False, False, True),
    "": (False, False, True),
}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", AUTH)
def test_certificates_of_clients(made: dict[str, Files], kind: str, version: ssl.TLSVersion, named: bool) -> None:
    auth = {"clientAuthType": kind, "caFiles": [str(made["client"].certificate)]}
    tls = {"certificates": [made["a"].entry], "options": {"o" if named else "default": {"clientAuth": auth}}}
    routers = {"r": {"rule": "Host(`a.test`)", "tls": {"options": "o"}}} if named else {}
    with secure(tls, **routers) as lb:
        found = []
        for client in (None, made["b"], made["client"]):
            try:
                found.append(status(over_tls(lb, context=trusting(client, maximum_version=version))) == "200")
            except (OSError, EOFError):
                found.append(False)
    assert tuple(found) == AUTH[kind]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_leads_past_a_certificate_that_is_asked_for(made: dict[str, Files], version: ssl.TLSVersion) -> None:
    auth = {"clientAuth": {"caFiles": [str(made["client"].certificate)]}}
    tls = {"certificates": [made["a"].entry, made["b"].entry], "options": {"o": auth}}
    with secure(tls, r={"rule": "Host(`b.test`)", "tls": {"options": "o"}}) as lb:
        context = trusting(maximum_version=version)
        peer = over_tls(lb, context=context)
        assert status(peer) == "200"
        session = tls_of(peer).session
        again = over_tls(lb, context=context, session=session)
        assert status(again) == "200"
        assert tls_of(again).session_reused
        with pytest.raises((OSError, EOFError)):
            status(over_tls(lb, "b.test", context, session=session), "b.test")


def test_a_host_with_other_options_than_the_connection_is_misdirected(made: dict[str, Files]) -> None:
    tls = {"certificates": [made["a"].entry], "options": {"o": {"minVersion": "VersionTLS13"}}}
    routers = {
        "r": {"rule": "Host(`b.test`) && PathPrefix(`/`)", "tls": {"options": "o"}},
        "s": {"rule": "Host(`c.test`) && PathPrefix(`/`)", "tls": {"options": "o"}},
    }
    with secure(tls, **routers) as lb:
        peer = over_tls(lb)
        peer.send(HELLO % b"b.test")
        assert peer.until(b"\r\n\r\n").split()[1] == b"421"
        assert peer.exactly(20) == b"Misdirected Request\n"
        assert status(peer, "d.test") == "200"  # the connection goes on
        assert status(over_tls(lb, "b.test"), "c.test") == "200"
        assert status(over_tls(lb, "b.test"), "a.test") == "421"
        assert status(over_tls(lb, None), "b.test") == "421"


def test_a_router_with_options_takes_no_other_host_without_them(made: dict[str, Files]) -> None:
    asked = {"caFiles": [str(made["client"].certificate)], "clientAuthType": "RequireAndVerifyClientCert"}
    tls = {"certificates": [made["a"].entry], "options": {"o": {"clientAuth": asked}}}
    routers = {
        "r": {"rule": "HostRegexp(`^.+[.]b[.]test$`) || Host(`b.test`)", "tls": {"options": "o"}},
        "s": {"rule": "Host(`c.test`) && PathPrefix(`/`)", "tls": {"options": "o"}},
    }
    with secure(tls, **routers) as lb:
        for name in ("x.b.test", "a.test"):
            assert status(over_tls(lb, name), "x.b.test") == "421"
        assert status(over_tls(lb, "a.test"), "a.test") == "200"
        own = trusting(made["client"])
        assert status(over_tls(lb, "b.test", own), "b.test") == "200"
        assert status(over_tls(lb, "b.test", own), "c.test") == "200"


def test_a_host_without_certificates_of_clients_leads_to_no_router_that_asks_for_them(made: dict[str, Files]) -> None:
    asked = {"caFiles": [str(made["client"].certificate)], "clientAuthType": "RequireAndVerifyClientCert"}
    options = {"default": {"clientAuth": asked}, "open": {}}
    routers = {
        "r": {"rule": "Host(`a.test`) && Path(`/open`)", "tls": {"options": "open"}},
        "mixed": {"rule": "Host(`b.test`) || Host(`c.test`)", "tls": {"options": "open"}},
        "s": {"rule": "Host(`c.test`) && Path(`/x`)", "tls": {}},
        "all": {"rule": "PathPrefix(`/`)", "priority": 1, "tls": {}},
    }
    with secure({"certificates": [made["a"].entry], "options": options}, **routers) as lb:
        peer = over_tls(lb, "a.test")
        assert [status(peer, "a.test", path) for path in ("/open", "/", "/other")] == ["200", "421", "421"]
        assert status(over_tls(lb, "b.test", trusting(made["client"])), "b.test") == "200"
        with pytest.raises((OSError, EOFError)):  # all hosts of a router have the options of the one in conflict
            status(over_tls(lb, "b.test"), "b.test")


def test_two_options_for_one_host_are_none(made: dict[str, Files]) -> None:
    tls = {"certificates": [made["a"].entry], "options": {"o": {"minVersion": "VersionTLS13"}}}
    routers = {
        "r": {"rule": "Host(`a.test`) && Path(`/x`)", "tls": {"options": "o"}},
        "s": {"rule": "Host(`a.test`)", "tls": {}},
    }
    with secure(tls, **routers) as lb:
        assert status(over_tls(lb, context=trusting(maximum_version=ssl.TLSVersion.TLSv1_2))) == "200"


@pytest.mark.parametrize("disabled", [False, True])
def test_tickets(made: dict[str, Files], disabled: bool) -> None:
    with secure({"options": {"default": {"disableSessionTickets": disabled}}}) as lb:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(maximum_version=version)
            peer = over_tls(lb, context=context)
            assert status(peer) == "200"
            session = tls_of(peer).session
            again = over_tls(lb, context=context, session=session)
            assert status(again) == "200"
            assert tls_of(again).session_reused is not disabled


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tickets_outlive_two_changes_of_their_key(made: dict[str, Files], version: ssl.TLSVersion) -> None:
    with secure({}) as lb:
        context = trusting(maximum_version=version)

        def resumed(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
            peer = over_tls(lb, context=context, session=session)
            assert status(peer) == "200"
            found = tls_of(peer).session
            assert found is not None
            return bool(tls_of(peer).session_reused), found

        first = latest = resumed(None)[1]
        for changes in range(4):
            assert resumed(first)[0] is (changes <= 2)
            # Whoever comes back in time gets a ticket of the newest key, and so is always resumed.
            is_resumed, latest = resumed(latest)
            assert is_resumed
            lb.proxy._region.rotate_ticket_keys()


def test_large_bodies_both_ways_with_slow_ends(made: dict[str, Files]) -> None:
    body = os.urandom(16 << 20)
    full = [threading.Event(), threading.Event()]

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        full[0].wait(TIMEOUT_S)  # the client cannot go on
        got = peer.exactly(len(body))
        rest = peer.fill(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + got)
        full[1].set()
        peer.send(rest)

    with serving(script) as server, edge(secured(server.url, {})) as lb:
        peer = over_tls(lb)
        rest = peer.fill(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        full[0].set()
        peer.send(rest)
        full[1].wait(TIMEOUT_S)  # the server cannot go on, nor can lbcore
        peer.until(b"\r\n\r\n")
        assert zlib.crc32(peer.exactly(len(body))) == zlib.crc32(body)


def test_a_client_that_reads_slowly_gets_all_of_it(made: dict[str, Files]) -> None:
    body = os.urandom(8 << 20)

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with serving(script) as server, edge(secured(server.url, {})) as lb:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.settimeout(TIMEOUT_S)
        sock.connect(lb.address)
        peer = Peer(trusting().wrap_socket(sock, server_hostname="a.test"))
        peer.send(HELLO % b"a.test")
        peer.until(b"\r\n\r\n")
        got = bytearray(peer.rest)
        peer.rest = b""
        while len(got) < len(body):
            piece = peer.sock.recv(65536)
            assert piece
            got += piece
            if len(got) % 7 == 0:
                time.sleep(0.001)
    assert zlib.crc32(got) == zlib.crc32(body)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_uses_each_ticket_once_always_has_one(made: dict[str, Files], version: ssl.TLSVersion) -> None:
    with secure({}) as lb:
        context = trusting(maximum_version=version)
        peer = over_tls(lb, context=context)
        assert status(peer) == "200"
        for _ in range(4):
            session = tls_of(peer).session
            assert session is not None
            peer = over_tls(lb, context=context, session=session)
            assert status(peer) == "200"
            assert tls_of(peer).session_reused
            if version == ssl.TLSVersion.TLSv1_3:
                again = tls_of(peer).session
                assert again is not None
                assert again.id != session.id


def test_clients_that_do_not_read_cost_bounded_memory(made: dict[str, Files]) -> None:
    body = bytes(8 << 20)
    count = 40

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            peer.message()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            peer.send(body)

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    with serving(script) as server, edge(secured(server.url, {})) as lb:
        peers = [over_tls(lb) for _ in range(count)]
        before = resident_bytes()
        for peer in peers:
            peer.send(HELLO % b"a.test")
        for peer in peers:
            peer.until(b"\r\n\r\n")
        lb.settle()
        # Of 320 MiB; a thread of each server is in it. With sanitizers what is freed stays for a while.
        assert resident_bytes() - before < count << (22 if SANITIZED else 20)
        for peer in peers[:2]:
            assert peer.exactly(len(body)) == body


def test_requests_in_a_row_and_in_pieces(made: dict[str, Files]) -> None:
    with secure({}) as lb:
        peer = over_tls(lb)
        for _ in range(5):
            assert status(peer) == "200"
        for byte in HELLO % b"a.test":
            peer.send(bytes([byte]))
        assert peer.until(b"\r\n\r\n").split()[1] == b"200"
        peer = over_tls(lb)
        peer.send(HELLO % b"a.test" * 20)
        for _ in range(20):
            assert b" 200 " in peer.until(b"\r\n\r\n")


def test_a_hello_that_comes_byte_by_byte(made: dict[str, Files]) -> None:
    with secure({"certificates": [made["a"].entry]}) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Records(sock, trusting())
        client.shake_hands(1)
        client.send(HELLO % b"a.test", 1)
        assert b" 200 " in client.until(b"\r\n\r\n")
        assert client.tls.getpeercert(True) == of(made["a"])


def test_a_client_that_ends_its_side_gets_its_answer(made: dict[str, Files]) -> None:
    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        ended.wait(TIMEOUT_S)
        lb.settle()  # the end has been seen
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    ended = threading.Event()
    with serving(script) as server, edge(secured(server.url, {})) as lb:
        for ends_tls in (False, True):
            ended.clear()
            sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
            client = Records(sock, trusting())
            client.shake_hands()
            client.tls.write(HELLO % b"a.test")
            if ends_tls:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.tls.unwrap()
            client.push()
            sock.shutdown(socket.SHUT_WR)
            ended.set()
            received = b""
            while piece := sock.recv(65536):
                received += piece
            if ends_tls:
                assert len(received) > 100  # after close_notify, OpenSSL does not read
                continue
            client.incoming.write(received)
            client.incoming.write_eof()
            assert client.tls.read(65536).startswith(b"HTTP/1.1 200")


def test_the_end_of_a_connection_is_announced(made: dict[str, Files]) -> None:
    with secure({}) as lb:
        peer = over_tls(lb)
        peer.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        peer.until(b"\r\n\r\n")
        # Without close_notify Python raises SSLEOFError.
        while peer.sock.recv(65536):
            pass


GARBAGE = {
    "a record of nothing": b"\x16\x03\x01\x02\x00" + bytes(512),
    "another version": b"\x16\x02\x00\x00\x05hello",
    "noise": b"\x16" + bytes(range(256)) * 8,
    "an endless record": b"\x16\x03\x01\xff\xff" + bytes(65535),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_no_hello_is_closed(made: dict[str, Files], garbage: str) -> None:
    with secure({}) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        with contextlib.suppress(ConnectionError):
            sock.sendall(GARBAGE[garbage])
            while sock.recv(65536):
                pass
        assert status(over_tls(lb)) == "200"


def test_a_handshake_has_a_limit_of_time(made: dict[str, Files]) -> None:
    limits = {"transport": {"respondingTimeouts": {"headerTimeout": "200ms"}}}
    with secure({}, limits) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        began = time.monotonic()
        assert sock.recv(100) == b""
        assert time.monotonic() - began < TIMEOUT_S / 2


@pytest.mark.parametrize("has_begun", [False, True], ids=["hello", "finished"])
def test_bytes_that_trickle_in_do_not_move_the_limit_of_a_handshake(made: dict[str, Files], has_begun: bool) -> None:
    limits = {"transport": {"respondingTimeouts": {"headerTimeout": "400ms"}}}
    with secure({}, limits) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Records(sock, trusting())
        assert not client.goes_on()
        if has_begun:
            client.push()
            while not client.goes_on():
                client.pull()
        rest = client.outgoing.read() + b"\x17\x03\x03\x40\x00" + bytes(16384)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in rest[:-16400] if has_begun else rest:
                if time.monotonic() > began + TIMEOUT_S / 2:
                    break
                sock.send(bytes([byte]))
                time.sleep(0.02)
                if select.select([sock], [], [], 0)[0] and not sock.recv(65536):
                    break
        assert time.monotonic() - began < TIMEOUT_S / 2
        eventually(lambda: lb.open_connections == 0, "the connection is gone")
        counted = lb.proxy._region.entry_point_counters(0)
        assert sum(counted.handshakes_failed.values()) == 1


def test_keys_are_changed_by_a_client_and_not_without_end(made: dict[str, Files]) -> None:
    """Each change makes lbcore derive keys, and answer, for the price of 27 bytes: that is no use of a connection."""
    asks = HELLO % b"a.test"
    with secure({}) as lb:
        with contextlib.closing(OpensslClient(socket.create_connection(lb.address, timeout=TIMEOUT_S))) as client:
            for _ in range(3):  # more than it may change them in a row, in all
                for changes in (2000, 20):
                    client.sock.sendall(client.change_keys(changes) + client.write(asks))
                for _ in range(2):
                    assert client.until(b"GET / HTTP/1.1\n").startswith(b"HTTP/1.1 200 ")
        with contextlib.closing(OpensslClient(socket.create_connection(lb.address, timeout=TIMEOUT_S))) as client:
            with contextlib.suppress(ConnectionError):
                client.sock.sendall(client.change_keys(8000))
                while client.sock.recv(65536):
                    pass
            eventually(lambda: lb.open_connections == 0, "the connection is gone")
        assert status(over_tls(lb)) == "200"


def test_a_client_that_reads_nothing_changes_its_keys_within_bounds(made: dict[str, Files]) -> None:
    with secure({}, {"transport": {"respondingTimeouts": {"readTimeout": "1h"}}}) as lb:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(TIMEOUT_S)
        sock.connect(lb.address)
        with contextlib.closing(OpensslClient(sock)) as client:
            with contextlib.suppress(ConnectionError):
                client.sock.sendall(client.change_keys(8000))
            eventually(lambda: lb.open_connections == 0, "the connection is gone")


def test_tunnels_through_tls(made: dict[str, Files]) -> None:
    data = os.urandom(1 << 20)

    def script(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nhello")
        peer.send(peer.exactly(len(data)))

    with serving(script) as server, edge(secured(server.url, {})) as lb:
        peer = over_tls(lb)
        peer.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        assert b" 101 " in peer.until(b"\r\n\r\n")
        assert peer.exactly(5) == b"hello"
        peer.send(data)
        assert peer.exactly(len(data)) == data


def test_tls_and_layer_4_on_one_port(made: dict[str, Files]) -> None:
    def script(peer: Peer) -> None:
        if peer.sock.recv(65536).startswith(b"GET"):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            peer.send(b"layer 4")

    with serving(script) as server:
        dynamic = secured(server.url, {})
        address = server.url.removeprefix("http://")
        dynamic["tcp"] = {
            "routers": {"t": {"rule": "HostSNI(`*`)", "service": "t"}},
            "services": {"t": {"loadBalancer": {"servers": [{"address": address}]}}},
        }
        with edge(dynamic) as lb:
            assert status(over_tls(lb)) == "200"
            client = lb.client()
            client.send(b"something")
            assert client.exactly(7) == b"layer 4"


def test_a_proxy_header_in_front_of_tls(made: dict[str, Files]) -> None:
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        heads.append(peer.until(b"\r\n\r\n"))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as server, edge(secured(server.url, {}), proxyProtocol={"insecure": True}) as lb:
        sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
        sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n")
        assert status(Peer(trusting().wrap_socket(sock, server_hostname="a.test"))) == "200"
    assert b"192.0.2.7" in heads[0]


def test_other_certificates_are_served_without_a_connection_less(made: dict[str, Files]) -> None:
    with serving() as server, edge(secured(server.url, {"certificates": [made["a"].entry]})) as lb:
        peer = over_tls(lb)
        assert (served(peer), status(peer)) == (of(made["a"]), "200")
        lb.apply(secured(server.url, {"certificates": [made["rsa"].entry]}))
        assert served(over_tls(lb)) == of(made["rsa"])
        assert status(peer) == "200"
        lb.apply(config_for(server.url))
        assert status(peer) == "404"  # it came over TLS, for which there is no router any more


def test_connections_leave_nothing_behind(made: dict[str, Files]) -> None:
    with serving() as server, edge(secured(server.url, {"certificates": [made["a"].entry]})) as lb:
        for _ in range(100):
            peer = over_tls(lb)
            assert status(peer) == "200"
            peer.sock.close()
            with socket.create_connection(lb.address, timeout=TIMEOUT_S) as sock:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        eventually(lambda: handshakes() == 0, "all connections have gone")


def test_those_that_were_idle_while_descriptors_were_short_leave_nothing_behind(made: dict[str, Files]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving() as server:
        config = config_for(server.url, transport={"maxIdleConnsPerHost": -1})  # those to servers would be closed first
        config["http"]["routers"]["all"]["tls"] = {}
        with edge({**config, "tls": {"certificates": [made["a"].entry]}}) as lb, contextlib.ExitStack() as kept:
            # More than one, since what another test has left open may be closed in between, and makes room for some.
            late = [kept.enter_context(socket.socket()) for _ in range(16)]
            idle = [over_tls(lb) for _ in range(40)]
            assert {status(peer) for peer in idle} == {"200"}
            gc.collect()
            used = max(map(int, os.listdir("/proc/self/fd")))
            holes = [os.open(os.devnull, os.O_RDONLY)]
            while holes[-1] <= used:
                holes.append(os.open(os.devnull, os.O_RDONLY))
            resource.setrlimit(resource.RLIMIT_NOFILE, (holes[-1] + 1, limits[1]))
            try:
                for client in late:
                    client.connect(lb.address)
                    client.send(b"\x16")
                eventually(lambda: lb.proxy._region.connections_shed > 0, "room is made")
                lb.settle()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                for hole in holes:
                    os.close(hole)
            assert lb.open_connections > 10  # some were found idle, and stay
            for client in late:
                client.close()
            for peer in idle:
                peer.sock.close()
            eventually(lambda: lb.open_connections == 0, "all have ended")
            eventually(lambda: handshakes() == 0, "all connections have gone", 5)


@pytest.mark.parametrize(("settings", "agrees"), [({}, False), ({"curvePreferences": ["CurveP521"]}, True)])
def test_curves_are_those_of_mozillas_intermediate_configuration(
    made: dict[str, Files], settings: dict[str, Any], agrees: bool
) -> None:
    with secure({"certificates": [made["a"].entry], "options": {"default": settings}}) as lb:
        host, port = lb.address
        command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "a.test", "-groups"]
        for groups, expected in (("P-521", agrees), ("P-384", not agrees), ("X25519", not agrees)):
            found = subprocess.run(
                [*command, groups], input="", capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
            assert ("BEGIN CERTIFICATE" in found.stdout) == expected, groups
