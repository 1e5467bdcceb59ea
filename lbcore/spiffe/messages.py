"""The message of the Workload API that tells an identity and its bundles (SPIFFE Workload API, section 5). No I/O."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from lbcore.config.spiffe import Identity, domain_of

LENGTH_DELIMITED = 2  # the wire type of texts, bytes and messages
FIXED = {1: 8, 5: 4}  # bytes of other wire types
IDENTITIES, FEDERATED = 1, 3  # fields of an X509SVIDResponse
NAME, CHAIN, KEY, BUNDLE = 1, 2, 3, 4  # fields of an X509SVID
MAP_KEY, MAP_VALUE = 1, 2


def identity_in(message: bytes) -> Identity:
    """The first identity of an X509SVIDResponse, which is the default one, and all bundles. Raises ValueError."""
    identities: list[dict[int, bytes]] = []
    bundles: dict[str, str] = {}
    try:
        for number, value in fields(message):
            part = dict(fields(value)) if number in (IDENTITIES, FEDERATED) else {}
            if number == IDENTITIES:
                identities.append(part)
                bundles[domain_of(part[NAME].decode())] = _pem(part[BUNDLE])
            elif number == FEDERATED:
                bundles[domain_of(part[MAP_KEY].decode())] = _pem(part[MAP_VALUE])
        if not identities:
            raise ValueError("it gives no identity")
        key = load_der_private_key(identities[0][KEY], None)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Identity(certificate_text=_pem(identities[0][CHAIN]), key_text=text, bundles=bundles)
    except (KeyError, TypeError, UnicodeDecodeError):
        raise ValueError("what it says is no identity") from None


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields with a length of a message of Protocol Buffers. Raises ValueError."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length, at = _number(message, at)
            if at + length > len(message):
                raise ValueError("a message is cut off")
            yield tag >> 3, message[at : at + length]
            at += length
        elif kind == 0:
            _, at = _number(message, at)
        elif kind in FIXED:
            at += FIXED[kind]
            if at > len(message):
                raise ValueError("a message is cut off")
        else:
            raise ValueError("what it says is no message of Protocol Buffers")


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    found = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        found |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return found, at
    raise ValueError("a message is cut off")


def _pem(ders: bytes) -> str:
    """Certificates in DER, one after the other, as PEM."""
    found, at = "", 0
    while at < len(ders):
        size = ders[at + 1] if at + 1 < len(ders) and ders[at] == 0x30 else 0xFF
        head = 2
        if size & 0x80:
            count = size & 0x7F
            if not 1 <= count <= 4:
                raise ValueError("what it gives is no certificate")
            size, head = int.from_bytes(ders[at + 2 : at + 2 + count], "big"), 2 + count
        if at + head + size > len(ders):
            raise ValueError("a certificate is cut off")
        found += ssl.DER_cert_to_PEM_cert(ders[at : at + head + size])
        at += head + size
    return found
