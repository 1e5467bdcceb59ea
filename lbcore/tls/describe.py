"""What a certificate says, for the API, metrics and `lbcore cert`: by the names and in the order of Traefik's API."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lbcore.config.tls import DEFAULT, TlsConfig

# Of certificates that OpenSSL takes, and serves with, and this library does not read: two extensions of a kind, ...
UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)
WARNING_DAYS = 30  # an end this near is a warning, as in Traefik
# By the OID's name in cryptography: as Go calls it.
_HASHES = {"sha1": "SHA1", "sha256": "SHA256", "sha384": "SHA384", "sha512": "SHA512", "md5": "MD5"}


@dataclass(frozen=True, slots=True)
class Described:
    """`sans`: names and addresses, sorted; `dns_names`: of these the names."""

    fingerprint: str
    key_fingerprint: str
    common_name: str
    issuer: str
    serial: int
    sans: tuple[str, ...]
    dns_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    version: str
    key_type: str
    key_bits: int
    signature: str

    @property
    def days_left(self) -> int:
        """Below 0: it has expired."""
        return int((self.not_after.timestamp() - time.time()) // 86400)

    @property
    def status(self) -> str:
        """enabled, warning or expired."""
        if self.not_after.timestamp() < time.time():
            return "expired"
        return "warning" if self.days_left < WARNING_DAYS else "enabled"

    def view(self) -> dict[str, object]:
        """The certificate as Traefik's API shows it."""
        return {
            "name": self.fingerprint,
            "sans": list(self.sans),
            "notAfter": _instant(self.not_after),
            "notBefore": _instant(self.not_before),
            "serialNumber": str(self.serial),
            "commonName": self.common_name,
            "issuerCN": self.issuer,
            "version": self.version,
            "keyType": self.key_type,
            "keySize": self.key_bits,
            "signatureAlgorithm": self.signature,
            "certFingerprint": self.fingerprint,
            "publicKeyFingerprint": self.key_fingerprint,
            "status": self.status,
        }


def described(text: str) -> Described:
    """The first certificate of a PEM text. Raises ValueError."""
    try:
        return _described(text)
    except UNREADABLE as error:
        raise ValueError(f"the certificate cannot be read: {error}") from None


def _described(text: str) -> Described:
    found = x509.load_pem_x509_certificate(text.encode())
    key = found.public_key()
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    names, addresses = _alternatives(found)
    kind, bits = _key(key)
    return Described(
        found.fingerprint(hashes.SHA256()).hex(),
        digest.finalize().hex(),
        _common_name(found.subject),
        _common_name(found.issuer),
        found.serial_number,
        tuple(sorted([*names, *addresses])),
        tuple(sorted(names)),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        found.version.name,
        kind,
        bits,
        _signature(found),
    )


def certificates_of(tls: TlsConfig) -> list[Described]:
    """The certificates of a configuration: those chosen by name, and that of the default store, each once, by names.

    The one that is made for clients that ask for no known name is not among them, nor one that cannot be read here.
    """
    store = tls.stores.get(DEFAULT)
    texts = [certificate.certificate_text for certificate in tls.certificates]
    if store is not None and store.default_certificate is not None:
        texts.append(store.default_certificate.certificate_text)
    return sorted_by_name(_readable(text for text in dict.fromkeys(texts) if text))


def _readable(texts: Iterable[str]) -> Iterator[Described]:
    for text in texts:
        with contextlib.suppress(ValueError):
            yield described(text)


def sorted_by_name(found: Iterable[Described]) -> list[Described]:
    """Certificates in the order of Traefik's API, each once."""
    unique = {each.fingerprint: each for each in found}.values()
    return sorted(unique, key=lambda each: (each.common_name or "".join(each.sans[:1]), each.fingerprint))


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _alternatives(found: x509.Certificate) -> tuple[list[str], list[str]]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return [], []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return list(names.get_values_for_type(x509.DNSName)), addresses


def _key(key: object) -> tuple[str, int]:
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA", key.key_size
    if isinstance(key, dsa.DSAPublicKey):
        return "DSA", key.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519", 256
    return ("Ed448", 456) if isinstance(key, ed448.Ed448PublicKey) else ("", 0)


def _signature(found: x509.Certificate) -> str:
    """The algorithm of the signature, as Go names it: SHA256-RSA, ECDSA-SHA256, Ed25519."""
    name = found.signature_algorithm_oid._name
    lower = name.lower()
    digest = found.signature_hash_algorithm
    of = _HASHES.get(digest.name, digest.name) if digest is not None else ""
    if "ecdsa" in lower:
        return f"ECDSA-{of}"
    if "rsa" in lower:
        return f"{of}-RSAPSS" if "pss" in lower else f"{of}-RSA"
    return {"ed25519": "Ed25519"}.get(lower, name)
