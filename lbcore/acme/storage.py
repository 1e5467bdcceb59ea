"""The storage of accounts and certificates: `acme.json` in Traefik's format.

    {RESOLVER: {"Account": {"Email", "Registration": {"body", "uri"}, "PrivateKey"},
                "Certificates": [{"domain": {"main", "sans"}, "certificate", "key", "Store"}]}}

`PrivateKey` is base64 of DER, `certificate` and `key` are base64 of PEM. Other keys of the file are kept.
`Failures` (an extension, which Traefik drops): failed orders, so that a restart does not repeat them at once.

Several instances may share a storage: a Hold keeps the others from ordering the same certificate meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import fcntl
import json
import os
import stat
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lbcore.config.json_text import read_json
from lbcore.errors import system_message_of

FILE_LIMIT_BYTES = 256 << 20
OTHERS = 0o077  # permissions of group and others, which the file must not have
F_OFD_SETLK = 37  # of Linux: a lock of an open file, not of a process
HOLDING_S, HOLDING_POLL_S = 60.0, 0.1  # limit of the wait for another instance, and between two looks

Signature = tuple[Any, ...]  # differs whenever the contents have changed; empty: unknown
Answers = tuple[dict[str, str], dict[str, tuple[str, str]]]  # as `AcmeAgent.set_challenges` takes them


class StorageError(Exception):
    """The storage cannot be used. The text is for users. `is_away`: it may be usable later."""

    def __init__(self, text: str, is_away: bool = False) -> None:
        super().__init__(text)
        self.is_away = is_away


class Hold:
    """What this instance alone does, of all that share the storage, until `release`. This one holds nothing."""

    def keep(self) -> None:
        """Prolong it; to be called every ten seconds. Never raises."""

    def release(self) -> None:
        """Safe to call twice. Never raises."""


@dataclass(frozen=True)
class Change:
    """The signatures of a storage right before and right after a change by this process, which nothing came between.
    Whoever knew the contents before knows them after it, too; they are equal if there was nothing to change."""

    before: Signature
    after: Signature


@dataclass(frozen=True)
class StoredCertificate:
    """A certificate with its chain, and its key, as PEM."""

    names: tuple[str, ...]
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class StoredAccount:
    """An account with a CA. `key` is DER; `uri` is its URL at the CA, empty before the registration."""

    email: str
    uri: str
    key: bytes = field(repr=False)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredFailure:
    """A row of failed orders for the same names. Times are seconds since 1970."""

    names: tuple[str, ...]
    count: int
    not_before: float


Edit = Callable[[dict[str, Any]], None]  # of the contents, by resolver, in place


class Storage:
    """The contents may be of several resolvers. Methods block, and may be called in any thread.

    place      for messages, and the same for all that share it.
    is_shared  other instances are expected to use it, and give each other's answers to challenges.
    """

    place = ""
    is_shared = False

    def open(self) -> None:
        """Prepare it for use. Raises StorageError."""
        raise NotImplementedError

    def read_all(self) -> dict[str, Any]:
        """The contents, by resolver. Raises StorageError."""
        raise NotImplementedError

    def signature(self) -> Signature:
        """The one of the present contents. Never raises."""
        raise NotImplementedError

    def hold(self, name: str) -> Hold | None:
        """Begin something that one instance does at a time; None: another one does it. Raises StorageError."""
        raise NotImplementedError

    def share(self, owner: str, answers: Answers) -> int:
        """Tell the other instances the present answers to the challenges of this one. Returns the version of all
        answers from then on. Raises StorageError."""
        return 0

    def shared(self, owner: str) -> tuple[int, Answers]:
        """The version of all answers, and those of the other instances. Raises StorageError."""
        return 0, ({}, {})

    def acknowledge(self, owner: str, version: int) -> None:
        """Say that an instance gives the answers of a version; to be repeated within seconds. Raises StorageError."""

    def are_acknowledged(self, version: int) -> bool:
        """Whether all instances that live give the answers of a version, or later ones. Raises StorageError."""
        return True

    def _change(self, edit: Edit) -> Change:
        """Have the contents edited. If they change, they are written, entirely or not at all. Raises StorageError."""
        raise NotImplementedError

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """A context in which this instance alone does something. Waits for others. Raises StorageError."""
        give_up = time.monotonic() + HOLDING_S
        while (hold := self.hold(name)) is None:
            if time.monotonic() > give_up:
                raise StorageError(f"{self.place}: another instance has held it for {HOLDING_S:g} s", is_away=True)
            time.sleep(HOLDING_POLL_S)
        try:
            yield
        finally:
            hold.release()

    def account(self, resolver: str) -> StoredAccount | None:
        """The account of a resolver. Raises StorageError."""
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
            raise StorageError(f"{self.place}: the account of {resolver} cannot be read") from None

    def certificates(self, resolver: str) -> list[StoredCertificate]:
        """The valid certificates of a resolver. Raises StorageError."""
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
        """The failed orders of a resolver. Raises StorageError."""
        found = []
        for entry in (self.read_all().get(resolver) or {}).get("Failures") or []:
            with contextlib.suppress(AttributeError, TypeError, KeyError, ValueError):
                names = tuple(map(str, entry["names"]))
                found.append(StoredFailure(names, int(entry["count"]), float(entry["notBefore"])))
        return found

    def set_account(self, resolver: str, account: StoredAccount | None) -> Change:
        """Store the account of a resolver; None: remove it. Raises StorageError."""
        entry = None
        if account is not None:
            entry = {
                "Email": account.email,
                "Registration": {"body": account.body, "uri": account.uri},
                "PrivateKey": base64.b64encode(account.key).decode(),
            }

        def edit(content: dict[str, Any]) -> None:
            part = _part(content, resolver)
            known = part["Account"] if isinstance(part["Account"], dict) else {}
            part["Account"] = None if entry is None else {**known, **entry}

        return self._change(edit)

    def add_certificate(self, resolver: str, certificate: StoredCertificate) -> Change:
        """Add a certificate; it replaces one for the same names. Raises StorageError."""
        return self.add_certificates([(resolver, certificate)])

    def add_certificates(self, added: list[tuple[str, StoredCertificate]]) -> Change:
        """Add certificates of resolvers with one change of the file. Raises StorageError."""

        def edit(content: dict[str, Any]) -> None:
            for resolver, certificate in added:
                _add_certificate(_part(content, resolver), certificate)

        return self._change(edit)

    def set_failures(self, resolver: str, failures: list[StoredFailure]) -> Change:
        """Store the failed orders of a resolver. Raises StorageError."""
        entries = [
            {"names": list(failure.names), "count": failure.count, "notBefore": failure.not_before}
            for failure in failures
        ]

        def edit(content: dict[str, Any]) -> None:
            part = _part(content, resolver)
            if entries:
                part["Failures"] = entries
            else:
                part.pop("Failures", None)

        return self._change(edit)


class FileStorage(Storage):
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        self._lock = threading.Lock()

    def open(self) -> None:
        """Create the file if it does not exist. StorageError also means that other users may read it."""
        try:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path.resolve(), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            self.check()
        except OSError as error:
            raise StorageError(f"{self.path} cannot be used: {system_message_of(error)}") from None

    def check(self) -> None:
        """Raise StorageError if other users may read the file, or it is not a regular file. Raises OSError."""
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{self.path} is not a file")
        if status.st_mode & OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise StorageError(f"permissions {mode:o} for {self.path} are too open, please use 600")
        self.read_all()

    def read_all(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                data = file.read(FILE_LIMIT_BYTES)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {system_message_of(error)}") from None
        return parsed(data, self.place)

    def signature(self) -> Signature:
        try:
            return _signature(self.path.stat())
        except OSError:
            return ()

    def hold(self, name: str) -> Hold | None:
        """By a lock of one byte in a file beside it; where there are no such locks, nothing is held."""
        try:
            descriptor = os.open(self._beside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return Hold()
        try:
            place = zlib.crc32(name.encode())
            fcntl.fcntl(descriptor, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
        except OSError as error:
            os.close(descriptor)
            return None if error.errno in (errno.EAGAIN, errno.EACCES) else Hold()
        return _FileHold(descriptor)

    def _beside(self, suffix: str) -> Path:
        target = self.path.resolve()
        return target.with_name(f".{target.name}.{suffix}")

    def _change(self, edit: Edit) -> Change:
        """Other processes that change the file, such as `lbcore cert import`, wait meanwhile."""
        with self._lock, self._locked():
            content = self.read_all()
            before = self.signature()  # after the reading: what an editor without the lock did meanwhile is not known
            text = json.dumps(content)
            edit(content)
            if json.dumps(content) == text:
                return Change(before, before)
            try:
                return Change(before, self._write(json.dumps(content, indent=2).encode()))
            except OSError as error:
                raise StorageError(f"{self.path} cannot be written: {system_message_of(error)}") from None

    def _write(self, data: bytes) -> Signature:
        """Replace the file. A file that is itself a mount, as in a container, is overwritten in place."""
        target = self.path.resolve()  # replace the target of a symbolic link, not the link
        temporary = self._beside(str(os.getpid()))
        try:
            signature = _write_file(temporary, data)
            os.replace(temporary, target)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            return _write_file(target, data)
        folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return signature

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder, because each change replaces the file itself."""
        try:
            folder = os.open(self.path.resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {system_message_of(error)}") from None
        try:
            with contextlib.suppress(OSError):  # some file systems have no locks
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


class _FileHold(Hold):
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def parsed(data: bytes, place: str) -> dict[str, Any]:
    """The contents of a storage. Raises StorageError."""
    if not data.strip():
        return {}
    try:
        content = read_json(data)
    except ValueError as error:
        raise StorageError(f"{place} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise StorageError(f"{place} is not what Traefik writes: there is no object in it")
    if any(not isinstance(part, dict) for part in content.values() if part is not None):
        raise StorageError(f"{place} is not what Traefik 2 or 3 writes: its resolvers are no objects")
    if "Account" in content and "Certificates" in content:
        raise StorageError(f"{place} is of Traefik 1: move it by Traefik's migration tool, or leave it behind")
    return content


def _part(content: dict[str, Any], resolver: str) -> dict[str, Any]:
    part = content.get(resolver)
    if not isinstance(part, dict):
        part = content[resolver] = {}
    part.setdefault("Account", None)
    part.setdefault("Certificates", None)
    return part


def _add_certificate(part: dict[str, Any], certificate: StoredCertificate) -> None:
    """Add a certificate to the part of a resolver, in place of one for the same names."""
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


def _names(entry: Any) -> set[str]:
    domain = entry.get("domain") if isinstance(entry, dict) else None
    if not isinstance(domain, dict):
        return set()
    return {str(name) for name in (domain.get("main"), *(domain.get("sans") or ())) if name}


def _signature(status: os.stat_result) -> Signature:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _write_file(path: Path, data: bytes) -> Signature:
    """Write and sync a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
        return _signature(os.fstat(descriptor))
    finally:
        os.close(descriptor)
