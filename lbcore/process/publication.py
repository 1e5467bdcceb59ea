"""Publishing a configuration is a transaction: compiled, prepared by every worker, then in force everywhere or nowhere.

    merged configuration ─► compile, keep what runs in place of what is broken     a thread: the loop of the probes
    goes on
                         ─► prepare in the workers                                 all agree
                         ─► commit                                                 workers, slots, health, API

What is refused at any step changes nothing: neither what runs, nor what a worker that starts later gets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from lbcore.api.runtime import ReloadStatus
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lint import lint
from lbcore.config.report import disabled_lines
from lbcore.config.static import StaticConfig
from lbcore.config.tls import Certificate
from lbcore.errors import ConfigError, LbcoreError
from lbcore.process.control import encode
from lbcore.process.snapshot import Publisher, Snapshot, to_json
from lbcore.provider.keep import Kept, keep_running
from lbcore.routing.compile import Table, compile_table, find_problems
from lbcore.state.region import Region
from lbcore.tls.material import library_name, with_fallback

_log = logging.getLogger("lbcore.process")


class RefusedError(LbcoreError):
    """A worker cannot run a configuration that was found right: a bug, and what runs stays."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that was compiled and is not in force yet.

    message  the `prepare` message for the workers, encoded.
    kept     objects whose new version is broken, so that the one that runs stays.
    warnings  what runs and is probably not what was meant.
    """

    snapshot: Snapshot
    table: Table
    message: bytes
    kept: tuple[Kept, ...] = ()
    warnings: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything runs as it is written."""
        return not self.kept and not self.table.disabled


class Workers(Protocol):
    """The processes, or the one engine, that a configuration is published to."""

    @property
    def oldest_generation(self) -> int:
        """The lowest number of the configurations that any of them may still use."""

    async def prepare(self, prepared: Prepared) -> None:
        """Have all of them compile. Raises RefusedError when one cannot; one that does not answer is not waited for."""

    def commit(self, prepared: Prepared) -> None:
        """Put in force what was prepared. Cannot fail."""

    def abort(self, prepared: Prepared) -> None:
        """Forget what was prepared."""


