"""Certificates that are ordered: a real CA, a real instance."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support.ca import Authority, authority
from tests.support.instance import Backend, Instance, eventually, running


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[Authority]:
    with authority(tmp_path / "ca") as found:
        yield found


@pytest.fixture
def backend() -> Iterator[Backend]:
    found = Backend("served")
    yield found
    found.close()


def static_for(ca: Authority, folder: Path, **acme: Any) -> dict[str, Any]:
    """Entry points where the CA looks, and the resolver `le`."""
    return {
        "entryPoints": {
            "web": {"address": f"127.0.0.1:{ca.http_port}"},
            "websecure": {"address": f"127.0.0.1:{ca.tls_port}"},
        },
        "certificatesResolvers": {"le": {"acme": ca.settings(folder, **acme)}},
    }


def dynamic_for(backend: Backend, **rules: str) -> dict[str, Any]:
    routers = {
        name: {"rule": rule, "service": "app", "entryPoints": ["websecure"], "tls": {"certResolver": "le"}}
        for name, rule in rules.items()
    }
    services = {"app": {"loadBalancer": {"servers": [{"url": backend.url}]}}}
    return {"http": {"routers": routers, "services": services}}


def served(ca: Authority, name: str) -> x509.Certificate:
    """What a client gets that asks for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", ca.tls_port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            data = encrypted.getpeercert(binary_form=True)
            assert data
            return x509.load_der_x509_certificate(data)


def get(ca: Authority, name: str, path: str = "/") -> str:
    """A request whose certificate is verified by the CA's root. Raises ssl.SSLError."""
    context = ssl.create_default_context(cadata=ca.root)
    with socket.create_connection(("127.0.0.1", ca.tls_port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            encrypted.sendall(request.encode())
            found = b""
            while data := encrypted.recv(65536):
                found += data
            return found.decode()


def names_in(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def issued(ca: Authority, name: str, instance: Instance) -> x509.Certificate:
    """Wait until a name is served by a certificate of the CA."""

    def find() -> x509.Certificate | None:
        found = served(ca, name)
        return found if "Pebble" in found.issuer.rfc4514_string() else None

    return eventually(find, f"a certificate for {name}", 60)


def test_http_01_gives_every_router_its_certificate(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
    dynamic = dynamic_for(backend, two="Host(`a.test`) || Host(`b.test`)", one="Host(`c.test`)")
    with running(tmp_path, dynamic, static=static) as instance:
        instance.runs(1)
        assert "LBCORE DEFAULT CERT" in served(ca, "other.test").subject.rfc4514_string()
        assert names_in(issued(ca, "a.test", instance)) == {"a.test", "b.test"}
        assert names_in(issued(ca, "c.test", instance)) == {"c.test"}
        for name in ("a.test", "b.test", "c.test"):
            assert get(ca, name).endswith("served")
        stored = json.loads((tmp_path / "acme.json").read_text())["le"]
        assert stored["Account"]["Registration"]["uri"].startswith("https://127.0.0.1")
        assert sorted(entry["domain"]["main"] for entry in stored["Certificates"]) == ["a.test", "c.test"]
        assert (tmp_path / "acme.json").stat().st_mode & 0o777 == 0o600
        instance.logged(r"le: a certificate for a.test, b.test, until")
