"""Which OCSP responses are believed, and when they are asked for again."""

from __future__ import annotations

import asyncio
import base64
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from lbcore.acme.plan import Needs
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import static_of
from lbcore.config.static import Ocsp
from lbcore.config.tls import Certificate, TlsConfig
from lbcore.errors import ConfigError
from lbcore.ocsp import agent
from lbcore.ocsp.agent import StaplingAgent
from lbcore.ocsp.response import issuer_among, read_response, request_for, responders_of
from lbcore.tls.certificate import Pair
from lbcore.tls.describe import certificates_of
from tests.support.instance import becomes_true

URL = "http://127.0.0.1:1/"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Signer:
    certificate: x509.Certificate
    key: Key


def certificate(
    name: str, by: Signer | None = None, key: Key | None = None, *, signs: bool = False, life_days: int = 9
) -> Signer:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.now(UTC) - timedelta(days=10)
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(by.certificate.subject if by else subject).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(begins + timedelta(days=10 + life_days))
    if by is not None:
        place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(URL))
        builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    if signs:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    signed = builder.sign(by.key if by else key, hashes.SHA256())
    return Signer(signed, key)


CA = certificate("ca")
LEAF = certificate("leaf", CA)


def response(
    signer: Signer,
    *,
    of: x509.Certificate = LEAF.certificate,
    issuer: Signer = CA,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    begins_s: float = -3600,
    ends_s: float | None = 3600,
) -> bytes:
    now = datetime.now(UTC)
    is_revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        of,
        issuer.certificate,
        hashes.SHA1(),
        status,
        now + timedelta(seconds=begins_s),
        None if ends_s is None else now + timedelta(seconds=ends_s),
        now if is_revoked else None,
        None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if signer is not issuer:
        builder = builder.certificates([signer.certificate])
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def read(data: bytes) -> float:
    """Seconds until it ends."""
    return read_response(data, LEAF.certificate, CA.certificate, time.time()).ends - time.time()


