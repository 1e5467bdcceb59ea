"""Certificates that were ordered elsewhere are put into the storage of a resolver."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from lbcore.acme.keys import names_of
from lbcore.acme.storage import Storage, StorageError, StoredCertificate
from lbcore.config.static import StaticConfig


def import_into(static: StaticConfig, resolver: str, certificate: Path, key: Path | None) -> list[str]:
    """Put a certificate, or what an acme.json has of the resolver, into its storage. Returns what to tell of it.

    resolver  empty: the only one. Raises ValueError, with what went in so far in the storage.
    """
    known = {name: each.acme for name, each in static.certificates_resolvers.items() if each.acme is not None}
    if not resolver and len(known) == 1:
        resolver = next(iter(known))
    settings = known.get(resolver)
    if settings is None:
        names = ", ".join(known) or "none"
        raise ValueError(f"no such certificate resolver: {resolver!r}; there are {names}" if resolver else
                         f"name a certificate resolver by --resolver: there are {names}")
    storage, told = Storage(Path(settings.storage)), []
    try:
        storage.open()
        found = [_read(certificate, key)] if key is not None else Storage(certificate).certificates(resolver)
        if not found:
            raise ValueError(f"{certificate} has no certificate of {resolver}")
        for entry in found:
            check(entry)
            storage.add_certificate(resolver, entry)
            told.append(f"{settings.storage}: {resolver}: {', '.join(entry.names)}")
    except StorageError as error:
        raise ValueError(str(error)) from None
    return told


def check(entry: StoredCertificate) -> None:
    """Raises ValueError for a certificate that cannot be served."""
    try:
        from lbcore.tls.contexts import Pair
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
        raise ValueError(f"{error.filename} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise ValueError(f"{certificate} is no certificate in PEM form") from None
    if not names:
        raise ValueError(f"{certificate} stands for no name")
    return StoredCertificate(names, text, secret)
