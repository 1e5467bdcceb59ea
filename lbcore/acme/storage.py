"""Where accounts and certificates are kept: Traefik's `acme.json`, read and written as Traefik does.

    {RESOLVER: {"Account": {"Email", "Registration": {"body", "uri"}, "PrivateKey"},
                "Certificates": [{"domain": {"main", "sans"}, "certificate", "key", "Store"}]}}

`PrivateKey` is base64 of DER, `certificate` and `key` are base64 of PEM. What else stands in the file is kept.
`Failures` (an extension, which Traefik drops): orders that failed, so that a restart does not try them again at once.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_LIMIT_BYTES = 256 << 20
OTHERS = 0o077  # what nobody but the owner may


class StorageError(Exception):
    """The file cannot be used. The text is for users."""


@dataclass(frozen=True)
class StoredCertificate:
    """A certificate with its chain, and its key, as PEM."""

    names: tuple[str, ...]
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class StoredAccount:
    """An account with a CA. `key` is DER; `uri` is what the CA calls it, empty where it has not been registered."""

    email: str
    uri: str
    key: bytes = field(repr=False)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredFailure:
    """Orders for names have failed, one after the other. Times are seconds since 1970."""

    names: tuple[str, ...]
    count: int
    not_before: float


class Storage:
    """One file, which may hold several resolvers. Methods block, and may be called in any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the file where it is not there yet. Raises StorageError, too, where others may read it."""
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path.resolve(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self.check()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be used: {(error.strerror or str(error)).lower()}") from None

    def check(self) -> None:
        """Raises StorageError for a file that others may read, or that is none, and OSError."""
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{self.path} is not a file")
        if status.st_mode & OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise StorageError(f"permissions {mode:o} for {self.path} are too open, please use 600")
        self.read_all()

    def read_all(self) -> dict[str, Any]:
        """What the file holds, by resolver. Raises StorageError."""
        try:
            with self.path.open("rb") as file:
                data = file.read(FILE_LIMIT_BYTES)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        if not data.strip():
            return {}
        try:
            content = json.loads(data)
        except ValueError as error:
            raise StorageError(f"{self.path} is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise StorageError(f"{self.path} is not what Traefik writes: there is no object in it")
        if any(not isinstance(part, dict) for part in content.values() if part is not None):
            raise StorageError(f"{self.path} is not what Traefik 2 or 3 writes: its resolvers are no objects")
        if "Account" in content and "Certificates" in content:
            raise StorageError(f"{self.path} is of Traefik 1: move it by Traefik's migration tool, or leave it behind")
        return content

    def account(self, resolver: str) -> StoredAccount | None:
        """Of a resolver. Raises StorageError."""
        found = (self.read_all().get(resolver) or {}).get("Account")
        if not isinstance(found, dict):
            return None
        registration = found.get("Registration") or {}
        try:
            key = base64.b64decode(found.get("PrivateKey") or "", validate=True)
            return StoredAccount(
                str(found.get("Email") or ""), str(registration.get("uri") or ""), key, registration.get("body") or {}
            )
        except (binascii.Error, AttributeError, TypeError):
            raise StorageError(f"{self.path}: the account of {resolver} cannot be read") from None

    def certificates(self, resolver: str) -> list[StoredCertificate]:
        """Of a resolver, those that can be read. Raises StorageError."""
        found = []
        for entry in (self.read_all().get(resolver) or {}).get("Certificates") or []:
            with contextlib.suppress(binascii.Error, UnicodeDecodeError, AttributeError, TypeError, KeyError):
                domain = entry.get("domain") or {}
                names = tuple(name for name in (domain.get("main"), *(domain.get("sans") or ())) if name)
                texts = [base64.b64decode(entry[part], validate=True).decode() for part in ("certificate", "key")]
                if names and all(texts):
                    found.append(StoredCertificate(names, *texts))
        return found

    def failures(self, resolver: str) -> list[StoredFailure]:
        """Of a resolver. Raises StorageError."""
        found = []
        for entry in (self.read_all().get(resolver) or {}).get("Failures") or []:
            with contextlib.suppress(AttributeError, TypeError, KeyError, ValueError):
                names = tuple(map(str, entry["names"]))
                found.append(StoredFailure(names, int(entry["count"]), float(entry["notBefore"])))
        return found

    def set_account(self, resolver: str, account: StoredAccount | None) -> None:
        """Raises StorageError."""
        entry = None
        if account is not None:
            entry = {
                "Email": account.email,
                "Registration": {"body": account.body, "uri": account.uri},
                "PrivateKey": base64.b64encode(account.key).decode(),
            }
        with self._changing() as content:
            part = _part(content, resolver)
            known = part["Account"] if isinstance(part["Account"], dict) else {}
            part["Account"] = None if entry is None else {**known, **entry}

    def add_certificate(self, resolver: str, certificate: StoredCertificate) -> None:
        """In place of one for the same names. Raises StorageError."""
        with self._changing() as content:
            part = _part(content, resolver)
            entries = part["Certificates"] if isinstance(part["Certificates"], list) else []
            domain: dict[str, Any] = {"main": certificate.names[0]}
            if len(certificate.names) > 1:
                domain["sans"] = list(certificate.names[1:])
            new = {
                "domain": domain,
                "certificate": base64.b64encode(certificate.certificate.encode()).decode(),
                "key": base64.b64encode(certificate.key.encode()).decode(),
                "Store": "default",
            }
            same = [number for number, entry in enumerate(entries) if _names(entry) == set(certificate.names)]
            if same:
                entries[same[0]] = {**entries[same[0]], **new}
            else:
                entries.append(new)
            part["Certificates"] = entries

    def set_failures(self, resolver: str, failures: list[StoredFailure]) -> None:
        """Raises StorageError."""
        entries = [
            {"names": list(failure.names), "count": failure.count, "notBefore": failure.not_before}
            for failure in failures
        ]
        with self._changing() as content:
            part = _part(content, resolver)
            if entries:
                part["Failures"] = entries
            else:
                part.pop("Failures", None)

    @property
    def signature(self) -> tuple[int, ...]:
        """What tells the file from one that stood at its place before."""
        try:
            status = self.path.stat()
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """What the file holds now; what was made of it stands there when this is left, whole or not at all.

        Another process that changes it, such as `lbcore cert import`, has to wait.
        """
        with self._lock, self._locked():
            content = self.read_all()
            yield content
            try:
                self._write(json.dumps(content, indent=2).encode())
            except OSError as error:
                raise StorageError(f"{self.path} cannot be written: {(error.strerror or str(error)).lower()}") from None

    def _write(self, data: bytes) -> None:
        """Replace the file. A mount of its own, as in a container, cannot be replaced: it is written over."""
        target = self.path.resolve()  # what a link leads to stays where it is
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            _write_file(temporary, data)
            os.replace(temporary, target)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            _write_file(target, data)
            return
        folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The folder's lock: the file itself is replaced by each change."""
        try:
            folder = os.open(self.path.resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {(error.strerror or str(error)).lower()}") from None
        try:
            with contextlib.suppress(OSError):  # not every file system can
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _part(content: dict[str, Any], resolver: str) -> dict[str, Any]:
    part = content.get(resolver)
    if not isinstance(part, dict):
        part = content[resolver] = {}
    part.setdefault("Account", None)
    part.setdefault("Certificates", None)
    return part


def _names(entry: Any) -> set[str]:
    domain = entry.get("domain") if isinstance(entry, dict) else None
    if not isinstance(domain, dict):
        return set()
    return {str(name) for name in (domain.get("main"), *(domain.get("sans") or ())) if name}


def _write_file(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read, to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
