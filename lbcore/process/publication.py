"""Publishing a configuration is a transaction: compiled, prepared by every worker, then in force everywhere or nowhere.

    merged configuration ─► compile, keep running versions of broken objects     in a thread, so that probes continue
                         ─► prepare in the workers                               all have to agree
                         ─► commit                                               workers, slots, health, API

A refusal at any step changes nothing: neither the running configuration, nor the one that a new worker gets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from pydantic.alias_generators import to_snake

from lbcore.api.changes import changes
from lbcore.api.runtime import ReloadStatus
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lines import Lines
from lbcore.config.lint import Linter
from lbcore.config.report import SECTIONS, disabled_lines, place_of, reasons, spoken
from lbcore.config.spiffe import Identity
from lbcore.config.static import StaticConfig
from lbcore.config.tls import Certificate
from lbcore.config.validate.findings import Disabled
from lbcore.errors import ConfigError, LbcoreError, typed_message_of
from lbcore.process.control import encode
from lbcore.process.snapshot import Data, Publisher, Remembered, Snapshot, parts_of
from lbcore.provider.keep import OPTIONS, Kept, keep_running, lacked_by_entry_points
from lbcore.routing.compile import compile_table, find_problems
from lbcore.routing.table import Table
from lbcore.state.region import Region
from lbcore.tls.material import asks_for_identity, library_name, with_fallback

_log = logging.getLogger("lbcore.process")


class RefusedError(LbcoreError):
    """A worker cannot run a configuration that passed all checks: a bug, after which the running one stays."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration that was compiled and is not in force yet.

    merged    what it was made of: the merged configuration, with the objects that are kept.
    data      what it is written as, for workers: see `Remembered`.
    base      the generation that workers run to which `message` tells the difference; 0: it tells all.
    message   the messages for the workers, encoded: see `parts_of`.
    kept      objects whose new version is broken, so that the running version stays.
    warnings  texts about what will run but is probably not intended.
    lines     where what is written stands.
    """

    snapshot: Snapshot
    table: Table
    merged: DynamicConfig
    data: Data
    base: int
    message: bytes
    kept: tuple[Kept, ...] = ()
    warnings: list[str] = field(default_factory=list)
    lines: Lines = field(default_factory=Lines)

    def whole(self) -> bytes:
        """The messages for a worker that does not run `base`, encoded."""
        if not self.base:
            return self.message
        return b"".join(map(encode, parts_of(self.snapshot.generation, self.data, self.snapshot.slots)))

    @property
    def is_clean(self) -> bool:
        """Whether all objects run as they are configured."""
        return not self.kept and not self.table.disabled


class Receivers(Protocol):
    """The receivers of configurations: the worker processes, or the data plane of a Proxy."""

    @property
    def oldest_generation(self) -> int:
        """The lowest number of the configurations that any of them may still use."""

    async def prepare(self, prepared: Prepared) -> None:
        """Make all of them compile. Raises RefusedError if one cannot; workers that hang are not waited for."""

    def commit(self, prepared: Prepared) -> None:
        """Put a prepared configuration in force. Cannot fail."""

    def abort(self, prepared: Prepared) -> None:
        """Drop a prepared configuration."""


class Publication:
    """Publishes one configuration at a time, and then the newest of those that have arrived meanwhile.

    in_force  called with each configuration that was committed, immediately after the workers.
    status    records the result of each reload.
    keeps     whether an object whose new version is broken stays in its running version; otherwise it is disabled.
    """

    def __init__(
        self,
        static: StaticConfig,
        region: Region,
        publisher: Publisher,
        workers: Receivers,
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
        self._remembered = Remembered()
        self._linter = Linter(static)
        self._wanted: DynamicConfig | None = None
        self._newest: DynamicConfig | None = None  # the last one that was wanted
        self._identity: Identity | None = None  # of this instance, towards servers
        self._fallback: Certificate | None = None  # made when TLS is first used, the same for all workers
        self._plain: DynamicConfig | None = None  # the last one, if no router of it serves TLS
        self._of_providers: list[str] = []
        self._said: frozenset[tuple[int, str]] = frozenset()  # levels and lines about the configuration in force
        self._broken: frozenset[tuple[str, str]] = frozenset()  # kinds and names of what did not run as it was written
        self._woken = asyncio.Event()
        self._lock = asyncio.Lock()  # one transaction at a time
        self._status = status
        self.current: Prepared | None = None
        self.first = asyncio.Event()  # one configuration, if only an empty one, is in force, or none can be

    def want(self, dynamic: DynamicConfig) -> None:
        """Publish a merged configuration as soon as it can be."""
        self._wanted = self._newest = dynamic
        self._woken.set()

    def set_identity(self, identity: Identity) -> None:
        """Show servers another identity, which the Workload API of SPIFFE gives, and trust its bundles."""
        if identity != self._identity:
            self._identity = identity
            if self._newest is not None and asks_for_identity(self._newest, self._static):
                self.want(self._newest)

    def note_provider_problems(self, problems: list[str]) -> None:
        """Record what providers have refused to publish; empty if they have published everything."""
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
        """Publish now. Returns whether it is in force; if not, the reasons are in the log and in the status."""
        try:
            await self.replace(wanted)
        except Exception as error:
            self._refuse(error)
            if self.current is None and not wanted.is_empty:
                # No configuration runs yet: run lbcore's own services alone, so that ping and the API answer.
                refused = self._status.refused
                if await self.publish(DynamicConfig()):
                    self._status.refused = refused
            self.first.set()
            return False
        return True

    async def replace(self, wanted: DynamicConfig) -> None:
        """Publish now. Raises on failure, with nothing changed: ConfigError if the configuration does not fit."""
        self._newest = wanted
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
        if self.current is not None:
            last = changes(self.current.snapshot.dynamic, prepared.snapshot.dynamic)
            self._status.last = last
            if last:
                self._status.changed, self._status.changed_at = last, prepared.snapshot.generation
        if prepared.table.speaks_tls and (self.current is None or not self.current.table.speaks_tls):
            _log.info("TLS uses %s", library_name())
        self.current = prepared
        status = self._status
        status.generation = prepared.snapshot.generation
        status.reloads += 1
        status.refused = list(self._of_providers)
        # Of TLS options the provider has told what is wrong: it is a part of what is refused.
        kept = [entry for entry in prepared.kept if entry.kind != OPTIONS]
        status.kept = {(entry.kind, entry.name): entry.errors for entry in kept}
        status.warnings = list(prepared.warnings)
        broken: list[Disabled | Kept] = [*prepared.table.disabled, *kept]
        status.places = {
            (each.kind, each.name): place_of(each.kind, each.name, each.errors, each.place, prepared.lines)
            for each in broken
            if each.place
        }
        status.reasons = {
            (each.kind, each.name): reasons(each.kind, each.name, each.errors, each.place, prepared.lines)
            for each in broken
        }
        if prepared.is_clean and not self._of_providers:
            status.succeed()
        else:
            status.fail()
        self._say(prepared)
        try:
            self._in_force(prepared)
        except Exception as error:
            # The workers route by it already: it is in force although health checks or the API may be behind.
            generation = prepared.snapshot.generation
            _log.error("configuration %d: what follows it fails: %s", generation, typed_message_of(error))
            _log.debug("what follows a configuration fails", exc_info=error)
        self.first.set()

    def _say(self, prepared: Prepared) -> None:
        """Log what is wrong with a configuration, but for lines that the one before had, too."""
        lines = [(logging.WARNING, warning) for warning in prepared.warnings]
        lines += [(logging.ERROR, line) for line in disabled_lines(prepared.table.disabled, prepared.lines)]
        for kept in prepared.kept:
            if kept.kind == OPTIONS:
                lines.append((logging.ERROR, f"TLS options {kept.name} are broken, the version that runs stays"))
                continue
            text = reasons(kept.kind, kept.name, kept.errors, kept.place, prepared.lines)
            about = f"{spoken(kept.kind)} {kept.name}"
            lines.append((logging.ERROR, f"{about} is broken, the version that runs stays: {text}"))
        for level, line in lines:
            if (level, line) not in self._said:
                _log.log(level, "%s", line)
        self._said = frozenset(lines)
        out: list[Disabled | Kept] = [*prepared.table.disabled, *prepared.kept]
        broken = frozenset((each.kind, each.name) for each in out)
        for kind, name in sorted(self._broken - broken):
            if name in _objects(prepared.snapshot.dynamic, kind):
                _log.info("%s %s runs as it is written again", spoken(kind), name)
        self._broken = broken

    def _refuse(self, error: Exception) -> None:
        texts = [typed_message_of(error)]
        if isinstance(error, ConfigError):
            texts = [str(problem) for problem in error.problems]
        stays = "what runs stays" if self.current is not None else "nothing of it runs"
        for text in texts:
            _log.error("configuration refused, %s: %s", stays, text)
        if not isinstance(error, LbcoreError):
            _log.debug("the refusal is an error of lbcore's own", exc_info=error)
        self._status.refused = [*self._of_providers, *texts]
        self._status.fail()

    def _prepare(self, wanted: DynamicConfig) -> Prepared:
        """Compile. Runs in a thread while the loop continues; nothing else touches the publisher meanwhile."""
        return replace(self._kept_running(wanted), lines=wanted.lines)

    def _kept_running(self, wanted: DynamicConfig) -> Prepared:
        prepared = self._compiled(wanted, ())
        running = self.current
        if running is None or not self._keeps:
            return prepared
        if not prepared.table.disabled and not lacked_by_entry_points(running.merged, wanted, self._static):
            return prepared
        dynamic, kept = keep_running(
            running.merged,
            running.table.disabled,
            wanted,
            prepared.table.disabled,
            self._static,
            lambda candidate: find_problems(self._as_run(candidate)[0], self._static, running.table)[0],
        )
        if not kept:
            return prepared
        return self._compiled(dynamic, tuple(kept), instead_of=prepared.snapshot)

    def _as_run(self, merged: DynamicConfig) -> tuple[DynamicConfig, Data]:
        """The configuration that workers read for a merged one, and what they read it from."""
        dynamic = with_fallback(merged, self._static, self._fallback, self._plain)
        self._plain = merged if dynamic is merged and not merged.tls.stores else None
        if self._identity is not None and asks_for_identity(dynamic, self._static):
            tls = dynamic.tls.model_copy(update={"identity": self._identity})
            dynamic = dynamic.model_copy(update={"tls": tls})
        self._fallback = dynamic.tls.generated or self._fallback
        data = self._remembered.write(dynamic)
        return self._remembered.read(data), data

    def _compiled(self, merged: DynamicConfig, kept: tuple[Kept, ...], instead_of: Snapshot | None = None) -> Prepared:
        # Compile the same JSON that the workers will read.
        dynamic, data = self._as_run(merged)
        running, snapshot = self.current, self._publisher.reserve(dynamic, instead_of)
        known = running.table.servers if running is not None else {}
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
                before=running.table if running is not None else None,
            )
            base = () if running is None else (running.snapshot.generation, running.data, running.snapshot.slots)
            messages = parts_of(snapshot.generation, data, snapshot.slots, *base)
            out = {entry.name for entry in table.disabled if entry.kind == "router"}
            strange = self._linter.lint(snapshot.dynamic, table.made_of.checked, out)
            warnings = list(dict.fromkeys([*table.warnings, *strange]))
            message = b"".join(map(encode, messages))
            return Prepared(snapshot, table, merged, data, base[0] if base else 0, message, kept, warnings)
        except BaseException:
            self._publisher.abort(snapshot)
            raise


def _objects(dynamic: DynamicConfig, kind: str) -> Mapping[str, object]:
    """The objects of a kind of `Disabled`, by name."""
    layer, section = SECTIONS[kind].split(".")
    found: Mapping[str, object] = getattr(getattr(dynamic, layer), to_snake(section))
    return found