def test_the_issuer_and_those_it_has_appointed_are_believed() -> None:
    assert 3500 < read(response(CA)) <= 3600
    assert read(response(certificate("responder", CA, signs=True)))
    key = rsa.generate_private_key(65537, 2048)
    assert read(response(certificate("responder", CA, key, signs=True)))
    assert 22 * 3600 < read(response(CA, ends_s=None)) < 23.5 * 3600


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (lambda: response(certificate("other", CA)), "not signed by the issuer"),  # appointed for nothing
        (lambda: response(certificate("ca")), "not signed by the issuer"),  # of the same name
        (lambda: response(certificate("self", signs=True)), "not signed by the issuer"),
        (lambda: response(certificate("old", CA, signs=True, life_days=-1)), "not signed by the issuer"),
        (lambda: response(CA, of=certificate("leaf", CA).certificate), "about another certificate"),
        (lambda: response(CA, issuer=CA, ends_s=-1), "has ended at"),
        (lambda: response(CA, begins_s=1800), "of the future"),
        (lambda: response(CA, status=ocsp.OCSPCertStatus.REVOKED), "is revoked"),
        (lambda: response(CA, status=ocsp.OCSPCertStatus.UNKNOWN), "does not know the certificate"),
        (lambda: response(CA)[:-9], "."),
        (lambda: b"<html>", "."),
        (
            lambda: ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
                Encoding.DER
            ),
            "answers try later",
        ),
    ],
    ids=[
        *("not-appointed", "same-name", "foreign", "expired", "other", "ended", "future"),
        *("revoked", "unknown", "cut", "html", "later"),
    ],
)
def test_others_are_not(data: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(data())


def test_what_is_asked_for() -> None:
    assert responders_of(LEAF.certificate) == [URL]
    assert responders_of(CA.certificate) == []
    assert issuer_among(LEAF.certificate, [certificate("ca").certificate, CA.certificate]) == CA.certificate
    assert issuer_among(LEAF.certificate, []) is None
    asked = ocsp.load_der_ocsp_request(request_for(LEAF.certificate, CA.certificate))
    assert asked.serial_number == LEAF.certificate.serial_number


def test_an_override_is_a_url() -> None:
    static = static_of({"ocsp": {"responderOverrides": {URL: "https://ocsp.test/x"}}})
    assert static.ocsp == Ocsp(responder_overrides={URL: "https://ocsp.test/x"})
    assert static_of({"ocsp": {}}).ocsp == Ocsp()
    for wrong in ("ocsp.test", "ftp://ocsp.test/", "http://", "http://[x"):
        with pytest.raises(ConfigError, match="is no URL of a responder"):
            static_of({"ocsp": {"responderOverrides": {URL: wrong}}})


class Responder:
    """Answers with what `answer` gives, a status or a response."""

    def __init__(self) -> None:
        self.answer: Callable[[], bytes | int] = lambda: 500
        self.asked = 0
        responder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                responder.asked += 1
                found = responder.answer()
                status, body = (found, b"") if isinstance(found, int) else (200, found)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def responder() -> Iterator[Responder]:
    found = Responder()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_response_is_renewed_ahead_and_dropped_when_it_ends(
    responder: Responder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(agent, "LEAST_WAIT_S", 0.05)
    monkeypatch.setattr(agent, "FIRST_WAIT_S", 0.05)
    held: dict[str, bytes] = {}
    changes = 0

    async def set_staples(added: Mapping[str, str], gone: Sequence[str]) -> None:
        nonlocal changes
        changes += 1
        for name in gone:
            del held[name]
        held.update({name: base64.b64decode(text) for name, text in added.items()})

    def config(*signers: Signer) -> DynamicConfig:
        texts = [
            (signer.certificate.public_bytes(Encoding.PEM) + CA.certificate.public_bytes(Encoding.PEM)).decode()
            for signer in signers
        ]
        return DynamicConfig(tls=TlsConfig(certificates=[Certificate(certificate_text=text) for text in texts]))

    async def run() -> None:
        settings = Ocsp(responder_overrides={URL: responder.url})
        stapling = StaplingAgent(settings, set_staples)
        task = asyncio.create_task(stapling.run())
        try:
            responder.answer = lambda: response(CA, begins_s=-3600, ends_s=3)
            stapling.configured(config(LEAF))
            await becomes_true(lambda: changes >= 3)  # what is half over is asked for again, long before it ends
            first = held[LEAF.certificate.fingerprint(hashes.SHA256()).hex()]
            responder.answer = lambda: 503
            await becomes_true(lambda: "no new OCSP response for CN=leaf" in caplog.text)
            assert held  # the one that is there goes on until it ends
            await becomes_true(lambda: not held)
            assert "has ended: it is not stapled any more" in caplog.text
            responder.answer = lambda: response(CA)
            await becomes_true(lambda: held)
            assert first not in held.values()
            asked = responder.asked
            # A reload asks for nothing anew, and what is not in force any more is dropped.
            other = certificate("other", CA)
            responder.answer = lambda: response(CA, of=other.certificate)
            stapling.configured(config(LEAF, other))
            await becomes_true(lambda: len(held) == 2)
            assert responder.asked == asked + 1
            stapling.configured(config(other))
            await becomes_true(lambda: len(held) == 1)
            responder.answer = lambda: b"x" * (agent.ANSWER_BYTES + 1)
            third = certificate("third", CA)
            stapling.configured(config(other, third))
            await becomes_true(lambda: "the answer is longer than" in caplog.text)
            silence = threading.Event()
            monkeypatch.setattr(agent, "ANSWER_S", 0.1)
            responder.answer = lambda: 500 + silence.wait(30)
            stapling.configured(config(other, certificate("silent", CA)))
            await becomes_true(lambda: "no answer in time" in caplog.text)
            silence.set()
            revoked = certificate("fourth", CA)
            responder.answer = lambda: response(CA, of=revoked.certificate, status=ocsp.OCSPCertStatus.REVOKED)
            stapling.configured(config(other, revoked))
            await becomes_true(lambda: "the certificate for CN=fourth is revoked" in caplog.text)
            assert len(held) == 1
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def unusual(old: str, new: str) -> bytes:
    """A certificate with a responder that OpenSSL takes, with some bytes changed, and that of its authority. PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(URL))
    builder = x509.CertificateBuilder().subject_name(LEAF.certificate.subject).issuer_name(CA.certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(77)
    builder = builder.not_valid_before(datetime.now(UTC)).not_valid_after(datetime.now(UTC) + timedelta(days=9))
    builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("unusual.test")]), critical=False)
    builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00"), False)
    data = builder.sign(CA.key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert data.count(bytes.fromhex(old)) == 1
    text = ssl.DER_cert_to_PEM_cert(data.replace(bytes.fromhex(old), bytes.fromhex(new))).encode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert Pair(text, private)
    return text + CA.certificate.public_bytes(Encoding.PEM)


UNUSUAL = {
    "two of a kind": ("0603551d63", "0603551d11"),
    "version": ("a003020102", "a003020107"),
    "kind of name": (b"\x82\x0cunusual.test".hex(), b"\xa3\x0cunusual.test".hex()),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_a_certificate_that_openssl_alone_reads_ends_nothing(kind: str, responder: Responder) -> None:
    """It is served, and what asks about certificates, describes and orders them goes on with the others."""
    text = unusual(*UNUSUAL[kind]).decode()
    sound = (LEAF.certificate.public_bytes(Encoding.PEM) + CA.certificate.public_bytes(Encoding.PEM)).decode()
    tls = TlsConfig(certificates=[Certificate(certificate_text=each) for each in (text, sound)])
    held: dict[str, str] = {}

    async def set_staples(added: Mapping[str, str], gone: Sequence[str]) -> None:
        held.update(added)

    async def run() -> None:
        responder.answer = lambda: response(CA)
        stapling = StaplingAgent(Ocsp(responder_overrides={URL: responder.url}), set_staples)
        task = asyncio.create_task(stapling.run())
        stapling.configured(DynamicConfig(tls=tls))
        await becomes_true(lambda: task.done() or LEAF.certificate.fingerprint(hashes.SHA256()).hex() in held)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert "leaf" in {each.common_name for each in certificates_of(tls)}
    Needs.of([], DynamicConfig(tls=tls), [])


def test_a_responder_is_not_asked_without_a_pause_whatever_it_answers(
    responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Exception):
        pass

    def read(*arguments: object) -> None:
        raise Odd

    monkeypatch.setattr(agent, "read_response", read)

    async def set_staples(added: Mapping[str, str], gone: Sequence[str]) -> None:
        raise AssertionError("there is nothing to staple")

    async def run() -> None:
        responder.answer = lambda: b""
        stapling = StaplingAgent(Ocsp(responder_overrides={URL: responder.url}), set_staples)
        task = asyncio.create_task(stapling.run())
        text = (LEAF.certificate.public_bytes(Encoding.PEM) + CA.certificate.public_bytes(Encoding.PEM)).decode()
        stapling.configured(DynamicConfig(tls=TlsConfig(certificates=[Certificate(certificate_text=text)])))
        await becomes_true(lambda: responder.asked > 0)
        for _ in range(5):  # each would ask again
            stapling.configured(DynamicConfig(tls=TlsConfig(certificates=[Certificate(certificate_text=text)])))
            await asyncio.sleep(0.05)
        assert responder.asked == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
