"""A reload that changes who may come: what open connections have shown in their handshakes has to do from then on."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.support.certificates import Files, authority, certificate, signed
from tests.support.http2 import Http2Client, request
from tests.support.http3 import http3
from tests.support.instance import eventually
from tests.support.tls import trusting
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving
from tests.wire.test_tls import HELLO, over_tls, status

NONE, REQUESTED, ANY = "NoClientCert", "RequestClientCert", "RequireAnyClientCert"
IF_GIVEN, VERIFIED = "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    old, new = authority(folder, "old"), authority(folder, "new")
    middle = signed(folder, new, "middle", extensions=("basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"))
    below = signed(folder, middle, "below", "DNS:client.test")
    chained = Files(folder / "chained.pem", below.key)
    chained.certificate.write_text(below.certificate.read_text() + middle.certificate.read_text())
    return {
        "edge": certificate(folder, "edge", "a.test", "b.test"),
        "old": old,
        "new": new,
        "of old": signed(folder, old, "of-old", "DNS:client.test"),
        "of new": signed(folder, new, "of-new", "DNS:client.test"),
        "below new": chained,
        "a server of new": signed(
            folder, new, "server", "DNS:client.test", extensions=("extendedKeyUsage=serverAuth",)
        ),
        "stranger": certificate(folder, "stranger", "client.test"),
    }


def asking(made: dict[str, Files], url: str, kind: str, *authorities: str, named: bool = False) -> dict[str, Any]:
    """A configuration whose options, those of a.test or all, ask clients for a certificate."""
    files = [str(made[each].certificate) for each in authorities]
    options = {"clientAuth": {"clientAuthType": kind, **({"caFiles": files} if files else {})}}
    config = config_for(url)
    config["http"]["routers"]["all"]["tls"] = {}
    if named:
        router = {"rule": "Host(`a.test`)", "priority": 99, "service": "all", "tls": {"options": "o"}}
        config["http"]["routers"]["a"] = router
    certificates = [made["edge"].entry]
    return {**config, "tls": {"certificates": certificates, "options": {"o" if named else "default": options}}}


# What was asked of a client, its certificate, what is asked of it after the reload, and whether it still may come.
CASES: list[tuple[tuple[str, ...], str, tuple[str, ...], bool]] = [
    ((NONE,), "", (NONE,), True),
    ((NONE,), "", (REQUESTED,), True),
    ((NONE,), "", (IF_GIVEN, "old"), True),
    ((NONE,), "", (ANY,), False),
    ((NONE,), "", (VERIFIED, "old"), False),
    ((NONE,), "of old", (VERIFIED, "old"), False),  # it was not asked, and has shown none
    ((REQUESTED,), "", (VERIFIED, "old"), False),
    ((REQUESTED,), "of old", (VERIFIED, "old"), True),
    ((REQUESTED,), "of old", (VERIFIED, "new"), False),
    ((REQUESTED,), "stranger", (ANY,), True),
    ((REQUESTED,), "stranger", (IF_GIVEN, "old"), False),
    ((REQUESTED,), "below new", (VERIFIED, "new"), True),
    ((REQUESTED,), "a server of new", (VERIFIED, "new"), False),
    ((VERIFIED, "old"), "of old", (VERIFIED, "old", "new"), True),
    ((VERIFIED, "old", "new"), "of old", (VERIFIED, "new"), False),
    ((VERIFIED, "old", "new"), "of new", (VERIFIED, "new"), True),
    ((VERIFIED, "old"), "of old", (REQUESTED,), True),
    ((VERIFIED, "old"), "of old", (NONE,), True),
]


@pytest.mark.parametrize("named", [False, True], ids=["all hosts", "one host"])
@pytest.mark.parametrize(("before", "shown", "after", "may_come"), CASES)
def test_who_may_still_come(
    made: dict[str, Files],
    before: tuple[str, ...],
    shown: str,
    after: tuple[str, ...],
    may_come: bool,
    named: bool,
) -> None:
    own = trusting(made[shown] if shown else None)
    with serving() as server, edge(asking(made, server.url, *before, named=named)) as lb:
        peer = over_tls(lb, context=own)
        assert status(peer) == "200"
        lb.apply(asking(made, server.url, *after, named=named))
        if may_come:
            assert [status(peer), status(peer)] == ["200", "200"]
        else:
            first, headers, body = peer.ask(HELLO % b"a.test")
            assert (first.split()[1], headers["connection"], body) == ("421", "close", b"Misdirected Request\n")
            assert peer.to_the_end() == b""
        # A new connection comes to the same.
        with contextlib.suppress(OSError, EOFError):
            assert (status(over_tls(lb, context=own)) == "200") is (may_come or (before == (NONE,) and bool(shown)))


def test_a_weak_signature_does_not_do(made: dict[str, Files], tmp_path: Path) -> None:
    """A handshake under the new options would refuse the certificate for the SHA-1 of its signature."""
    own = trusting()
    own.set_ciphers("DEFAULT:@SECLEVEL=0")
    weak = signed(tmp_path, made["old"], "weak", "DNS:client.test", digest="sha1")
    own.load_cert_chain(weak.certificate, weak.key)
    with serving() as server, edge(asking(made, server.url, ANY)) as lb:
        peer = over_tls(lb, context=own)
        assert status(peer) == "200"
        lb.apply(asking(made, server.url, VERIFIED, "old"))
        assert status(peer) == "421"
        with pytest.raises((OSError, EOFError)):
            status(over_tls(lb, context=own))


def short_lived(folder: Path, by: Files, of: Files, valid_s: int) -> tuple[Files, datetime]:
    """The certificate `of` anew, by an authority, and when it ends."""
    issuer = x509.load_pem_x509_certificate(by.certificate.read_bytes())
    key = load_pem_private_key(by.key.read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    model = x509.load_pem_x509_certificate(of.certificate.read_bytes())
    ends = datetime.now(UTC) + timedelta(seconds=valid_s)
    builder = x509.CertificateBuilder(issuer.subject, model.subject, model.public_key(), 1)
    builder = builder.not_valid_before(ends - timedelta(days=1)).not_valid_after(ends)
    found = Files(folder / "short.pem", of.key)
    found.certificate.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    return found, ends


def test_options_that_stay_are_not_asked_anew(made: dict[str, Files], tmp_path: Path) -> None:
    """What held under them holds, as with those of the handshake: else each reload verifies all clients."""
    for valid_s in (3, 15):  # the first one may have ended too early, where the machine is busy
        short, ends = short_lived(tmp_path, made["old"], made["of old"], valid_s)
        with serving() as server, edge(asking(made, server.url, ANY)) as lb:
            peer = over_tls(lb, context=trusting(short))
            assert status(peer) == "200"
            config = asking(made, server.url, VERIFIED, "old")
            lb.apply(config)
            found = status(peer)
            if found != "200":
                assert datetime.now(UTC) >= ends
                continue
            over = ends + timedelta(seconds=1)
            eventually(lambda over=over: datetime.now(UTC) > over, "the certificate has ended")  # type: ignore[misc]
            config["tls"]["options"]["more"] = {"minVersion": "VersionTLS13"}
            lb.apply(config)
            assert status(peer) == "200"
            lb.apply(asking(made, server.url, VERIFIED, "old", "new"))
            assert status(peer) == "421"
            return
    raise AssertionError("the machine is too busy")


def test_other_hosts_are_not_concerned(made: dict[str, Files]) -> None:
    with serving() as server, edge(asking(made, server.url, NONE, named=True)) as lb:
        one, other = over_tls(lb, "a.test"), over_tls(lb, "b.test")
        assert [status(one), status(other, "b.test")] == ["200", "200"]
        lb.apply(asking(made, server.url, VERIFIED, "old", named=True))
        assert [status(other, "b.test"), status(one)] == ["200", "421"]
        lb.apply(asking(made, server.url, NONE, named=True))
        assert status(other, "b.test") == "200"


def test_a_host_that_comes_to_have_options_concerns_its_connections(made: dict[str, Files]) -> None:
    """The names of the options are those of the handshake and of the router alike: both have changed."""
    with serving() as server, edge(asking(made, server.url, NONE)) as lb:
        peer = over_tls(lb, "a.test")
        assert status(peer) == "200"
        lb.apply(asking(made, server.url, VERIFIED, "old", named=True))
        assert status(peer) == "421"


def test_a_request_under_way_ends_well_and_a_body_is_read_past(made: dict[str, Files]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            peer.message()
            asked.set()
            assert go_on.wait(TIMEOUT_S)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(asking(made, server.url, NONE)) as lb:
        peer = over_tls(lb)
        peer.send(HELLO % b"a.test")
        assert asked.wait(TIMEOUT_S)
        lb.apply(asking(made, server.url, VERIFIED, "old"))
        go_on.set()
        assert peer.message()[2] == b"ok"
        peer.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n" + bytes(100000))
        assert peer.message()[0].split()[1] == "421"
        assert peer.to_the_end() == b""
        eventually(lambda: lb.open_connections == 0, "the connection is gone")
        assert server.connections == 1


def test_a_session_that_was_resumed_keeps_its_certificate(made: dict[str, Files]) -> None:
    own = trusting(made["of new"])
    with serving() as server, edge(asking(made, server.url, VERIFIED, "new")) as lb:
        peer = over_tls(lb, context=own)
        assert status(peer) == "200"
        again = over_tls(lb, context=own, session=peer.sock.session)  # type: ignore[attr-defined]
        assert status(again) == "200"
        assert again.sock.session_reused  # type: ignore[attr-defined]
        lb.apply(asking(made, server.url, VERIFIED, "new", "old"))
        assert status(again) == "200"
        lb.apply(asking(made, server.url, VERIFIED, "old"))
        assert status(again) == "421"


@contextlib.contextmanager
def http2(lb: Edge, own: ssl.SSLContext) -> Iterator[Http2Client]:
    own.set_alpn_protocols(["h2"])
    found = Http2Client(own.wrap_socket(lb.client().sock, server_hostname="a.test"))
    try:
        yield found
    finally:
        found.close()


def test_streams_of_http2(made: dict[str, Files]) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                if "/slow" in peer.message()[0]:
                    assert go_on.wait(TIMEOUT_S)
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(script) as server, edge(asking(made, server.url, REQUESTED)) as lb:
        with http2(lb, trusting()) as stranger, http2(lb, trusting(made["of old"])) as known:
            assert [stranger.ask().status, known.ask().status] == [200, 200]
            slow = stranger.send("GET", "/slow")
            upload = stranger.open()
            stranger.headers(upload, request("POST"), end=False)
            stranger.ping()
            lb.apply(asking(made, server.url, VERIFIED, "old"))
            assert known.ask().status == 200
            refused = stranger.ask()
            assert (refused.status, refused.body) == (421, b"Misdirected Request\n")
            # What was under way ends well, and then the connection.
            stranger.data(upload, b"body", end=True)
            assert stranger.answer(upload).status == 200
            go_on.set()
            assert stranger.answer(slow).body == b"ok"
            stranger.to_the_end()
            assert [frame.error_code for frame in stranger.goaways] == [0, 0]
            assert known.ask().status == 200
        with pytest.raises(OSError), http2(lb, trusting()) as again:
            again.ask()


def test_streams_of_http3(made: dict[str, Files]) -> None:
    shown = {
        "certificate": x509.load_pem_x509_certificate(made["of old"].certificate.read_bytes()),
        "private_key": load_pem_private_key(made["of old"].key.read_bytes(), None),
    }
    with serving() as server, edge(asking(made, server.url, REQUESTED), http3={}) as lb:
        with http3(lb.address) as stranger, http3(lb.address, **shown) as known:
            assert [stranger.ask().status, known.ask().status] == [200, 200]
            lb.apply(asking(made, server.url, NONE))
            assert [stranger.ask().status, known.ask().status] == [200, 200]
            lb.apply(asking(made, server.url, VERIFIED, "old"))
            assert known.ask().status == 200
            refused = stranger.ask()
            assert (refused.status, refused.body) == (421, b"Misdirected Request\n")
            stranger.until(lambda: stranger.terminated is not None)
            assert stranger.terminated is not None
            assert stranger.terminated.error_code == 0x100
            assert known.ask().status == 200
