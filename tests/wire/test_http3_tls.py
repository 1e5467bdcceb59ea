"""TLS of HTTP/3 clients: certificates of clients, hosts with other options, and how clients learn of HTTP/3."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import pytest
from aioquic.tls import Epoch
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.certificates import Files, certificate
from tests.support.http3 import http3
from tests.support.wire import edge, serving
from tests.wire.test_http3 import Heads, secured
from tests.wire.test_tls import AUTH

NAMED = {"sni_hostname": "a.test"}  # of a request of httpx


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name, f"{name}.test") for name in ("a", "known", "strange")}


def http2_of(files: Files) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(files.certificate))
    context.set_alpn_protocols(["h2"])
    return httpx.Client(http2=True, verify=context)


def test_http2_is_told_of_it(made: dict[str, Files]) -> None:
    with serving() as server, edge(secured(server.url, made["a"]), http3={"advertisedPort": 4433}) as lb:
        with http2_of(made["a"]) as client:
            answer = client.get("https://{}:{}/".format(*lb.address), headers={"Host": "a.test"}, extensions=NAMED)
            assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
            assert answer.headers["alt-svc"] == 'h3=":4433"; ma=2592000'


def test_a_host_with_other_options_than_the_connection_is_misdirected(made: dict[str, Files]) -> None:
    """In HTTP/2 and HTTP/3: their clients use one connection for all names of its certificate."""
    with serving() as server:
        dynamic = secured(server.url, made["a"], options={"o": {"minVersion": "VersionTLS13"}})
        routers = dynamic["http"]["routers"]
        routers["other"] = {**routers["all"], "rule": "Host(`b.test`) && PathPrefix(`/`)", "tls": {"options": "o"}}
        with edge(dynamic, http3={}) as lb:
            expected = [("a.test", 200), ("b.test", 421), ("c.test", 200)]
            with http3(lb.address) as h3:
                assert [(host, h3.ask(host=host).status) for host, _ in expected] == expected
            with http2_of(made["a"]) as client:
                url = "https://{}:{}/".format(*lb.address)
                found = []
                for host, _ in expected:
                    answer = client.get(url, headers={"Host": host}, extensions=NAMED)
                    assert answer.http_version == "HTTP/2"
                    found.append((host, answer.status_code))
                assert found == expected


@pytest.mark.parametrize("named", [False, True], ids=["default", "named"])
@pytest.mark.parametrize("kind", AUTH)
def test_certificates_of_clients(made: dict[str, Files], kind: str, named: bool) -> None:
    """As over TCP; whose certificate it is, servers are told, too."""
    auth = {"clientAuthType": kind, "caFiles": [str(made["known"].certificate)]}
    heads = Heads()
    with serving(heads) as server:
        options = {"o" if named else "default": {"clientAuth": auth}}
        dynamic = secured(server.url, made["a"], options=options)
        router = dynamic["http"]["routers"]["all"]
        router |= {"middlewares": ["told"]}
        router |= {"rule": "Host(`a.test`)", "tls": {"options": "o"}} if named else {}
        dynamic["http"]["middlewares"] = {"told": {"passTLSClientCert": {"info": {"subject": {"commonName": True}}}}}
        with edge(dynamic, http3={}) as lb:
            found = []
            for client in (None, made["strange"], made["known"]):
                shown: dict[str, Any] = {}
                if client is not None:
                    shown["certificate"] = x509.load_pem_x509_certificate(client.certificate.read_bytes())
                    shown["private_key"] = load_pem_private_key(client.key.read_bytes(), None)
                with http3(lb.address, **shown) as h3:
                    stream = h3.open()
                    h3.until(lambda h3=h3, stream=stream: h3.terminated or h3.answer_of(stream).ended)  # type: ignore[misc]
                    found.append(h3.terminated is None)
    assert tuple(found) == AUTH[kind]
    names = [head.get("x-forwarded-tls-client-cert-info", "") for _, head, _ in heads.seen]
    expected = ["", "Subject%3D%22CN%3Dstrange%22", "Subject%3D%22CN%3Dknown%22"]
    wanted = expected if kind != "NoClientCert" else ["", "", ""]
    assert names == [name for name, passes in zip(wanted, found, strict=True) if passes]


def test_sessions_are_resumed_and_early_data_is_not_taken(made: dict[str, Files]) -> None:
    """What comes before the handshake may come twice: it is not read, and the client sends it again."""
    heads = Heads()
    with serving(heads) as server, edge(secured(server.url, made["a"]), http3={}) as lb:
        with http3(lb.address) as h3:
            assert h3.ask("GET", "/first").status == 200
            h3.until(lambda: bool(h3.tickets))
            (ticket,) = h3.tickets
        assert ticket.max_early_data_size is None
        with http3(lb.address, session_ticket=ticket) as h3:
            assert h3.ask("GET", "/second").status == 200
            assert h3.quic.tls.session_resumed
        ticket.max_early_data_size = 0xFFFFFFFF  # this client believes that it may
        with http3(lb.address, session_ticket=ticket) as h3:
            assert h3.quic._cryptos[Epoch.ZERO_RTT].send.is_valid()
            stream = h3.open("GET", "/early")  # goes out at once, before anything has come
            assert h3.answer(stream).status == 200
            assert h3.quic.tls.session_resumed
            assert not h3.quic.tls.early_data_accepted
    assert [first.split()[1] for first, _, _ in heads.seen] == ["/first", "/second", "/early"]
