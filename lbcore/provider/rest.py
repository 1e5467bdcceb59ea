"""`providers.rest`: the configuration that a client has put, whole, and that is kept in a file if one is named."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lbcore.config.blocking import BlockedError, BlockingCalls
from lbcore.config.decode import decode, keys_of, known_to, plain
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.json_text import read_json
from lbcore.config.load import FILE_LIMIT_BYTES
from lbcore.config.regular import read_regular
from lbcore.config.report import lines
from lbcore.config.static.providers import RestProvider as Settings
from lbcore.config.tree import parse
from lbcore.errors import ConfigError, Problem
from lbcore.provider.base import Publish, Update
from lbcore.tls.material import settle

SECTIONS = ("http", "tcp", "udp", "tls")
READ_S = 30.0  # timeout of decoding what is put, and of reading the files that its `tls` names

_log = logging.getLogger("lbcore.provider.rest")


class RestProvider:
    """Publishes what was put last. What is put is used whole, or, if anything is wrong with it, refused whole.

    check  the problems that a configuration has together with those of the other providers.
    """

    name = "rest"

    def __init__(self, settings: Settings) -> None:
        self._file = Path(settings.storage) if settings.storage else None
        self._current: DynamicConfig | None = None
        self._publish: Publish | None = None
        self._turn = asyncio.Lock()
        self._calls = BlockingCalls()
        self.check: Callable[[DynamicConfig], list[str]] = lambda config: []

    def reload(self) -> None:
        """Publish again what was put."""
        if self._publish is not None and self._current is not None:
            self._publish(Update(self.name, self._current, is_read=True))

    async def run(self, publish: Publish) -> None:
        """Publish what is in the file; an empty configuration if there is none, or nothing in it can be used."""
        if self._current is None:
            self._current, problems = await asyncio.to_thread(self._stored)
            for problem in problems:
                _log.error("configuration: %s", problem)
            publish(Update(self.name, self._current, tuple(problems), is_read=True))
        self._publish = publish
        await asyncio.Event().wait()

    async def put(self, body: bytes) -> list[str]:
        """Use a configuration from now on. Returns why not, if it is not.

        Raises OSError if it cannot be stored, or if files that it names do not answer, as on a dead network mount.
        """
        async with self._turn:
            key = f"put {hash(body)}"  # files that do not answer hold up no other configuration
            try:
                config, problems = await self._calls.run(key, READ_S, lambda: _decoded(body, "rest", self._current))
            except ConfigError as error:
                return lines(error.problems)
            except BlockedError:
                raise OSError("the files of certificates and authorities do not answer") from None
            if config.is_empty:
                problems.append("nothing is configured: DELETE removes what is there")
            problems = problems or await asyncio.to_thread(self.check, config)
            if not problems:
                await self._use(config, body)
            return problems

    async def clear(self) -> None:
        """Use an empty configuration from now on. Raises OSError if that cannot be stored."""
        async with self._turn:
            await self._use(DynamicConfig(), b"{}")

    async def _use(self, config: DynamicConfig, body: bytes) -> None:
        if self._publish is None:
            raise OSError("the provider does not run yet")
        if self._file is not None:
            await asyncio.to_thread(_store, self._file, body)
        self._current = config
        self._publish(Update(self.name, config, is_read=True))

    def _stored(self) -> tuple[DynamicConfig, list[str]]:
        if self._file is None or not self._file.exists():
            return DynamicConfig(), []
        try:
            body = read_regular(self._file, FILE_LIMIT_BYTES).data
            if body.strip() == b"{}":
                return DynamicConfig(), []
            return _decoded(body, str(self._file), None)
        except ConfigError as error:
            return DynamicConfig(), lines(error.problems)
        except OSError as error:
            return DynamicConfig(), [f"{self._file}: {error.strerror}"]


def _decoded(body: bytes, place: str, before: DynamicConfig | None) -> tuple[DynamicConfig, list[str]]:
    """The configuration, and problems of its parts. Raises ConfigError."""
    try:
        text = body.decode()
        read_json(text)
    except ValueError as error:
        raise ConfigError([Problem("", f"no JSON: {error}", "", place)]) from None
    tree = parse(text, place, toml=False, templates=False)
    _leave_out_nothing(tree.content)
    decoded = decode(tree, DynamicConfig)
    config, of_tls = settle(decoded.model, before)
    # What is ignored in a file, with a warning, is a mistake of a program.
    problems = [*decoded.broken, *decoded.warnings, *(each for each in of_tls if each.severity != "warning")]
    return config, lines(problems)


def _leave_out_nothing(content: Any) -> None:
    """Take out what programs write for what is not there: `null`, and layers and kinds without an object.

    In a file these are mistakes: somebody has begun to write something.
    """
    layers = {key.lower(): plain(annotation) for key, annotation in keys_of(DynamicConfig).items() if key in SECTIONS}
    for layer, kinds in list(content.items()) if isinstance(content, dict) else ():
        if layer.lower() not in layers:
            continue
        known = known_to(layers[layer.lower()])
        for kind, objects in list(kinds.items()) if isinstance(kinds, dict) else ():
            if kind.lower() in known and _is_nothing(objects):
                del kinds[kind]
            elif isinstance(objects, dict):
                _leave_out_null(list(objects.values()))
            else:
                _leave_out_null(objects)
        if _is_nothing(kinds):
            del content[layer]


def _is_nothing(value: Any) -> bool:
    return value is None or value == {} or value == []


def _leave_out_null(thing: Any) -> None:
    if isinstance(thing, dict):
        for key, value in list(thing.items()):
            if value is None:
                del thing[key]
            _leave_out_null(value)
    elif isinstance(thing, list):
        for each in thing:
            _leave_out_null(each)


def _store(file: Path, body: bytes) -> None:
    """Replace a file, so that it has either content at any time. It may hold secrets: its owner alone may read it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(body)
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
