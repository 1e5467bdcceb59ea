"""The load balancer inside a program: `run` blocks and has worker processes, `Proxy` serves on the caller's loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lbcore.api.operating import PingSwitch
from lbcore.api.server import AdminServer, is_wanted
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import dynamic_of, load_static, static_of
from lbcore.config.middlewares import Middleware
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Disabled
from lbcore.middleware.classes import Given
from lbcore.process.agents import Agents
from lbcore.process.late import bind_when_free, is_any_late
from lbcore.process.listeners import Listener, bound_addresses, open_listeners
from lbcore.process.parts import parts_around
from lbcore.process.publication import Prepared
from lbcore.process.snapshot import graces_of
from lbcore.process.supervisor import main, supervise
from lbcore.process.ticket_keys import keep_ticket_keys
from lbcore.process.worker import drain_points, make_plane
from lbcore.provider.base import Update
from lbcore.provider.merge import merge
from lbcore.provider.registry import providers_of
from lbcore.routing.table import Table
from lbcore.state.region import Region
from lbcore.tls.material import choose_library, settle, settle_static

if TYPE_CHECKING:
    from lbcore.process.plane import DataPlane

_log = logging.getLogger("lbcore.process")


def run(config: StaticConfig | str | os.PathLike[str], *, workers: int | None = None) -> int:
    """Serve until a signal stops it, as `lbcore run --config` does. To be called from the main thread.

    config   a static configuration, or the path of its file.
    workers  number of worker processes; None = one per core that this process may use.

    Returns the exit code (see `lbcore.process.supervisor`). Raises ConfigError for a file that is refused. Logs as
    `log` of the configuration says, unless the program has set up logging already.
    """
    static, path = (config, "") if isinstance(config, StaticConfig) else (load_static(config), os.fspath(config))
    choose_library(static)
    static = settle_static(static)
    if logging.getLogger().handlers:
        return supervise(static, workers, path)
    return main(static, workers, path)


class _OnePlane:
    """The data plane of a `Proxy` as the receiver of configurations."""

    def __init__(self, plane: DataPlane, region: Region) -> None:
        self._plane = plane
        self._region = region
        self._table: Table | None = None

    @property
    def oldest_generation(self) -> int:
        return self._region.worker_generation(0)

    async def prepare(self, prepared: Prepared) -> None:
        snapshot = prepared.snapshot
        self._table = await asyncio.to_thread(self._plane.prepare, snapshot.dynamic, snapshot.slots)

    def commit(self, prepared: Prepared) -> None:
        assert self._table is not None
        self._plane.commit(self._table)
        self._table = None
        self._region.set_worker_generation(0, prepared.snapshot.generation)

    def abort(self, prepared: Prepared) -> None:
        self._table = None

    async def ask(self, asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[int]]:
        return [await self._plane.sessions(asked)], []

    async def set_challenges(self, texts: Mapping[str, str], certificates: Mapping[str, tuple[str, str]]) -> None:
        self._plane.set_challenges(texts, certificates)

    async def set_staples(self, added: Mapping[str, str], gone: Sequence[str]) -> None:
        self._plane.set_staples({name: base64.b64decode(text) for name, text in added.items()}, gone)


class Proxy:
    """One worker inside the running loop (asyncio's or uvloop's), for tests and for embedding.

        async with Proxy(static) as proxy:
            print(proxy.addresses["web"])

    static   the static configuration, a dict with the contents of its file, or the path of the file; port 0 takes a
             free port.
    dynamic  the dynamic configuration, or a dict with the contents of its file. None = the providers of `static`
             provide it, and its changes.
    middlewares  instances of classes as in `lbcore.middleware_api`, by the names by which the routers and services of
             `dynamic`, or of the file provider, refer to them.

    Signals, logging and limits of the process stay as they are.
    """

    def __init__(
        self,
        static: StaticConfig | Mapping[str, Any] | str | os.PathLike[str],
        dynamic: DynamicConfig | Mapping[str, Any] | None = None,
        *,
        middlewares: Mapping[str, object] | None = None,
    ) -> None:
        if isinstance(static, Mapping):
            static = static_of(static)
        static = static if isinstance(static, StaticConfig) else load_static(static)
        choose_library(static)
        self._static = settle_static(static)
        self._dynamic = dynamic
        if wrong := next((name for name in middlewares or {} if "@" in name), None):
            raise ValueError(f"{wrong!r}: the name of a middleware must not contain @")
        self._given = {f"{name}@file": Given(instance) for name, instance in (middlewares or {}).items()}
        self._applied: DynamicConfig | None = None  # the last argument of `apply`
        self._agents: Agents | None = None
        self._ordered: dict[str, DynamicConfig] = {}  # ordered certificates, by provider
        self._plane: DataPlane | None = None
        self._listeners: list[Listener] = []
        self._following: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._admin: AdminServer | None = None
        self.disabled: Sequence[Disabled] = ()  # objects of the current configuration that cannot run

    @property
    def addresses(self) -> dict[str, tuple[str, int] | str]:
        """Host and port of each entry point, or the path of its Unix socket, as bound."""
        return {listener.entry_point: listener.address for listener in self._listeners if not listener.quic}

    def url(self, entry_point: str) -> str:
        """The URL of a TCP entry point from this machine: `http://host:port`. Raises ValueError for a Unix socket."""
        address = self.addresses[entry_point]
        if isinstance(address, str):
            raise ValueError(f"entry point {entry_point} is a unix socket: {address}")
        host, port = address
        host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def apply(self, dynamic: DynamicConfig | Mapping[str, Any]) -> Sequence[Disabled]:
        """Run another dynamic configuration from now on. Requests under way finish by the previous one.

        dynamic  the configuration, or a dict with the contents of its file: `{"http": {"routers": ...}}`.
        Names are qualified with `@file`. Returns the objects that are disabled, with their errors.
        Raises ConfigError, with nothing changed, if it does not fit.
        """
        assert self._plane is not None, "the proxy is not running"
        if not isinstance(dynamic, DynamicConfig):
            dynamic = dynamic_of(dynamic)
        settled, problems = await asyncio.to_thread(settle, dynamic, self._applied)
        for problem in problems:
            _log.log(logging.WARNING if problem.severity == "warning" else logging.ERROR, "configuration: %s", problem)
        await self._publication.replace(self._merged(settled))
        self._applied = settled
        return self.disabled

    def _serve_ordered(self, update: Update) -> None:
        """Add ordered certificates to the argument of `apply`."""
        assert update.config is not None
        self._ordered = {update.provider: update.config}
        if self._applied is not None:
            self._publication.want(self._merged(self._applied))

    def _merged(self, applied: DynamicConfig) -> DynamicConfig:
        return self._with_middlewares(merge({"file": applied, **self._ordered}))

    def _with_middlewares(self, merged: DynamicConfig) -> DynamicConfig:
        """The configuration with the instances that the program gave."""
        if not self._given:
            return merged
        for name in merged.http.middlewares.keys() & self._given.keys():
            _log.warning("configuration: middleware %s: the instance that the program gave stands for it", name)
        given = {name: Middleware(python=each.config) for name, each in self._given.items()}
        http = merged.http.model_copy(update={"middlewares": {**merged.http.middlewares, **given}})
        return merged.model_copy(update={"http": http})

    def _want(self, merged: DynamicConfig) -> None:
        self._publication.want(self._with_middlewares(merged))

    async def _ask_memory(self) -> dict[int, dict[str, Any]]:
        return {0: {**self._plane.memory()}} if self._plane is not None else {}

    def _in_force(self, prepared: Prepared) -> None:
        self.disabled = prepared.table.disabled
        assert self._agents is not None
        self._agents.follow(prepared)

    def _begin(self, name: str, service: Coroutine[Any, Any, None]) -> None:
        """Run a service until `_close`."""
        self._tasks.append(asyncio.create_task(service, name=f"lbcore {name}"))

    async def __aenter__(self) -> Proxy:
        """Start, and accept connections. Raises ConfigError as `apply` does, and for an address that is in use."""
        self._region = Region.create(1, body_memory=self._static.body_memory_bytes)
        self._admin = AdminServer() if is_wanted(self._static) else None
        admin_url = self._admin.url if self._admin else ""
        addresses = {name: (point.address, point.reuse_port) for name, point in self._static.entry_points.items()}
        try:
            self._listeners = open_listeners(addresses, 1, {}, self._static.quic_points)
            self._plane = make_plane(asyncio.get_running_loop(), self._static, self._region, 0, admin_url)
            self._plane.share_loop()
            bound = bound_addresses(self._listeners)
            plane = _OnePlane(self._plane, self._region)
            parts = parts_around(plane, self._static, self._region, admin_url, self._in_force, bound=bound)
            self._health, self._runtime, self._agents = parts.health, parts.runtime, parts.agents
            self._publication = parts.publication
            failing = self._static.ping.terminating_status_code if self._static.ping is not None else None
            self._runtime.ping = PingSwitch(failing, self._plane.fail_ping)
            self._runtime.ask_memory = self._ask_memory
            self._runtime.set_taps = self._plane.set_taps
            self._runtime.ask_workers = plane.ask
            self._begin("health", parts.health.run())
            self._begin("ticket keys", keep_ticket_keys(self._region, self._static.tls.ticket_keys))
            self._begin("publication", parts.publication.run())
            if self._admin is not None:
                self._begin("admin", self._admin.run(parts.runtime))
            if is_any_late(self._listeners):
                self._begin("late ports", bind_when_free(self._listeners))
            for name, service in parts.agents.services().items():
                self._begin(name, service)
            if self._dynamic is not None:
                await self.apply(self._dynamic)
                for agent in parts.agents.providers:
                    self._begin("acme", agent.run(self._serve_ordered))
            else:
                aggregator = parts.aggregate(self._static, providers_of(self._static), self._want)
                self._following = asyncio.create_task(aggregator.run(), name="lbcore providers")
                await self._publication.first.wait()
            for listener in self._listeners:
                sock = listener.for_worker(0)
                assert sock is not None, "there is one worker"
                self._plane.listen(listener.entry_point, sock.dup())
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop accepting, let requests under way finish for at most graceTimeOut, then close."""
        assert self._plane is not None
        for listener in self._listeners:
            listener.close()
        if self._admin is not None:
            self._admin.end_streams()
        self._plane.stop_accepting()
        self._plane.drain()
        try:
            await drain_points(self._plane, graces_of(self._static))
        finally:
            await self._close()

    async def _close(self) -> None:
        for task in [self._following, *self._tasks]:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._admin is not None:
            self._admin.close()
        for listener in self._listeners:
            listener.close()
        if self._plane is not None:
            self._plane.close()
        if self._agents is not None:
            await self._agents.flush()
