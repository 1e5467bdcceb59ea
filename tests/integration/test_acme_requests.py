"""What an order says to a CA, how long it may take, and certificates for addresses: a real CA, a real instance."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.ca import Authority, Between, authority, dynamic_for, issued, names_in, static_for
from tests.support.instance import Backend, eventually, running


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("ca")) as found:
        yield found


def csr_in(content: dict[str, Any]) -> x509.CertificateSigningRequest:
    text = str(content["csr"])
    return x509.load_der_x509_csr(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_what_an_order_asks_for(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    between = Between(ca)
    times: dict[str, list[float]] = {}

    def note(path: str, content: Any) -> None:
        times.setdefault(path.split("/")[1], []).append(time.monotonic())

    between.answer = note  # type: ignore[assignment]
    static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web", "delay": "1500ms"})
    settings = static["certificatesResolvers"]["le"]["acme"]
    settings |= {"caServer": f"{between.url}/dir", "profile": "short", "keyType": "RSA2048"}
    settings |= {"emailAddresses": ["security@example.test"], "disableCommonName": True}
    plain = ca.settings(tmp_path, tlsChallenge={"delay": "1500ms"}, caServer=f"{between.url}/dir")
    static["certificatesResolvers"]["plain"] = {"acme": {**plain, "storage": str(tmp_path / "plain.json")}}
    dynamic = dynamic_for(backend, one="Host(`a.test`) || Host(`b.test`)")
    with running(tmp_path, dynamic, static=static, workers=1) as instance:
        first = issued(ca, "a.test")
        assert names_in(first) == {"a.test", "b.test"}
        assert isinstance(first.public_key(), rsa.RSAPublicKey)
        assert first.public_key().key_size == 2048
        contents = {path.split("/")[1]: content for _, path, content in between.requests if content}
        assert contents["sign-me-up"]["contact"] == ["mailto:admin@example.test"]
        assert contents["order-plz"]["profile"] == "short"
        request = csr_in(contents["finalize-order"])
        assert not request.subject.rdns
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.RFC822Name) == ["security@example.test"]
        assert times["chalZ"][0] - times["authZ"][0] > 1.4

        between.requests.clear()
        times.clear()
        dynamic = dynamic_for(backend, one="Host(`a.test`)", two="Host(`c.test`)")
        dynamic["http"]["routers"]["two"]["tls"]["certResolver"] = "plain"
        instance.write(dynamic)
        assert names_in(issued(ca, "c.test")) == {"c.test"}
        contents = {path.split("/")[1]: content for _, path, content in between.requests if content}
        assert "profile" not in contents["order-plz"]
        request = csr_in(contents["finalize-order"])
        assert request.subject.rfc4514_string() == "CN=c.test"
        assert times["chalZ"][0] - times["authZ"][0] > 1.4
    between.close()


def served_to(port: int, address: str) -> x509.Certificate:
    """What a client gets that asks for no name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((address, port), timeout=10) as plain:
        with context.wrap_socket(plain) as encrypted:
            data = encrypted.getpeercert(binary_form=True)
            assert data
            return x509.load_der_x509_certificate(data)


@pytest.mark.parametrize("kind", ["httpChallenge", "tlsChallenge"])
def test_certificates_for_addresses(ca: Authority, backend: Backend, tmp_path: Path, kind: str) -> None:
    challenge = {"entryPoint": "web"} if kind == "httpChallenge" else {}
    static = static_for(ca, tmp_path, **{kind: challenge})
    dynamic = dynamic_for(backend, one="Host(`a.test`)")
    dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "127.0.0.1", "sans": ["a.test"]}]
    with running(tmp_path, dynamic, static=static, workers=1):

        def found() -> x509.Certificate | None:
            with contextlib.suppress(OSError):
                got = served_to(ca.tls_port, "127.0.0.1")
                return got if "Pebble" in got.issuer.rfc4514_string() else None
            return None

        names = eventually(found, "a certificate for the address").extensions
        alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternatives.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
        assert alternatives.get_values_for_type(x509.DNSName) == ["a.test"]


class Dripping:
    """A CA whose answers do not end: a byte each tenth of a second."""

    def __init__(self, ca: Authority) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(ca.trusted, ca.folder / "ca.key")
        self.url = f"https://127.0.0.1:{self.listening.getsockname()[1]}/dir"
        self.ended = threading.Semaphore(0)  # a client has closed a connection
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listening.accept()
                threading.Thread(target=self.drip, args=(sock,), daemon=True).start()

    def drip(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as sock:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
            while True:
                sock.sendall(b" ")
                time.sleep(0.1)
        self.ended.release()


def test_a_ca_that_takes_too_long_is_given_up(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    between, dripping, silence = Between(ca), Dripping(ca), threading.Event()
    processing = {"status": "processing", "identifiers": [{"type": "dns", "value": "c.test"}], "authorizations": []}
    issuing = {"caServer": f"{between.url}/dir", "certificateTimeout": "1s", "storage": str(tmp_path / "2.json")}

    def answer(path: str, content: Any) -> tuple[int, dict[str, str], Any] | None:
        if path.startswith(("/finalize-order/", "/my-order/")):
            nonce = base64.urlsafe_b64encode(os.urandom(12)).decode()
            return 200, {"Replay-Nonce": nonce}, {**processing, "finalize": f"{between.url}{path}"}
        return None

    between.answer = answer
    static = static_for(ca, tmp_path, tlsChallenge={}, caServer=dripping.url, clientTimeout="1s")
    resolvers = static["certificatesResolvers"]
    mute = Between(ca)
    mute.answer = lambda path, content: (500, {}, {}) if silence.wait(60) else None
    head = {"caServer": f"{mute.url}/dir", "clientResponseHeaderTimeout": "1s", "storage": str(tmp_path / "1.json")}
    resolvers["head"] = {"acme": ca.settings(tmp_path, tlsChallenge={}, **head)}
    resolvers["issue"] = {"acme": ca.settings(tmp_path, tlsChallenge={}, **issuing)}
    dynamic = dynamic_for(backend, le="Host(`a.test`)", head="Host(`b.test`)", issue="Host(`c.test`)")
    for name in ("head", "issue"):
        dynamic["http"]["routers"][name]["tls"]["certResolver"] = name
    with running(tmp_path, dynamic, static=static, workers=1) as instance:
        instance.logged(r"le: no certificate for a.test, .*: it cannot be reached: .*no whole answer within 1 s")
        assert dripping.ended.acquire(timeout=30), "the connection is closed"
        found = instance.logged(r"head: no certificate for b.test, .*: it cannot be reached: (.*)")
        assert re.search("timed out", found[1])
        instance.logged(r"issue: no certificate for c.test, .*: no certificate was issued in time")
    silence.set()
    dripping.listening.close()
    for each in (between, mute):
        each.close()
