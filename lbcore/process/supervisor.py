"""The supervisor owns the configuration, the listeners, the signals and the workers. It moves no traffic itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop

from lbcore import __version__
from lbcore.api.operating import LogLevel, PingSwitch, Stop
from lbcore.api.server import AdminServer, is_wanted
from lbcore.api.watch import ServiceWatch
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError, Problem
from lbcore.native.slices import work_behind
from lbcore.process import colour, log, standard
from lbcore.process.announce import Greet, contents, greeting, places
from lbcore.process.control import Message
from lbcore.process.dumps import forbid_core_dumps
from lbcore.process.garbage import collect_seldom
from lbcore.process.late import bind_when_free, is_any_late
from lbcore.process.limits import raise_file_limit
from lbcore.process.listeners import Listener, bound_addresses, open_listeners
from lbcore.process.log_file import lines_lost
from lbcore.process.notify import Notifier, passed_sockets
from lbcore.process.parts import parts_around
from lbcore.process.pool import Pool, WorkersError, heirs
from lbcore.process.preflight import check_start
from lbcore.process.publication import Prepared
from lbcore.process.snapshot import accepting_of, graces_of, to_json
from lbcore.process.starting import Program, Starter
from lbcore.process.threads import TickingThreads
from lbcore.process.ticket_keys import keep_ticket_keys
from lbcore.provider.fixed import FixedProvider
from lbcore.provider.registry import providers_of
from lbcore.state.region import Region

EXIT_STOPPED = 0  # by a signal
EXIT_CONFIG = 1  # configuration refused, or an address that cannot be listened on
SWITCH_S = 0.001  # longest time that a compiling thread keeps the GIL while the loop with the health checks waits
EXIT_WORKERS = 3  # the workers cannot be started
OWN_LOGGER = logging.getLogger("lbcore")  # the one whose level can be changed, unless the whole log is lbcore's
STOP_S = 2.0  # a worker that has not exited this time after its grace is killed

_log = logging.getLogger("lbcore.process")


class Supervisor:
    """Runs `workers` workers on open listeners until a signal stops it."""

    def __init__(
        self,
        static: StaticConfig,
        workers: int,
        listeners: Sequence[Listener],
        notifier: Notifier,
        reopen_log: Callable[[], None] = lambda: None,
        starter: Starter | None = None,
        dynamic: DynamicConfig | None = None,
        greet: Greet | None = None,
        logger: logging.Logger = OWN_LOGGER,
    ) -> None:
        self._static = static
        self._logger, self._configured_level = logger, logger.level
        self._greet = greet
        self._threads = TickingThreads()
        self._listeners = listeners
        self._notifier = notifier
        self._reopen_log = reopen_log
        self._region = Region.create(workers, body_memory=static.body_memory_bytes)
        self._admin = AdminServer() if is_wanted(static) else None
        admin_url = self._admin.url if self._admin else ""
        self._pool = Pool(self._region, starter or Program(), self)
        parts = parts_around(
            self._pool,
            static,
            self._region,
            admin_url,
            self._in_force,
            workers=lambda: self._pool.statuses,
            log_lines_lost=lines_lost,
            bound=bound_addresses(listeners),
        )
        self._health, self._runtime, self._agents = parts.health, parts.runtime, parts.agents
        self._publication = parts.publication
        providers = providers_of(static) if dynamic is None else [FixedProvider("command", dynamic)]
        self._aggregator = parts.aggregate(static, providers, self._publication.want)
        self._runtime.read_again = self._read_again
        self._runtime.ask_memory = self._pool.ask_memory
        self._runtime.log_level = LogLevel(log.name_of(logger.getEffectiveLevel()), self._set_log_level)
        failing = static.ping.terminating_status_code if static.ping is not None else None
        self._runtime.ping = PingSwitch(failing, self._pool.fail_ping)
        self._runtime.set_taps = self._pool.set_taps
        self._runtime.ask_workers = self._pool.ask
        self._accepting_s, self._graces_s = accepting_of(static), graces_of(static)
        self._grace_s = max(self._graces_s.values(), default=0.0)
        self._left: set[str] = set()  # entry points that have stopped accepting
        self._stop = asyncio.Event()  # first SIGTERM or SIGINT: drain
        self._stop_now = asyncio.Event()  # second
        self._runtime.stop = Stop(*self._times(), self._stop.set, self._stop.is_set)
        self._is_in_foreground = standard.is_in_foreground() or False  # as far as is known
        self._is_announced = False  # the addresses of API and metrics were logged
        self._told = 0  # number of the last configuration whose changes were logged

    async def run(self) -> None:
        """Serve until stopped. Raises WorkersError when the workers cannot be started."""
        asyncio.get_running_loop().set_default_executor(self._threads)
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGHUP: self._on_hangup,
            signal.SIGCONT: self._on_continue,
            signal.SIGUSR1: self._on_reopen,
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        pool = asyncio.create_task(self._pool.run())
        tasks = [pool, *map(asyncio.create_task, self._services())]
        stop = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop}:
                task.result()  # raises what went wrong
            await self._shut_down(pool)
        finally:
            for task in [stop, *tasks]:
                task.cancel()
            await asyncio.gather(stop, *tasks, return_exceptions=True)
            await self._agents.flush()
            for number in handlers:
                loop.remove_signal_handler(number)
            if self._admin is not None:
                self._admin.close()
            self._logger.setLevel(self._configured_level)

    def _services(self) -> list[Coroutine[Any, Any, None]]:
        services = [self._aggregator.run(), self._publication.run(), self._health.run()]
        services.append(ServiceWatch(self._runtime).run())
        services.append(keep_ticket_keys(self._region, self._static.tls.ticket_keys))
        services.append(collect_seldom())
        if is_any_late(self._listeners):
            services.append(bind_when_free(self._listeners))
        services.extend(self._agents.services().values())
        if self._admin is not None:
            services.append(self._admin.run(self._runtime))
        if self._notifier.watchdog_s:
            services.append(self._feed_watchdog())
        return services

    def _on_stop(self) -> None:
        (self._stop_now if self._stop.is_set() else self._stop).set()

    def _on_reopen(self) -> None:
        self._reopen_log()
        self._pool.reopen()

    def _on_continue(self) -> None:
        """A shell lets it run on after Ctrl-Z: in the background, where it may outlive the terminal, or in front."""
        now = standard.is_in_foreground()
        if now is not None:  # SIGCONT comes after SIGHUP, too, when the terminal is closed
            self._is_in_foreground = now

    def _on_hangup(self) -> None:
        if self._is_in_foreground and not sys.stderr.isatty():  # its terminal was closed: nobody could stop it any more
            _log.info("the terminal was closed")
            self._stop.set()
            return
        _log.info("reload on SIGHUP")
        self._aggregator.reload()

    def _read_again(self) -> None:
        _log.info("reload by the API")
        self._aggregator.reload()

    def _set_log_level(self, level: int | None) -> None:
        """Log from a level on, in all processes; None: as configured."""
        self._logger.setLevel(self._configured_level if level is None else level)
        self._pool.set_log_level(self._logger.getEffectiveLevel())

    def _times(self) -> tuple[float, float]:
        """How many seconds the end takes at most: accepting, and then draining."""
        longest_s = max(self._accepting_s.values(), default=0.0)
        # An entry point that closes early drains while the others still accept.
        drains = (self._graces_s[name] - (longest_s - accept_s) for name, accept_s in self._accepting_s.items())
        return longest_s, max(drains, default=0.0)

    def hello(self, worker: int) -> tuple[Message, list[int]]:
        """The first message for a worker, and the descriptors it inherits."""
        owners = [
            worker,
            *(other for other in range(self._region.workers) if worker in heirs(other, self._region.workers)),
        ]
        listeners = {}
        for owner in owners:
            # A socket that all workers share counts as the worker's own.
            mine = [each for each in self._listeners if owner == worker or len(each.sockets) == self._region.workers]
            mine = [each for each in mine if each.entry_point not in self._left]
            sockets = [(each.entry_point, each.for_worker(owner)) for each in mine]
            listeners[owner] = [(point, sock.fileno()) for point, sock in sockets if sock is not None]
        message = {
            "type": "hello",
            "worker": worker,
            "region": self._region.fd,
            "listeners": listeners,
            "static": to_json(self._static),
            "grace_s": self._grace_s,
            "log_level": self._logger.getEffectiveLevel(),
            "admin": self._admin.url if self._admin else "",
        }
        own = [self._region.fd, *([self._admin.address] if self._admin else [])]
        return message, [*own, *(fd for points in listeners.values() for _, fd in points)]

    def _in_force(self, prepared: Prepared) -> None:
        """Make health checks and the API follow the configuration that the workers run."""
        if prepared.snapshot.generation > 1:
            self._notifier.reloading()
        if prepared.table.speaks_tls:
            forbid_core_dumps()
        self._agents.follow(prepared)

    def running(self, generation: int) -> None:
        """Announce that every worker runs a configuration."""
        if self._stop.is_set():
            return
        count = self._region.workers
        status = f"{count} worker{' runs' if count == 1 else 's run'} configuration {generation}"
        _log.info("%s: %s", status, contents(self._runtime))
        if generation > self._told:
            self._told = generation
            if (last := self._runtime.reload.last) is not None:
                _log.info("configuration %d: %s", generation, last.summary() or "nothing has changed")
        self._notifier.ready(status)
        if not self._is_announced:
            self._is_announced = True
            self._threads.others_serve()
            for line in places(self._static, self._listeners):
                _log.info("%s", line)
            if self._greet is not None:
                self._greet(self._static, self._listeners, self._runtime)

    async def _feed_watchdog(self) -> None:
        while True:
            if self._pool.responsive:
                self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_s / 3)

    async def _shut_down(self, pool: asyncio.Task[None]) -> None:
        """Accept on each entry point for its requestAcceptGraceTimeout, drain it, then stop the workers."""
        longest_s, drain_s = self._times()
        plan = f"accepting for {longest_s:g} s more, then draining for {drain_s:g} s at most"
        self._notifier.stopping(plan)
        _log.info("stopping: %s", plan)
        self._pool.terminate()
        if self._admin is not None:
            self._admin.end_streams()
        started_s = asyncio.get_running_loop().time()
        for accept_s in sorted(set(self._accepting_s.values())):
            rest_s = started_s + accept_s - asyncio.get_running_loop().time()
            await self._unless_now(asyncio.sleep(max(rest_s, 0.0)))
            self._left = {name for name, own_s in self._accepting_s.items() if own_s <= accept_s}
            closing = [each for each in self._listeners if self._accepting_s.get(each.entry_point) == accept_s]
            for listener in closing:
                if not listener.quic:  # its group of sockets has to stay whole as long as a worker reads one of them
                    listener.close()
            if accept_s < longest_s:
                _log.info("entry point %s is closed", ", ".join(each.entry_point for each in closing))
                self._pool.leave([each.entry_point for each in closing])
        for listener in self._listeners:
            if not listener.quic:
                listener.close()
        self._pool.drain(drain_s)
        await self._unless_now(asyncio.wait({pool}, timeout=drain_s + STOP_S))
        if not pool.done():
            self._pool.stop()
            await asyncio.wait({pool}, timeout=STOP_S)
        self._pool.kill()
        await pool
        _log.info("stopped")

    async def _unless_now(self, waiting: Coroutine[Any, Any, Any]) -> None:
        """Wait, until the second signal to stop at the latest."""
        now, task = asyncio.create_task(self._stop_now.wait()), asyncio.create_task(waiting)
        await asyncio.wait({now, task}, return_when=asyncio.FIRST_COMPLETED)
        now.cancel()
        task.cancel()


def main(
    static: StaticConfig,
    workers: int | None = None,
    config_path: str = "",
    dynamic: DynamicConfig | None = None,
    starter: Starter | None = None,
) -> int:
    """Run the load balancer in this process and its workers until a signal stops it. Returns the exit code.

    workers      number of worker processes; None = one per core that this process may use.
    config_path  the file of `static`, for the log.
    dynamic      the dynamic configuration, in place of what providers give.
    starter      how workers start; None: as new programs.
    """
    standard.fill()
    settings = static.log
    is_coloured = not settings.no_color and colour.is_wanted(sys.stderr)
    try:
        level = log.level_of(settings, sys.stderr.isatty())
        reopen_log = log.configure(level, settings.format, settings.file_path, is_coloured)
    except OSError as error:
        sys.stderr.write(f"lbcore: cannot open the log {settings.file_path}: {error.strerror}\n")
        return EXIT_CONFIG
    greet = greeting(workers_of(workers), config_path, is_coloured) if sys.stderr.isatty() else None
    return supervise(static, workers, config_path, reopen_log, starter, dynamic, greet, logging.getLogger())


def supervise(
    static: StaticConfig,
    workers: int | None = None,
    config_path: str = "",
    reopen_log: Callable[[], None] = lambda: None,
    starter: Starter | None = None,
    dynamic: DynamicConfig | None = None,
    greet: Greet | None = None,
    logger: logging.Logger = OWN_LOGGER,
) -> int:
    """`main` with the logging of the caller. `greet` is called when all workers serve. `logger`: whose level is that of
    the log."""
    count = workers_of(workers)
    raise_file_limit()
    sys.setswitchinterval(SWITCH_S)
    work_behind()
    notifier = Notifier(os.environ)
    listeners: list[Listener] = []
    many, origin = "" if count == 1 else "s", config_path or "of the caller"
    _log.info("lbcore %s starts with %d worker%s, configuration %s", __version__, count, many, origin)
    try:
        check_start(static)
        addresses = {name: (point.address, point.reuse_port) for name, point in static.entry_points.items()}
        listeners = open_listeners(addresses, count, passed_sockets(os.environ), static.quic_points)
        for listener in listeners:
            if not listener.late:
                _log.info("entry point %s listens on %s", listener.entry_point, listener.address_text)

        async def run() -> None:
            try:
                supervisor = Supervisor(static, count, listeners, notifier, reopen_log, starter, dynamic, greet, logger)
            except OSError as error:
                raise ConfigError([Problem("", f"cannot start: {error}")]) from error
            await supervisor.run()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
    except ConfigError as error:
        for problem in error.problems:
            _log.error("%s", static.located(problem))
        return EXIT_CONFIG
    except WorkersError as error:
        _log.critical("%s", error)
        return EXIT_WORKERS
    finally:
        for listener in listeners:
            listener.close()
        notifier.close()
    return EXIT_STOPPED


def workers_of(workers: int | None) -> int:
    """The number of worker processes."""
    return workers or len(os.sched_getaffinity(0))
