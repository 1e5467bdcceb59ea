"""passTLSClientCert in real Traefik and in lbcore: servers learn the same of the same certificate."""

from __future__ import annotations

import contextlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import CURVE, Files, authority, certificate
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import Peer, config_for, serving

PARTS = {"country", "province", "locality", "organization", "commonName", "serialNumber", "domainComponent"}
ALL = dict.fromkeys(PARTS, True)
INFO = {"notAfter": True, "notBefore": True, "sans": True, "serialNumber": True}
WANTED: dict[str, dict[str, Any]] = {
    "pem": {"pem": True},
    "all": {"pem": True, "info": {**INFO, "subject": {**ALL, "organizationalUnit": True}, "issuer": ALL}},
    "names": {"info": {"subject": {"commonName": True, "organizationalUnit": True}, "issuer": {"organization": True}}},
    "none": {"info": {"subject": {"country": False}}},
}
SUBJECT = (
    '/DC=test/DC=shop/C=FR/ST=Île-de-France/L=Paris/O=One, "Two"/O=Three/OU=a;b/OU=c=d/serialNumber=7/CN=first/CN=café'
)
ALTERNATIVES = "DNS:client.test,DNS:*.b.test,email:a@b.test,IP:10.0.0.1,IP:2001:db8::1,URI:spiffe://a/b?c=d%20e"


def signed(folder: Path, by: Files) -> Files:
    """A certificate with all that can be passed on."""
    files = Files(folder / "client.pem", folder / "client.key")
    request, extensions = folder / "client.csr", folder / "client.ext"
    command = ["openssl", "req", "-new", "-utf8", *CURVE, "-nodes", "-keyout", str(files.key), "-out", str(request)]
    subprocess.run([*command, "-subj", SUBJECT], check=True, capture_output=True)
    extensions.write_text(f"subjectAltName={ALTERNATIVES}\n")
    command = ["openssl", "x509", "-req", "-in", str(request), "-out", str(files.certificate), "-days", "30"]
    command += ["-CA", str(by.certificate), "-CAkey", str(by.key), "-CAcreateserial", "-extfile", str(extensions)]
    subprocess.run(command, check=True, capture_output=True)
    files.certificate.write_text(files.certificate.read_text() + by.certificate.read_text())  # the chain
    return files


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twins, Files]]:
    folder = tmp_path_factory.mktemp("client-cert")
    ca, own = authority(folder, "ca"), certificate(folder, "own", "a.test")
    client = signed(folder, ca)
    with serving(describe) as server:
        config = config_for(server.url)
        config["http"]["middlewares"] = {name: {"passTLSClientCert": options} for name, options in WANTED.items()}
        config["http"]["routers"] = {"up": {"rule": "Path(`/`)", "service": "all"}}
        for name in WANTED:
            router = {"rule": f"PathPrefix(`/{name}/`)", "service": "all", "middlewares": [name]}
            config["http"]["routers"] |= {name: router | {"tls": {}}, f"{name}-plain": router}
        client_auth = {"caFiles": [str(ca.certificate)], "clientAuthType": "VerifyClientCertIfGiven"}
        config["tls"] = {"certificates": [own.entry], "options": {"default": {"clientAuth": client_auth}}}
        with twins(folder, {"entryPoints": {"web": {}}}, config) as both:
            yield both, client


def learned(both: Twins, name: str, request: bytes, shown: Files | None, secure: bool) -> dict[str, str]:
    with contextlib.closing(both.client(name, "web")) as client:
        peer = client
        if secure:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if shown is not None:
                context.load_cert_chain(shown.certificate, shown.key)
            peer = Peer(context.wrap_socket(client.sock, server_hostname="a.test"))
        first, _, body = peer.ask(request)
        assert first.endswith("200 OK")
        return {key: value for key, value in json.loads(body)["headers"].items() if "tls" in key}


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("case", ["shown", "not shown", "plain"])
def test_servers_learn_the_same(world: tuple[Twins, Files], wanted: str, case: str) -> None:
    both, client = world
    request = get(
        f"/{wanted}/", "a.test", "X-Forwarded-Tls-Client-Cert: evil", "X-Forwarded-Tls-Client-Cert-Info: evil"
    )
    shown = client if case == "shown" else None
    theirs, ours = (learned(both, name, request, shown, case != "plain") for name in ("traefik", "lbcore"))
    assert ours == theirs
    assert bool(theirs) == (case == "shown")
