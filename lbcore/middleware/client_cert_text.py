"""What passTLSClientCert says of certificates, in the form that Traefik gives it. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from cryptography import x509

    from lbcore.config.middlewares.pass_tls_client_cert import Info, Issuer


def pem_of(chain: tuple[bytes, ...]) -> bytes:
    """The certificates without the lines around them, separated by commas."""
    return b",".join(chain)


def info_of(chain: tuple[bytes, ...], wanted: Info) -> bytes:
    """The parts that are wanted of each certificate, escaped as a query is."""
    return quote_plus(",".join(";".join(_parts(text, wanted)) for text in chain)).encode()


def _parts(text: bytes, wanted: Info) -> Iterator[str]:
    from cryptography import x509

    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        subject, issuer = _name(certificate.subject, wanted.subject), _name(certificate.issuer, wanted.issuer)
        alternatives = _alternatives(certificate) if wanted.sans else []
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        return  # what TLS has accepted, and this library does not read
    if subject:
        yield f'Subject="{subject}"'
    if issuer:
        yield f'Issuer="{issuer}"'
    if wanted.serial_number:
        yield f'SerialNumber="{certificate.serial_number}"'
    if wanted.not_before:
        yield f'NB="{int(certificate.not_valid_before_utc.timestamp())}"'
    if wanted.not_after:
        yield f'NA="{int(certificate.not_valid_after_utc.timestamp())}"'
    if alternatives:
        yield f'SAN="{",".join(alternatives)}"'


def _name(name: x509.Name, wanted: Issuer | None) -> str:
    """A distinguished name: all values of the first parts, the last one of serial number and common name."""
    from cryptography.x509.oid import NameOID

    if wanted is None:
        return ""
    parts = [
        (wanted.domain_component, "DC", NameOID.DOMAIN_COMPONENT, True),
        (wanted.country, "C", NameOID.COUNTRY_NAME, True),
        (wanted.province, "ST", NameOID.STATE_OR_PROVINCE_NAME, True),
        (wanted.locality, "L", NameOID.LOCALITY_NAME, True),
        (wanted.organization, "O", NameOID.ORGANIZATION_NAME, True),
        (getattr(wanted, "organizational_unit", False), "OU", NameOID.ORGANIZATIONAL_UNIT_NAME, True),
        (wanted.serial_number, "SN", NameOID.SERIAL_NUMBER, False),
        (wanted.common_name, "CN", NameOID.COMMON_NAME, False),
    ]
    found = []
    for is_wanted, short, oid, several in parts:
        values = [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)] if is_wanted else []
        found += [f"{short}={value}" for value in (values if several else values[-1:]) if value]
    return ",".join(found)


def _alternatives(certificate: x509.Certificate) -> list[str]:
    """Names of hosts, addresses of mail, addresses, URIs."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *names.get_values_for_type(x509.RFC822Name),
        *map(str, names.get_values_for_type(x509.IPAddress)),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
    ]
