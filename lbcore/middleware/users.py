"""The users of basicAuth and digestAuth: those of the configuration, and those of a file, which is followed.

Files are looked at in a thread: no request waits for a file system.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence

from lbcore.config.blocking import BlockingCalls
from lbcore.config.regular import read_regular
from lbcore.state.holdings import State

MOST_BYTES = 16 << 20  # of a file of users
LOOK_S = 1.0  # between two looks at a file
ANSWER_S = 5.0  # a file system that takes longer is taken for dead

_log = logging.getLogger("lbcore.users")
_calls = BlockingCalls()


def parse(lines: Sequence[bytes], parts: int) -> dict[bytes, bytes]:
    """Secrets by what is in front of them. `parts`: of a line, by colons. Raises ValueError, without the secret."""
    found = {}
    for line in lines:
        fields = line.split(b":")
        if len(fields) != parts:
            what = "name:hash" if parts == 2 else "name:realm:hash"
            raise ValueError(f"error parsing user {fields[0].decode(errors='replace')!r}: a user is {what}")
        if any(byte < 32 or byte == 127 for byte in line):
            raise ValueError(f"error parsing user {fields[0].decode(errors='replace')!r}: control characters")
        found[b":".join(fields[:-1])] = fields[-1]
    return found


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a file that say something."""
    return [line for line in map(bytes.strip, data.split(b"\n")) if line and not line.startswith(b"#")]


class Users:
    """Secrets by user. Raises ValueError if there is a mistake, or nobody.

    check    raises ValueError for a secret that is none.
    secrets  another dict as soon as the users are others; what is in a dict does not change.
    """

    def __init__(
        self,
        users: Sequence[str],
        file: str,
        parts: int,
        *,
        least: int = 1,
        check: Callable[[bytes, bytes], object] = lambda user, secret: None,
    ) -> None:
        self._own = parse([user.encode() for user in users], parts)
        self._file = file
        self._parts = parts
        self._least = least
        self._check = check
        self._seen: tuple[int, ...] = ()  # of the file that was read
        self._error = ""
        self.secrets: dict[bytes, bytes] = {}
        self._read()

    def _read(self) -> None:
        """Raises ValueError."""
        of_file: dict[bytes, bytes] = {}
        if self._file:
            try:
                data, status = _calls.wait(self._file, ANSWER_S, lambda: read_regular(self._file, MOST_BYTES + 1))
            except OSError as error:
                raise ValueError(f"{self._file}: {error.strerror or error}") from None
            self._seen = _signature(status)
            if len(data) > MOST_BYTES:
                raise ValueError(f"{self._file}: more than {MOST_BYTES >> 20} MiB")
            of_file = parse(lines_of(data), self._parts)
        secrets = of_file | self._own
        if len(secrets) < self._least:
            raise ValueError(f"no users found in {self._file}")
        for user, secret in secrets.items():
            self._check(user, secret)
        self.secrets = secrets

    def keep_in(self, state: State) -> None:
        """Have the file followed, if there is one, for as long as these users are."""
        if self._file and state.loop is not None:
            loop = state.loop
            self._follower = state.keep("users", lambda: Follower(loop))
            self._follower.follow(self)

    def refresh(self) -> bool:
        """Read the file again if it has changed. With a mistake in it the users stay, and it is logged once.

        Returns whether the users are others.
        """
        if not self._file:
            return False
        before = self.secrets
        try:
            if _signature(_calls.wait(self._file, ANSWER_S, lambda: os.stat(self._file))) == self._seen:
                return False
            self._read()
        except (OSError, ValueError) as error:
            text = str(error)
            if text != self._error:
                _log.error("users stay as they are: %s", text)
            self._error = text
            return False
        self._error = ""
        return self.secrets != before


class Follower:
    """Looks at the files of users once a second.

    A thread does that, and ends with the look, since system calls of a worker cost more while it has two threads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._followed: weakref.WeakSet[Users] = weakref.WeakSet()
        self._lock = threading.Lock()  # of `_followed`
        self._begun = False
        self._thread: threading.Thread | None = None

    def follow(self, users: Users) -> None:
        """From any thread."""
        with self._lock:
            self._followed.add(users)
        if not self._begun:
            self._begun = True
            self._loop.call_soon_threadsafe(_look_later, weakref.ref(self))

    def look(self) -> None:
        """Begin a look at all files, unless the last one has not ended."""
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                present = [*self._followed]
            self._thread = threading.Thread(target=_look, args=(present,), name="users", daemon=True)
            self._thread.start()


def _look_later(found: weakref.ref[Follower]) -> None:
    """Look now, and once a second for as long as there is a follower."""
    if (follower := found()) is not None:
        follower.look()
        follower._loop.call_later(LOOK_S, _look_later, found)


def _look(present: list[Users]) -> None:
    for users in present:
        try:
            users.refresh()
        except Exception:
            _log.exception("internal error with a file of users")


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
