"""The file provider: a dynamic configuration in one file or a directory of files, read again when it changes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import load_dynamic
from lbcore.errors import ConfigError, Problem
from lbcore.provider.base import Publish, Update
from lbcore.provider.watch import changes, config_files, is_being_written

WRITER_S = 2.0  # how long at most a file that is being written is waited for

Load = Callable[[Path], tuple[DynamicConfig, Iterable[Problem | str]]]

_log = logging.getLogger("lbcore.provider.file")


class FileProvider:
    """Publishes what stands at `path`; a state that cannot run is reported and passed over.

    watch       read again when it changes; otherwise on `reload` only.
    throttle    least time between two publications. The first change goes out at once, what follows waits.
    """

    name = "file"

    def __init__(
        self, path: Path, *, watch: bool = True, throttle: timedelta = timedelta(seconds=2), load: Load = load_dynamic
    ) -> None:
        self.path = path
        self._watch = watch
        self._throttle_s = throttle.total_seconds()
        self._load = load
        self._current: DynamicConfig | None = None
        self._digest = b""
        self._missing = False
        self._published_at = -self._throttle_s
        self._changed = asyncio.Event()
        self._forced = asyncio.Event()

    def reload(self) -> None:
        """Read again now and publish although nothing may have changed."""
        self._forced.set()
        self._changed.set()

    async def run(self, publish: Publish) -> None:
        """Publish until cancelled. A file that is missing or wrong at the start gives an empty configuration."""
        watcher = asyncio.create_task(self._watch_path()) if self._watch else None
        try:
            self._changed.set()
            while True:
                await self._due()
                forced = self._forced.is_set()
                self._forced.clear()
                self._changed.clear()
                config = await self._read(forced)
                if config is None and self._current is None:
                    config = DynamicConfig()
                if config is not None:
                    self._current = config
                    self._published_at = time.monotonic()
                    publish(Update(self.name, config))
        finally:
            if watcher is not None:
                watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher

    async def _watch_path(self) -> None:
        async for _ in changes(self.path):
            self._changed.set()

    async def _due(self) -> None:
        """Wait until something may have changed and the throttle lets it through."""
        await self._changed.wait()
        rest_s = self._published_at + self._throttle_s - time.monotonic()
        if rest_s > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._forced.wait(), rest_s)

    async def _read(self, forced: bool) -> DynamicConfig | None:
        """The configuration to publish now, or None when there is nothing new or nothing good."""
        await self._settled()
        digest = await asyncio.to_thread(_digest, self.path)
        if not digest:
            if not self._missing:
                kept = ": the running configuration stays" if self._current else ""
                _log.error("configuration %s is not there%s", self.path, kept)
            self._missing, self._digest = True, b""
            return None
        self._missing = False
        if digest == self._digest and not forced:
            return None
        self._digest = digest
        try:
            config, warnings = await asyncio.to_thread(self._load, self.path)
        except (ConfigError, OSError) as error:
            problems = error.problems if isinstance(error, ConfigError) else (error,)
            for problem in problems:
                _log.error("configuration refused: %s", problem)
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            _log.error("%s: %s, the running configuration stays", self.path, count)
            return None
        except Exception:
            _log.exception("%s cannot be loaded, the running configuration stays", self.path)
            return None
        for warning in warnings:
            _log.warning("configuration: %s", warning)
        if self._current is not None and config.is_empty and not self._current.is_empty:
            _log.error("configuration %s is empty: the running configuration stays", self.path)
            return None
        if config == self._current and not forced:
            return None
        return config

    async def _settled(self) -> None:
        """Wait until no process is writing: half a file may be a valid configuration, but not the one that is meant."""
        give_up = time.monotonic() + WRITER_S
        while time.monotonic() < give_up and any(map(is_being_written, config_files(self.path))):
            await asyncio.sleep(0.02)


def _digest(path: Path) -> bytes:
    """A hash over names and content; empty when nothing is there."""
    digest, found = hashlib.sha256(), path.is_dir()
    for file in config_files(path):
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            content = str(error).encode()  # loading will meet the same error and report it
        found = True
        digest.update(b"%d:%s%d:" % (len(str(file)), str(file).encode(errors="surrogateescape"), len(content)))
        digest.update(content)
    return digest.digest() if found else b""
