"""Keys of certificates and accounts, and requests for certificates, as PEM and DER. No I/O."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from cryptography.x509.oid import NameOID, ObjectIdentifier

from lbcore.config.static.certificates_resolvers import USUAL_KEY_TYPE
from lbcore.tls.describe import UNREADABLE

ACCOUNT_KEY_BITS = 4096
COMMON_NAME_LIMIT = 64
CHALLENGE_EXTENSION = ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # acmeIdentifier, RFC 8737
_CURVES = {"EC256": ec.SECP256R1, "EC384": ec.SECP384R1}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def make_key(kind: str) -> Key:
    """Generate a key of a `keyType`. Releases the GIL meanwhile."""
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    if not kind.startswith("RSA"):
        kind = USUAL_KEY_TYPE
    return rsa.generate_private_key(65537, int(kind.removeprefix("RSA")))


def key_pem(key: Key) -> str:
    """PEM of PKCS#8, the format of Traefik for keys of certificates."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def make_account_key() -> rsa.RSAPrivateKey:
    """Generate a key for an account: RSA, because Traefik reads no other kind."""
    return rsa.generate_private_key(65537, ACCOUNT_KEY_BITS)


def account_key_der(key: rsa.RSAPrivateKey) -> bytes:
    """DER of PKCS#1, the format of Traefik for account keys."""
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def read_account_key(data: bytes) -> rsa.RSAPrivateKey:
    """Parse the DER of an account key. Raises ValueError."""
    try:
        key = load_der_private_key(data, None)
    except (ValueError, TypeError):
        raise ValueError("the account's key cannot be read") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the account's key is not an RSA key")
    return key


def as_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Parse a name as an IP address; None: it is not one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def general_name(name: str) -> x509.GeneralName:
    """A DNS name or an IP address, for a certificate."""
    address = as_address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def request_pem(key: Key, names: Sequence[str], emails: Sequence[str], common_name: bool) -> bytes:
    """A certificate signing request as PEM; the first of `names` is the common name, if it is short enough."""
    others: list[x509.GeneralName] = [general_name(name) for name in names]
    others += [x509.RFC822Name(email) for email in emails]
    subject = []
    if common_name and len(names[0]) <= COMMON_NAME_LIMIT and as_address(names[0]) is None:
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, names[0]))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def challenge_certificate(name: str, authorization: str) -> tuple[str, str]:
    """Certificate and key that answer tls-alpn-01 for a name, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    digest = hashlib.sha256(authorization.encode()).digest()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=7))
    builder = builder.add_extension(x509.SubjectAlternativeName([general_name(name)]), critical=False)
    answer = x509.UnrecognizedExtension(CHALLENGE_EXTENSION, b"\x04\x20" + digest)
    certificate = builder.add_extension(answer, critical=True).sign(key, hashes.SHA256())
    return certificate.public_bytes(Encoding.PEM).decode(), key_pem(key)


def renewal_id(certificate: x509.Certificate) -> str:
    """The identifier of a certificate for renewal information (RFC 9773, section 4.1); empty if it has none."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return ""
    issuer, number = extension.value.key_identifier, certificate.serial_number
    if issuer is None:
        return ""
    parts = (issuer, number.to_bytes(number.bit_length() // 8 + 1, "big"))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names and IP addresses of a certificate, in lower case."""
    found: list[str] = []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found += [name.lower() for name in names.get_values_for_type(x509.DNSName)]
        found += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    except (x509.ExtensionNotFound, *UNREADABLE):
        pass
    found += [str(name.value).lower() for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(dict.fromkeys(found))