class Publication:
    """Publishes one configuration at a time; of those that come meanwhile, the newest.

    in_force  called with each configuration that was committed, at once after the workers.
    status    is told how it went.
    keeps     whether an object whose new version is broken runs on in the version before; otherwise it is disabled.
    """

    def __init__(
        self,
        static: StaticConfig,
        region: Region,
        publisher: Publisher,
        workers: Workers,
        in_force: Callable[[Prepared], None],
        status: ReloadStatus,
        admin: str = "",
        keeps: bool = True,
    ) -> None:
        self._static = static
        self._region = region
        self._publisher = publisher
        self._workers = workers
        self._in_force = in_force
        self._admin = admin
        self._keeps = keeps
        self._wanted: DynamicConfig | None = None
        self._fallback: Certificate | None = None  # made when TLS is first spoken; all workers have the same
        self._of_providers: list[str] = []
        self._woken = asyncio.Event()
        self._lock = asyncio.Lock()  # one transaction at a time
        self._status = status
        self.current: Prepared | None = None
        self.first = asyncio.Event()  # one configuration, if only an empty one, is in force, or none can be

    def want(self, dynamic: DynamicConfig) -> None:
        """Publish a merged configuration as soon as it can be."""
        self._wanted = dynamic
        self._woken.set()

    def note_provider_problems(self, problems: list[str]) -> None:
        """What providers have refused to publish; empty when everything they have was published."""
        self._of_providers = problems
        self._status.refused = list(problems)
        if problems:
            self._status.fail()

    async def run(self) -> None:
        """Publish what is wanted, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            wanted, self._wanted = self._wanted, None
            if wanted is not None:
                await self.publish(wanted)

    async def publish(self, wanted: DynamicConfig) -> bool:
        """Publish now. Returns whether it is in force; if not, the reasons are logged, and in the status."""
        try:
            await self.replace(wanted)
        except Exception as error:
            self._refuse(error)
            if self.current is None and not wanted.is_empty:
                # There is nothing to go back to: run what is lbcore's own, so that ping and the API answer.
                refused = self._status.refused
                if await self.publish(DynamicConfig()):
                    self._status.refused = refused
            self.first.set()
            return False
        return True

    async def replace(self, wanted: DynamicConfig) -> None:
        """Publish now. Raises what is in the way, with nothing changed: ConfigError when it does not fit."""
        async with self._lock:
            prepared = await asyncio.to_thread(self._prepare, wanted)
            try:
                await self._workers.prepare(prepared)
            except BaseException:
                self._publisher.abort(prepared.snapshot)
                self._workers.abort(prepared)
                raise
            self._commit(prepared)

    def _commit(self, prepared: Prepared) -> None:
        self._publisher.commit(prepared.snapshot)
        self._workers.commit(prepared)
        prepared.table.take_effect()
        if prepared.table.speaks_tls and (self.current is None or not self.current.table.speaks_tls):
            _log.info("TLS is spoken by %s", library_name())
        self.current = prepared
        status = self._status
        status.reloads += 1
        status.refused = list(self._of_providers)
        status.kept = {(entry.kind, entry.name): entry.errors for entry in prepared.kept}
        if prepared.is_clean and not self._of_providers:
            status.succeed()
        else:
            status.fail()
        for warning in prepared.warnings:
            _log.warning("%s", warning)
        for line in disabled_lines(prepared.table.disabled):
            _log.error("%s", line)
        for kept in prepared.kept:
            text = "; ".join(kept.errors)
            _log.error("%s %s is broken, the version that runs stays: %s", kept.kind, kept.name, text)
        try:
            self._in_force(prepared)
        except Exception as error:
            # The workers route by it already: what follows them may lag behind, but it is in force.
            _log.error("configuration %d: what follows it fails: %s", prepared.snapshot.generation, _line(error))
            _log.debug("what follows a configuration fails", exc_info=error)
        self.first.set()

    def _refuse(self, error: Exception) -> None:
        texts = [str(problem) for problem in error.problems] if isinstance(error, ConfigError) else [_line(error)]
        stays = "what runs stays" if self.current is not None else "nothing of it runs"
        for text in texts:
            _log.error("configuration refused, %s: %s", stays, text)
        if not isinstance(error, LbcoreError):
            _log.debug("the refusal is an error of lbcore's own", exc_info=error)
        self._status.refused = [*self._of_providers, *texts]
        self._status.fail()

    def _prepare(self, wanted: DynamicConfig) -> Prepared:
        """Runs in a thread while the loop goes on; nothing else touches the publisher meanwhile."""
        prepared = self._compiled(wanted, ())
        running = self.current
        if running is None or not self._keeps or not prepared.table.disabled:
            return prepared
        dynamic, kept = keep_running(
            running.snapshot.dynamic,
            running.table.disabled,
            prepared.snapshot.dynamic,
            prepared.table.disabled,
            self._static,
            lambda candidate: find_problems(candidate, self._static)[0],
        )
        if not kept:
            return prepared
        return self._compiled(dynamic, tuple(kept), instead_of=prepared.snapshot)

    def _compiled(self, dynamic: DynamicConfig, kept: tuple[Kept, ...], instead_of: Snapshot | None = None) -> Prepared:
        # What is compiled here is what the workers will read.
        dynamic = with_fallback(dynamic, self._static, self._fallback)
        self._fallback = dynamic.tls.generated or self._fallback
        data = to_json(dynamic)
        snapshot = self._publisher.reserve(DynamicConfig.model_validate(data), instead_of)
        known = self.current.table.servers if self.current is not None else {}
        try:
            table = compile_table(
                snapshot.dynamic,
                self._static,
                snapshot.slots,
                self._region,
                0,
                known,
                None,
                self._admin,
                finds_all=True,
            )
            configuration = {"generation": snapshot.generation, "dynamic": data, "slots": snapshot.slots.to_json()}
            out = {entry.name for entry in table.disabled if entry.kind == "router"}
            warnings = list(dict.fromkeys([*table.warnings, *lint(snapshot.dynamic, self._static, out)]))
            return Prepared(snapshot, table, encode({"type": "prepare", **configuration}), kept, warnings)
        except BaseException:
            self._publisher.abort(snapshot)
            raise


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
