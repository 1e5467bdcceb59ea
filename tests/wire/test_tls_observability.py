"""Observing TLS: certificates and their expiry, versions and suites, clients' certificates, failed handshakes."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import RSA, Files, authority, certificate, signed
from tests.support.instance import eventually
from tests.support.openssl import OpensslClient
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, serving
from tests.wire.test_access_log import logged
from tests.wire.test_observability import api, metric, metrics, watched

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    ca = authority(folder, "ca")
    return {
        "a": certificate(folder, "a", "a.test", "*.wild.test"),
        "soon": certificate(folder, "soon", "soon.test", key=RSA, days=10),
        "address": signed(folder, ca, "address", "DNS:s.test", "IP:127.0.0.1", "IP:::1", "URI:spiffe://x/y"),
        "old": signed(folder, ca, "old", "DNS:old.test", days=-1),
        "default": certificate(folder, "default", "default.test"),
        "client": certificate(folder, "client", "client.test"),
    }


@contextlib.contextmanager
def secured(made: dict[str, Files], names: list[str], log: Path | None = None, **tls: Any) -> Iterator[Edge]:
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        dynamic["tls"] = {"certificates": [made[name].entry for name in names], **tls}
        static: dict[str, Any] = {"metrics": {"prometheus": {"addRoutersLabels": True}}}
        if log is not None:
            static["accessLog"] = {"filePath": str(log), "format": "json"}
        with watched(dynamic, **static) as lb:
            yield lb


def context_for(client: Files | None = None, **settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in settings.items():
        setattr(context, name, value)
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def over_tls(lb: Edge, name: str | None = "a.test", context: ssl.SSLContext | None = None) -> Peer:
    sock = socket.create_connection(lb.address, timeout=TIMEOUT_S)
    return Peer((context or context_for()).wrap_socket(sock, server_hostname=name))


def test_certificates_as_traefik_shows_them(made: dict[str, Files]) -> None:
    stores = {"default": {"defaultCertificate": made["default"].entry}}
    with secured(made, ["a", "soon", "address", "old", "a"], stores=stores) as lb:
        status, found, _ = api(lb, "/api/certificates")
        assert status == 200
        assert [each["commonName"] for each in found] == ["a", "address", "default", "old", "soon"]
        assert [each["status"] for each in found] == ["enabled", "enabled", "enabled", "expired", "warning"]
        first = found[0]
        assert set(first) == {
            "name", "sans", "notAfter", "notBefore", "serialNumber", "commonName", "issuerCN", "version", "keyType",
            "keySize", "signatureAlgorithm", "certFingerprint", "publicKeyFingerprint", "status",
        }  # fmt: skip
        assert first["sans"] == ["*.wild.test", "a.test"]
        assert (first["keyType"], first["keySize"], first["signatureAlgorithm"]) == ("ECDSA", 256, "ECDSA-SHA256")
        assert first["version"] == "v3"
        assert found[1]["sans"] == ["127.0.0.1", "::1", "s.test"]
        assert found[1]["issuerCN"] == "ca"
        assert (found[4]["keyType"], found[4]["keySize"], found[4]["signatureAlgorithm"]) == ("RSA", 2048, "SHA256-RSA")
        assert api(lb, f"/api/certificates/{first['name']}")[1] == first
        assert api(lb, "/api/certificates/none")[0] == 404
        assert [each["commonName"] for each in api(lb, "/api/certificates?search=wild")[1]] == ["a"]
        assert [each["commonName"] for each in api(lb, "/api/certificates?status=expired")[1]] == ["old"]
        assert api(lb, "/api/overview")[1]["certificates"] == {"total": 5, "warnings": 1, "errors": 1}
        assert api(lb, "/api/state")[1]["tls"].startswith("OpenSSL 3.")
        ends = {dict(labels)["cn"]: value for (name, labels), value in metrics(lb).items() if "not_after" in name}
        assert set(ends) == {"a", "address", "default", "old", "soon"}
        assert ends["old"] < ends["soon"] < ends["a"]
        assert metric(lb, "lbcore_tls_certs_not_after", cn="address", sans="s.test", serial=found[1]["serialNumber"])


def test_nothing_is_said_of_tls_where_it_is_not_spoken() -> None:
    with serving() as server, watched(config_for(server.url), metrics={"prometheus": {}}) as lb:
        assert api(lb, "/api/certificates")[1] == []
        assert api(lb, "/api/state")[1]["tls"] == ""
        assert not [name for name, _ in metrics(lb) if "_tls_" in name]


def test_requests_are_counted_by_version_and_suite(made: dict[str, Files]) -> None:
    old = context_for(maximum_version=ssl.TLSVersion.TLSv1_2)
    old.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    with secured(made, ["a"]) as lb:
        new = over_tls(lb)
        for _ in range(3):
            assert new.ask(GET)[0] == "HTTP/1.1 200 OK"
        assert over_tls(lb, context=old).ask(GET)[0] == "HTTP/1.1 200 OK"
        wanted = {"tls_version": "1.3", "tls_cipher": "TLS_AES_128_GCM_SHA256"}
        before = {"tls_version": "1.2", "tls_cipher": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}
        eventually(lambda: metric(lb, "lbcore_entrypoint_requests_tls_total") == 4, "all are counted")
        for name, own in (
            ("entrypoint", {"entrypoint": "web"}),
            ("router", {"router": "all@file", "service": "all@file"}),
            ("service", {"service": "all@file"}),
        ):
            chosen = cipher_of(new)
            assert metric(lb, f"lbcore_{name}_requests_tls_total", **{**wanted, "tls_cipher": chosen}, **own) == 3
            assert metric(lb, f"lbcore_{name}_requests_tls_total", **before, **own) == 1
            assert metric(lb, f"lbcore_{name}_requests_total", code="200", **own) == 4


def cipher_of(peer: Peer) -> str:
    assert isinstance(peer.sock, ssl.SSLSocket)
    return (peer.sock.cipher() or ("",))[0]


def test_the_access_log_names_the_clients_certificate(made: dict[str, Files], tmp_path: Path) -> None:
    path = tmp_path / "log"
    options = {"default": {"clientAuth": {"clientAuthType": "RequestClientCert"}}}
    with secured(made, ["a"], path, options=options) as lb:
        for files, expected in ((made["client"], "CN=client"), (None, None)):
            over_tls(lb, context=context_for(files)).ask(GET)
            line = logged(path, 1 if files else 2)
            assert line.get("TLSClientSubject") == expected
            assert (line["TLSVersion"], line["RequestScheme"]) == ("1.3", "https")


def test_a_client_without_a_name_gets_the_certificate_of_the_address(made: dict[str, Files]) -> None:
    stores = {"default": {"defaultCertificate": made["default"].entry}}
    with secured(made, ["a", "address"], stores=stores) as lb:
        for name, expected in ((None, "address"), ("a.test", "a"), ("none.test", "default"), ("s.test", "address")):
            sock = over_tls(lb, name).sock
            assert isinstance(sock, ssl.SSLSocket)
            der = ssl.PEM_cert_to_DER_cert(made[expected].certificate.read_text())
            assert sock.getpeercert(True) == der, name


def fail(lb: Edge, name: str, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError, EOFError):
        over_tls(lb, name, context).ask(GET)


def test_handshakes_that_fail_are_counted_by_cause(made: dict[str, Files], caplog: pytest.LogCaptureFixture) -> None:
    mutual = {"caFiles": [str(made["client"].certificate)], "clientAuthType": "RequireAndVerifyClientCert"}
    options = {"default": {"minVersion": "VersionTLS12", "clientAuth": mutual}}
    strict = context_for(made["client"])
    strict.verify_mode = ssl.CERT_REQUIRED
    other = context_for(made["client"])
    other.set_alpn_protocols(["other"])
    with secured(made, ["a"], options=options) as lb, caplog.at_level(logging.DEBUG, "lbcore.transport"):

        def count(cause: str) -> float:
            return metric(lb, "lbcore_tls_handshakes_failed_total", entrypoint="web", cause=cause)

        def grows(cause: str) -> None:
            eventually(lambda: count(cause) == 1, f"{cause} is counted, and nothing else")

        fail(lb, "a.test", context_for())
        grows("certificate")
        fail(lb, "a.test", strict)
        grows("refused")
        fail(lb, "a.test", other)
        grows("unshared")
        client = lb.client()
        client.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        client.to_the_end()
        grows("garbage")
        client = lb.client()
        client.send(b"\x16\x03\x01")
        client.close()
        grows("closed")
        assert sum(value for (name, _), value in metrics(lb).items() if name.startswith("lbcore_tls_handsh")) == 5
        lines = [record.message for record in caplog.records if "handshake with 127.0.0.1 failed" in record.message]
        assert len(lines) == 5


def test_a_connection_that_carries_nothing_is_counted(made: dict[str, Files], caplog: pytest.LogCaptureFixture) -> None:
    with secured(made, ["a"]) as lb, caplog.at_level(logging.DEBUG, "lbcore.transport"):
        with contextlib.closing(OpensslClient(socket.create_connection(lb.address, timeout=TIMEOUT_S))) as client:
            with contextlib.suppress(ConnectionError):
                client.sock.sendall(client.change_keys(8000))
                while client.sock.recv(65536):
                    pass

        def count(cause: str) -> float:
            return metric(lb, "lbcore_entrypoint_errors_total", entrypoint="web", cause=cause)

        eventually(lambda: count("abuse") == 1, "it is counted")
        assert count("tls") == 0
        (line,) = (record.message for record in caplog.records if "carry nothing" in record.message)
        assert line == "entry point web: the connection of 127.0.0.1 ends: 128 KiB came over TLS that carry nothing"
