"""OCSP requests, and the verification of answers (RFC 6960). No I/O; times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from lbcore.tls.describe import UNREADABLE

USUAL_LIFE_S = 24 * 3600.0  # of an answer that does not say when the next one is due
SKEW_S = 300.0  # by which the clocks of a responder and of this machine may differ


@dataclass(frozen=True, slots=True)
class Staple:
    """A verified answer: the certificate is not revoked. `begins` and `ends`: when the answer is current."""

    data: bytes = field(repr=False)
    begins: float
    ends: float

    @property
    def due(self) -> float:
        """When to ask again: after half of its life."""
        return (self.begins + self.ends) / 2


def responders_of(certificate: x509.Certificate) -> list[str]:
    """The URLs of the OCSP responders that a certificate names."""
    try:
        places = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return []
    return [
        place.access_location.value
        for place in places
        if place.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(place.access_location, x509.UniformResourceIdentifier)
    ]


def issuer_among(certificate: x509.Certificate, others: list[x509.Certificate]) -> x509.Certificate | None:
    """The certificate that has signed another one, or None."""
    for other in others:
        if _is_issued_by(certificate, other):
            return other
    return None


def request_for(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """The DER of a request. By SHA-1, the only hash that all responders know."""
    return _request(certificate, issuer, hashes.SHA1()).public_bytes(Encoding.DER)


def read_response(data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> Staple:
    """Verify an answer. Raises ValueError, with a text for users, unless it says that the certificate is good now."""
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise ValueError(f"the responder answers {response.response_status.name.lower().replace('_', ' ')}")
        single = next((each for each in response.responses if _is_about(each, certificate, issuer)), None)
        if single is None:
            raise ValueError("the answer is about another certificate")
        _verify(response, issuer, now)
    except ValueError:
        raise
    except UNREADABLE as error:
        raise ValueError(f"the answer cannot be read: {error}") from None
    begins = single.this_update_utc.timestamp()
    ends = begins + USUAL_LIFE_S if single.next_update_utc is None else single.next_update_utc.timestamp()
    if begins > now + SKEW_S:
        raise ValueError("the answer is of the future: is the clock right?")
    if ends <= now:
        raise ValueError(f"the answer has ended at {_instant(ends)}")
    match single.certificate_status:
        case ocsp.OCSPCertStatus.REVOKED:
            raise RevokedError("the certificate is revoked")
        case ocsp.OCSPCertStatus.UNKNOWN:
            raise ValueError("the responder does not know the certificate")
    return Staple(data, begins, ends)


class RevokedError(ValueError):
    """The responder says that the certificate is revoked."""


def _request(certificate: x509.Certificate, issuer: x509.Certificate, kind: hashes.HashAlgorithm) -> ocsp.OCSPRequest:
    return ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, kind).build()


def _is_about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if single.serial_number != certificate.serial_number:
        return False
    asked = _request(certificate, issuer, single.hash_algorithm)
    return (single.issuer_name_hash, single.issuer_key_hash) == (asked.issuer_name_hash, asked.issuer_key_hash)


def _verify(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> None:
    """Raise ValueError unless the issuer has signed the answer, or a responder that the issuer has appointed."""
    appointed = [other for other in response.certificates if _is_appointed(other, issuer, now)]
    for signer in (issuer, *appointed):
        try:
            _check_signature(signer, response)
            return
        except InvalidSignature:
            continue
    raise ValueError("the answer is not signed by the issuer of the certificate, nor in its name")


def _is_appointed(signer: x509.Certificate, issuer: x509.Certificate, now: float) -> bool:
    try:
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
    begins, ends = signer.not_valid_before_utc.timestamp(), signer.not_valid_after_utc.timestamp()
    lasts = begins <= now + SKEW_S and now < ends
    return lasts and ExtendedKeyUsageOID.OCSP_SIGNING in usages and _is_issued_by(signer, issuer)


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _check_signature(signer: x509.Certificate, response: ocsp.OCSPResponse) -> None:
    """Raise InvalidSignature unless the key of a certificate has signed the answer."""
    key, kind = signer.public_key(), response.signature_hash_algorithm
    signature, signed = response.signature, response.tbs_response_bytes
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, signed)
    elif kind is not None and isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, signed, ec.ECDSA(kind))
    elif kind is not None and isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, signed, padding.PKCS1v15(), kind)
    else:
        raise InvalidSignature


def _instant(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
