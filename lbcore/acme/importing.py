"""Import certificates into the storage of a resolver."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from lbcore.acme.keys import names_of
from lbcore.acme.redis_storage import storage_of
from lbcore.acme.storage import FileStorage, StorageError, StoredCertificate
from lbcore.config.static import StaticConfig
from lbcore.errors import system_message_of
from lbcore.tls.describe import UNREADABLE


def import_into(static: StaticConfig, resolver: str, certificate: Path, key: Path | None) -> list[str]:
    """Add a certificate, or all of the resolver in an acme.json, to its storage. Returns lines for the user.

    resolver  empty: the only one.
    Raises ValueError; certificates before the invalid one are then stored.
    """
    known = {name: each.acme for name, each in static.certificates_resolvers.items() if each.acme is not None}
    if not resolver and len(known) == 1:
        resolver = next(iter(known))
    settings = known.get(resolver)
    if settings is None:
        names = ", ".join(known) or "none"
        raise ValueError(f"no such certificate resolver: {resolver!r}; there are {names}" if resolver else
                         f"name a certificate resolver by --resolver: there are {names}")
    lines: list[str] = []
    try:
        storage = storage_of(settings.storage)
        storage.open()
        found = [_read(certificate, key)] if key is not None else FileStorage(certificate).certificates(resolver)
        if not found:
            raise ValueError(f"{certificate} has no certificate of {resolver}")
        for entry in found:
            check(entry)
            storage.add_certificate(resolver, entry)
            lines.append(f"{storage.place}: {resolver}: {', '.join(entry.names)}")
    except StorageError as error:
        raise ValueError(str(error)) from None
    return lines


def check(entry: StoredCertificate) -> None:
    """Raise ValueError for a certificate that cannot be served."""
    try:
        from lbcore.tls.certificate import Pair
    except ImportError as error:
        raise ValueError(str(error)) from None
    try:
        Pair(entry.certificate.encode(), entry.key.encode())
    except ValueError as error:
        raise ValueError(f"{', '.join(entry.names)}: {error}") from None


def _read(certificate: Path, key: Path) -> StoredCertificate:
    try:
        text, secret = certificate.read_text(), key.read_text()
        names = names_of(x509.load_pem_x509_certificate(text.encode()))
    except OSError as error:
        raise ValueError(f"{error.filename} cannot be read: {system_message_of(error)}") from None
    except UNREADABLE:
        raise ValueError(f"{certificate} is no certificate in PEM form") from None
    if not names:
        raise ValueError(f"{certificate} has no name")
    return StoredCertificate(names, text, secret)
