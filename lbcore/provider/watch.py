"""Detecting that a configuration file or directory may have changed, in whatever way it was changed."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, watch

from lbcore.config.blocking import BlockingCalls

SUFFIXES = frozenset({".yml", ".yaml", ".toml"})
SETTLE_MS = 50  # changes within this time of each other count as one
LOOK_S = 5.0  # timeout of reading names and times
POLL_S = 2.0  # interval at which file times are compared, for file systems and moves without events

_log = logging.getLogger("lbcore.provider.file")

Signature = tuple[tuple[str, int, int, int], ...]


def config_files(path: Path) -> Iterator[Path]:
    """The files of a configuration: `path` itself, or those of a known type in the directory, in the order of names.

    Skips entries whose name starts with a dot: files of editors, and the internals of Kubernetes config maps.
    """
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(folder, name)


def signature(path: Path) -> Signature:
    """Name, inode, size and time of every existing file, which differ when contents may differ."""
    entries = []
    for file in config_files(path):
        try:
            status = file.stat()
        except OSError:
            continue
        entries.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(entries)


def is_being_written(file: Path) -> bool:
    """Whether a process has the file open for writing now. False also if the kernel cannot tell.

    The kernel grants a read lease exactly if no process has the file open for writing; source: fcntl(2), F_SETLEASE.
    """
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # The kernel signals a holder of the lease when a writer opens the file: choose a signal that is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file of another user, or a file system without leases
    finally:
        os.close(fd)


async def changes(path: Path, calls: BlockingCalls) -> AsyncIterator[None]:
    """Yield each time the configuration at `path` may have changed, and once soon after watching has begun.

    Directories are watched, not files, so that files that are written, renamed over, swapped through a symbolic link
    (as Kubernetes does with config maps) or created later are noticed. In addition, names and times are compared every
    POLL_S, for changes without events.
    """
    woken = asyncio.Event()
    watcher: _Watcher | None = None
    seen: Signature | None = None
    try:
        while True:
            happened = woken.is_set()
            woken.clear()
            try:
                now, target = await calls.run("looking", LOOK_S, lambda: (signature(path), _Target.of(path)))
            except OSError:
                pass  # files that cannot be examined count as unchanged
            else:
                if watcher is None or watcher.target != target:
                    if watcher is not None:
                        watcher.stop()
                    watcher = _Watcher(target, path, asyncio.get_running_loop(), woken, watcher)
                if happened or now != seen:
                    seen = now
                    yield
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await woken.wait()
    finally:
        if watcher is not None:
            watcher.stop()


class _Watcher:
    """Waits for the kernel's events of one target, in a thread of its own because the set-up may block, too."""

    def __init__(
        self, target: _Target, path: Path, loop: asyncio.AbstractEventLoop, woken: asyncio.Event, before: _Watcher |
        None
    ) -> None:
        self.target = target
        self.complained: bool = before is not None and before.complained
        self._path = path
        self._loop = loop
        self._woken = woken
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="lbcore watcher", daemon=True).start()

    def stop(self) -> None:
        """End soon, without further events."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            for _ in watch(
                *self.target.roots,
                watch_filter=self.target.concerns,
                debounce=10 * SETTLE_MS,
                step=SETTLE_MS,
                rust_timeout=int(POLL_S * 1000),
                stop_event=self._stopped,
                recursive=self.target.directory,
                ignore_permission_denied=True,
                raise_interrupt=False,
            ):
                if self._stopped.is_set():
                    return
                self._loop.call_soon_threadsafe(self._woken.set)
        except (OSError, RuntimeError) as error:
            if not self._stopped.is_set() and not self.complained:
                self.complained = True
                _log.warning("cannot watch %s, comparing file times every %g s: %s", self._path, POLL_S, error)


@dataclass(frozen=True, slots=True)
class _Target:
    """The directories to watch for a path: its own, and the one its link leads to; or the nearest that exist."""

    directory: bool
    roots: tuple[Path, ...]
    names: frozenset[str]

    @staticmethod
    def of(path: Path) -> _Target:
        directory, leads_to = path.is_dir(), Path(os.path.realpath(path))  # of links that lead in a circle, the first
        folders = {path, leads_to} if directory else {path.parent, leads_to.parent}
        roots = tuple(sorted({_nearest(folder) for folder in folders}))
        return _Target(directory, roots, frozenset({path.name, leads_to.name}))

    def concerns(self, change: Change, changed: str) -> bool:
        name = os.path.basename(changed)
        return self.directory or name in self.names or name.startswith("..")


def _nearest(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
