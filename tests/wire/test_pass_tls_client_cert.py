"""passTLSClientCert over the wire: what servers learn of a client's certificate, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import base64
import json
import ssl
from typing import Any
from urllib.parse import unquote_plus

import pycurl
import pytest
from cryptography import x509

from tests.support.certificates import Files, authority, certificate, signed
from tests.support.wire import Edge, Peer, config_for, edge, serving
from tests.wire.test_basic_auth import GET, echo

PEM, INFO = "x-forwarded-tls-client-cert", "x-forwarded-tls-client-cert-info"
EVERYTHING = {
    "notAfter": True,
    "notBefore": True,
    "sans": True,
    "serialNumber": True,
    "subject": {"commonName": True, "organization": True, "country": True},
    "issuer": {"commonName": True},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    ca = authority(folder, "ca")
    return {
        "ca": ca,
        "server": certificate(folder, "server", "a.test"),
        "client": signed(folder, ca, "client", "DNS:client.test", "email:a@b.test", "IP:10.0.0.1", "URI:spiffe://a/b"),
    }


def passing(url: str, files: dict[str, Files], **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"cert": {"passTLSClientCert": options}}
    config["http"]["routers"]["all"] |= {"middlewares": ["cert"], "tls": {}}
    config["http"]["routers"]["plain"] = {"rule": "PathPrefix(`/`)", "service": "all", "middlewares": ["cert"]}
    client_auth = {"caFiles": [str(files["ca"].certificate)], "clientAuthType": "VerifyClientCertIfGiven"}
    config["tls"] = {"certificates": [files["server"].entry], "options": {"default": {"clientAuth": client_auth}}}
    return config


def secure(proxy: Edge, shown: Files | None) -> Peer:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    client = proxy.client()
    return Peer(context.wrap_socket(client.sock, server_hostname="a.test"))


def seen(answer: tuple[str, dict[str, str], bytes]) -> dict[str, str]:
    assert answer[0].endswith("200 OK"), answer
    found: dict[str, str] = json.loads(answer[2])
    return found


SPOOFED = (
    b"X-Forwarded-Tls-Client-Cert: evil\r\nX-Forwarded-Tls-Client-Cert-Info: evil\r\n"
    b"X_Forwarded_Tls_Client_Cert: evil\r\n"
)


def test_what_servers_learn(files: dict[str, Files]) -> None:
    certificate = x509.load_pem_x509_certificate(files["client"].certificate.read_bytes())
    with serving(echo) as server, edge(passing(server.url, files, pem=True, info=EVERYTHING)) as proxy:
        client = secure(proxy, files["client"])
        for _ in range(2):
            headers = seen(client.ask(GET % SPOOFED))
            assert "x_forwarded_tls_client_cert" not in headers
            shown = x509.load_der_x509_certificate(base64.b64decode(headers[PEM].split(",")[0]))
            assert shown == certificate
            assert (
                unquote_plus(headers[INFO])
                .split(",")[0]
                .startswith('Subject="CN=client";Issuer="CN=ca";SerialNumber="')
            )
            parts = dict(part.split("=", 1) for part in unquote_plus(headers[INFO]).split(";"))
            assert parts["SerialNumber"] == f'"{certificate.serial_number}"'
            assert parts["NB"] == f'"{int(certificate.not_valid_before_utc.timestamp())}"'
            assert parts["NA"] == f'"{int(certificate.not_valid_after_utc.timestamp())}"'
            assert parts["SAN"] == '"client.test,a@b.test,10.0.0.1,spiffe://a/b"'
        client.sock.close()


@pytest.mark.parametrize("options", [{}, {"pem": True}, {"info": {"subject": {"commonName": True}}}, {"info": {}}])
def test_only_what_is_wanted(files: dict[str, Files], options: dict[str, Any]) -> None:
    with serving(echo) as server, edge(passing(server.url, files, **options)) as proxy:
        client = secure(proxy, files["client"])
        headers = seen(client.ask(GET % SPOOFED))
        assert (PEM in headers) == ("pem" in options)
        assert headers.get(INFO) == (
            {"subject": "Subject%3D%22CN%3Dclient%22"}.get(next(iter(options.get("info", {})), ""))
            if options.get("info")
            else None
        )
        client.sock.close()


def test_without_a_certificate(files: dict[str, Files]) -> None:
    with serving(echo) as server:
        config = passing(server.url, files, pem=True, info=EVERYTHING)
        with edge(config) as proxy:
            first = secure(proxy, files["client"])
            assert PEM in seen(first.ask(GET % b""))
            first.sock.close()
            for client in (secure(proxy, None), proxy.client()):
                assert not {PEM, INFO} & set(seen(client.ask(GET % SPOOFED)))
                client.sock.close()
        with edge(config, forwardedHeaders={"insecure": True}) as proxy:
            client = secure(proxy, None)
            assert seen(client.ask(GET % SPOOFED))[PEM] == "evil"  # a proxy in front is trusted
            client.sock.close()
            client = secure(proxy, files["client"])
            assert seen(client.ask(GET % SPOOFED))[PEM] != "evil"
            client.sock.close()


def test_the_same_over_http3(files: dict[str, Files]) -> None:
    certificate = x509.load_pem_x509_certificate(files["client"].certificate.read_bytes())
    with serving(echo) as server, edge(passing(server.url, files, pem=True, info=EVERYTHING), http3={}) as proxy:
        assert isinstance(proxy.address, tuple)
        for shown in (files["client"], None):
            curl = pycurl.Curl()
            curl.setopt(pycurl.URL, f"https://a.test:{proxy.address[1]}/")
            curl.setopt(pycurl.RESOLVE, [f"a.test:{proxy.address[1]}:127.0.0.1"])
            curl.setopt(pycurl.HTTP_VERSION, 31)  # CURL_HTTP_VERSION_3ONLY
            curl.setopt(pycurl.CAINFO, str(files["server"].certificate))
            if shown is not None:
                curl.setopt(pycurl.SSLCERT, str(shown.certificate))
                curl.setopt(pycurl.SSLKEY, str(shown.key))
            curl.setopt(pycurl.TIMEOUT, 60)
            headers = json.loads(curl.perform_rs())
            curl.close()
            if shown is None:
                assert PEM not in headers
                assert INFO not in headers
            else:
                assert x509.load_der_x509_certificate(base64.b64decode(headers[PEM])) == certificate
                assert 'Subject="' in unquote_plus(headers[INFO])
