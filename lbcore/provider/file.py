"""The file provider: a dynamic configuration in one file or a directory of files, read again when it changes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from lbcore.config.blocking import BlockingCalls
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import TextLoader, read_text
from lbcore.config.report import SHOWN, lines
from lbcore.errors import ConfigError, PartProblem, Problem, typed_message_of
from lbcore.provider.base import Publish, Update
from lbcore.provider.watch import changes, config_files, is_being_written
from lbcore.tls.material import files_of, settle

READ_S = 3.0  # timeout of reading a file, or the names in a directory
MATERIAL_S = 1.0  # interval at which the files that `tls` names are checked
MATERIAL_REST_S = 0.2  # they are read when they have not changed for this time
WATCH_AGAIN_S = 2.0  # between a failure of watching and the next attempt
WRITER_S = 2.0  # longest wait for a process that writes the file

NO_ANSWER = (-1,)  # in place of the signature of a file
Signatures = dict[Path, tuple[int, ...]]
Load = Callable[[Mapping[Path, str]], tuple[DynamicConfig, Sequence[Problem]]]

_log = logging.getLogger("lbcore.provider.file")


class FileProvider:
    """Publishes the configuration at `path`; a state that cannot run is reported and skipped.

    watch       read again after changes; otherwise only on `reload`.
    throttle    least time between two publications. The first change is published at once, later ones wait.
    shows_templates  log what templates have become, at level DEBUG.

    If a file of a directory cannot be read, or blocks, its last contents stay; the other files are followed.
    """

    name = "file"

    def __init__(
        self,
        path: Path,
        *,
        watch: bool = True,
        throttle: timedelta = timedelta(seconds=2),
        load: Load | None = None,
        shows_templates: bool = False,
    ) -> None:
        self.path = path
        self._watch = watch
        self._throttle_s = throttle.total_seconds()
        self._load = load or TextLoader().load
        self._shows_templates = shows_templates
        self._calls = BlockingCalls()
        self._texts: dict[Path, str] = {}  # last contents of the files
        self._unread: dict[Path, str] = {}  # reasons why files could not be read, logged once
        self._current: DynamicConfig | None = None
        self._digest = b""
        self._material: Signatures = {}  # of the files that `tls` names, as they were read
        self._missing = False
        self._problems: tuple[str, ...] = ()
        self._published_at = -self._throttle_s
        self._changed = asyncio.Event()
        self._forced = asyncio.Event()

    def reload(self) -> None:
        """Read again now, and publish even if nothing has changed."""
        self._forced.set()
        self._changed.set()

    async def run(self, publish: Publish) -> None:
        """Publish until cancelled. A file that is missing or wrong at the start gives an empty configuration."""
        published: tuple[str, ...] = ()
        watchers = [self._watch_path, self._watch_material] if self._watch else []
        watching = [asyncio.create_task(self._keep_watching(watcher)) for watcher in watchers]
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
                problems = (*self._problems, *self._unread.values())
                if config is not None or problems != published or (forced and problems):  # whoever asks gets an answer
                    if published and not problems:
                        _log.info("%s is in order again", self.path)
                    published = problems
                    publish(Update(self.name, config, problems))
        finally:
            for watcher in watching:
                watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher

    async def _keep_watching(self, watcher: Callable[[], Awaitable[None]]) -> None:
        """Watch until cancelled, whatever goes wrong: a configuration that is not followed any more shows nowhere."""
        while True:
            try:
                await watcher()
            except Exception as error:
                reason = typed_message_of(error)
                _log.error("watching %s failed, starting again in %g s: %s", self.path, WATCH_AGAIN_S, reason)
            await asyncio.sleep(WATCH_AGAIN_S)
            self._changed.set()

    async def _watch_path(self) -> None:
        async for _ in changes(self.path, self._calls):
            self._changed.set()

    async def _watch_material(self) -> None:
        """Read certificates, keys and authorities again when their files have changed, and then rested.

        A certificate and its key are rarely written at the same moment.
        """
        while True:
            await asyncio.sleep(MATERIAL_S)
            if not self._material:
                continue
            found = await self._signatures(self._material)
            if found is None or found == self._material:
                continue
            give_up = time.monotonic() + WRITER_S
            while time.monotonic() < give_up:
                before = found
                await asyncio.sleep(MATERIAL_REST_S)
                found = await self._signatures(self._material)
                if found == before:
                    break
            self._material = {}  # until they have been read
            self._digest = b""
            self._changed.set()

    async def _signatures(self, files: Iterable[Path]) -> Signatures | None:
        """The signatures of files, which differ when contents may differ; None if they do not answer."""
        names = list(files)
        key = "\n".join(map(str, names))  # files that do not answer hold up no others
        try:
            return await self._calls.run(key, READ_S, lambda: {name: _signature(name) for name in names})
        except OSError:
            return None

    async def _settled_tls(self, config: DynamicConfig) -> DynamicConfig:
        """The configuration with the contents of the files that its `tls` names.

        Raises ConfigError, and OSError if files do not answer, as on a dead network mount: they are looked at again
        until they do.
        """
        files = files_of(config)
        found = await self._signatures(files) if files else {}
        self._material = dict.fromkeys(files, NO_ANSWER) if found is None else found
        if found is None:
            shown = ", ".join(map(str, files[:SHOWN])) + (f" and {len(files) - SHOWN} more" if files[SHOWN:] else "")
            raise OSError(f"the files of certificates and authorities do not answer: one of {shown}")
        config, problems = await asyncio.to_thread(settle, config, self._current)
        for problem in problems:
            if problem.severity == "warning":
                _log.warning("configuration: %s", problem)
            else:
                self._note_part(str(problem))
        return config

    def _note_part(self, problem: str) -> None:
        """Log what is wrong with a part that does not hinder the others."""
        _log.error("configuration: %s", problem)
        self._problems += (PartProblem(problem),)

    async def _due(self) -> None:
        """Wait until something may have changed, and the throttle has passed."""
        await self._changed.wait()
        rest_s = self._published_at + self._throttle_s - time.monotonic()
        if rest_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._forced.wait()

    async def _read(self, forced: bool) -> DynamicConfig | None:
        """The configuration to publish now, or None if there is nothing new or nothing valid."""
        texts = await self._read_texts()
        if texts is None:
            return None
        if not texts and not await self._is_folder():
            if not self._missing and not self._unread:
                kept = ": the running configuration stays" if self._current else ""
                looked = "" if self.path.is_absolute() else f" (looked for {self.path.absolute()})"
                _log.error("configuration %s is not there%s%s", self.path, looked, kept)
                self._problems = (f"{self.path} is not there",)
            self._missing, self._digest = True, b""
            return None
        self._missing = False
        digest = _digest(texts)
        if digest == self._digest and not forced:
            return None
        self._digest = digest
        self._problems = ()
        if self._shows_templates:
            for file, text in texts.items():
                _show_template(file, text)
        try:
            config, notes = await asyncio.to_thread(self._load, texts)
            config = await self._settled_tls(config)
        except (ConfigError, OSError) as error:
            problems = lines(error.problems) if isinstance(error, ConfigError) else [str(error)]
            for problem in problems:
                _log.error("configuration refused: %s", problem)
            for strange in lines(error.warnings) if isinstance(error, ConfigError) else ():
                _log.warning("configuration: %s", strange)
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            stays = "the running configuration stays" if self._current is not None else "nothing of it runs"
            _log.error("%s: %s, %s", self.path, count, stays)
            self._problems = tuple(problems)
            return None
        except Exception as error:
            reason = typed_message_of(error)
            _log.error("%s cannot be loaded, the running configuration stays: %s", self.path, reason)
            _log.debug("%s cannot be loaded", self.path, exc_info=error)
            self._problems = (f"{self.path} cannot be loaded: {reason}",)
            return None
        for problem in lines(note for note in notes if note.severity != "warning"):
            self._note_part(problem)
        for warning in lines(note for note in notes if note.severity == "warning"):
            _log.warning("configuration: %s", warning)
        if self._current is not None and config.is_empty and not self._current.is_empty:
            _log.error("configuration %s is empty: the running configuration stays", self.path)
            self._problems = (f"{self.path} is empty",)
            return None
        if config == self._current and not forced:
            return None
        if config.is_empty and not notes and self._current is None:
            _log.warning("configuration: %s: nothing is configured", self.path)
        return config

    async def _is_folder(self) -> bool:
        try:
            return await self._calls.run("folder", READ_S, self.path.is_dir)
        except OSError:
            return False

    async def _read_texts(self) -> dict[Path, str] | None:
        """The texts of all existing files; None if the directory cannot be read."""
        try:
            files = await self._calls.run("listing", READ_S, lambda: list(config_files(self.path)))
        except OSError as error:
            self._complain(self.path, f"{self.path} cannot be read: {error.strerror or error}")
            return None
        texts: dict[Path, str] = {}
        unread: dict[Path, str] = {}
        for file in files:
            try:
                text = await self._settled_text(file)
                if text is not None:
                    texts[file] = text
            except (ConfigError, OSError) as error:
                unread[file] = str(error) if isinstance(error, ConfigError) else f"{file}: cannot be read: {error}"
                if file in self._texts:
                    texts[file] = self._texts[file]
        for file, reason in unread.items():
            self._complain(file, reason + (": it is taken as it was read last" if file in texts else ""))
        self._unread = {file: self._unread[file] for file in unread}
        self._texts = texts
        return texts

    def _complain(self, file: Path, reason: str) -> None:
        if self._unread.get(file) != reason:
            self._unread[file] = reason
            _log.error("configuration: %s", reason)

    async def _settled_text(self, file: Path) -> str | None:
        """The text of a file that no process has written while it was read: a part may be valid, and not intended.

        None if the file does not exist. After WRITER_S the text is taken as it is. Raises ConfigError and OSError.
        """
        give_up = time.monotonic() + WRITER_S
        while True:
            text, is_settled = await self._calls.run(str(file), READ_S, partial(_read, file))
            if is_settled or time.monotonic() > give_up:
                return text
            await asyncio.sleep(0.02)


def _read(file: Path) -> tuple[str | None, bool]:
    """The text of a file, None if it does not exist; and whether no process wrote it. Raises ConfigError."""
    before = _signature(file)
    was_written = is_being_written(file)
    text = read_text(file) if file.exists() else None
    return text, not (was_written or is_being_written(file)) and _signature(file) == before


def _show_template(file: Path, text: str) -> None:
    if "{{" not in text:
        return
    from lbcore.template.engine import TemplateError, render_file

    with contextlib.suppress(TemplateError):  # loading reports it
        _log.debug("%s is, without templates:\n%s", file, render_file(text).text)


def _signature(file: Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _digest(texts: Mapping[Path, str]) -> bytes:
    """A hash over names and contents."""
    digest = hashlib.sha256()
    for file, text in texts.items():
        content = text.encode(errors="surrogatepass")
        digest.update(b"%d:%s%d:" % (len(str(file)), str(file).encode(errors="surrogateescape"), len(content)))
        digest.update(content)
    return digest.digest()
