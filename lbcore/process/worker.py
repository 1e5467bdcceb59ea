"""The main function of a worker process: run the data plane on inherited sockets, as the supervisor commands."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import uvloop

from lbcore.api.used import own
from lbcore.config.static import StaticConfig
from lbcore.errors import system_message_of, typed_message_of
from lbcore.native.slices import give_way, serve_first
from lbcore.process.control import Channel, ControlError, Message
from lbcore.process.dumps import forbid_core_dumps
from lbcore.process.garbage import collect_seldom
from lbcore.process.leaving import leave
from lbcore.process.log import RelayHandler
from lbcore.process.snapshot import Received, graces_of
from lbcore.process.starting import WORKER_NAME, name_process
from lbcore.process.threads import PassingThreads
from lbcore.state.region import Region
from lbcore.tls.library import choose

if TYPE_CHECKING:
    from lbcore.process.plane import DataPlane
    from lbcore.routing.table import Table

HEARTBEAT_S = 0.25
SWITCH_S = 0.00005  # longest time that the compiling thread keeps the GIL while the one that moves traffic waits
DRAIN_POLL_S = 0.02
LOG_QUEUE_BYTES = 1 << 20  # log events are dropped while this many bytes wait for the supervisor

_log = logging.getLogger("lbcore.process.worker")


PlaneFactory = Callable[[asyncio.AbstractEventLoop, StaticConfig, Region, int, str], "DataPlane"]


def make_plane(
    loop: asyncio.AbstractEventLoop, static: StaticConfig, region: Region, worker: int, admin: str = ""
) -> DataPlane:
    """The data plane of this build. `admin`: URL of the admin server, if there is one."""
    from lbcore.process.plane import DataPlane

    return DataPlane(loop, static, region, worker, admin)


async def drain_points(plane: DataPlane, graces: Mapping[str, float]) -> None:
    """Wait until the connections of each entry point have ended, for its own grace in seconds, then cut the rest."""

    async def drain(entry_point: str, grace_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while plane.connections_of(entry_point):
                    await asyncio.sleep(DRAIN_POLL_S)
        if left := plane.connections_of(entry_point):
            _log.warning("%d connections of entry point %s cut after %g s of draining", left, entry_point, grace_s)
            plane.cut(entry_point)

    await asyncio.gather(*(drain(name, grace_s) for name, grace_s in graces.items()))


class Worker:
    """One worker process, driven by the messages of its supervisor.

    hello       worker, static, region, listeners, log_level: the first message, once. Answered by `started`.
    log_level   level: a number of Python's logging, from which on to log from now on.
    ping        fails: whether pings are answered as by an instance that is about to stop.
    memory      number: say what memory is used. Answered by `memory` with the same number and a `report`.
    part        place, entries: a part of the configuration that the next `prepare` is about.
    prepare     generation, base, dynamic, gone, same_tls, slots: compile, while traffic continues. It tells what is
                other than in `base`, the configuration that this worker runs; 0: it tells all. Answered by `prepared`,
                or `refused` with the error.
    commit      generation: route by the prepared configuration; the first one starts accepting. Answered by
                `committed`.
    abort       generation: drop the prepared configuration.
    adopt       worker: accept on the sockets of another worker as well, which cannot.
    release     worker: stop accepting on the sockets of another worker.
    challenges  number, texts, certificates: the answers to challenges of certificate authorities from now on. Answered
                by `challenged`.
    staples     added, gone: OCSP responses in base64 by the fingerprint of their certificate, to staple from now on;
                those to staple no more.
    taps        watches: those who watch single requests from now on, and what they want to see.
    sessions    number, asked: list open sessions, or end some of them. Answered by `sessions` with that number.
    reopen      the access log was moved aside.
    terminate   answer pings with the status of an instance that is about to stop.
    leave       entry_points: stop accepting on these, and finish what is under way there; the others continue.
    drain       grace_s: stop accepting, finish what is under way, exit.
    stop        exit now.

    When the supervisor has gone, the worker drains by itself, so that no process is left behind.
    """

    def __init__(self, control: socket.socket, factory: PlaneFactory) -> None:
        self._channel = Channel(control)
        self._factory = factory
        self._plane: DataPlane | None = None
        self._listening = False
        self._prepared: tuple[int, Table] | None = None
        self._parts: list[Message] = []  # of the configuration that is to be prepared next
        self._received = Received()
        self._publications: asyncio.Queue[Message] = asyncio.Queue()
        self._done = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._reports: set[asyncio.Task[None]] = set()  # of memory, that are being made
        self._telling: set[asyncio.Task[None]] = set()  # what the supervisor has asked for
        self._left: list[asyncio.Task[None]] = []  # the draining of entry points while others accept
        self._grace_s = 0.0
        self._graces: dict[str, float] = {}  # by entry point
        self._sockets: dict[int, list[tuple[str, socket.socket]]] = {}  # inherited, by worker: entry point, socket
        self._adopted: dict[int, list[Any]] = {}  # listeners on sockets of other workers, by worker

    async def run(self) -> int:
        """Serve until `stop`, or until drained. Returns the exit code."""
        self._relay_log()
        reading = asyncio.create_task(self._read())
        done = asyncio.create_task(self._done.wait())
        publishing = asyncio.create_task(self._publish())
        collecting = asyncio.create_task(collect_seldom())
        try:
            await asyncio.wait({reading, done, publishing}, return_when=asyncio.FIRST_COMPLETED)
            failed = publishing if publishing.done() else reading
            if not failed.done():
                reading.cancel()
            elif error := failed.exception():
                _log.critical("worker fails: %s", error, exc_info=error)
                return 1
            else:
                if not self._done.is_set():
                    self._drain(self._grace_s)
                await done
            return 0
        finally:
            done.cancel()
            publishing.cancel()
            collecting.cancel()
            if self._plane is not None:
                self._plane.close()
            self._close_sockets()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._channel.flushed()
            self._channel.close()

    async def _read(self) -> None:
        async for message in self._channel.messages():
            match message["type"]:
                case "hello":
                    self._start(message)
                case "part":
                    self._parts.append(message)
                    await asyncio.sleep(0)  # traffic comes in between
                case "prepare":
                    self._publications.put_nowait({**message, "parts": self._parts})
                    self._parts = []
                case "commit" | "abort":
                    self._publications.put_nowait(message)
                case "adopt":
                    self._adopt(int(message["worker"]))
                case "release":
                    self._release(int(message["worker"]))
                case "challenges":
                    self._set_challenges(message)
                case "staples":
                    assert self._plane is not None, "hello comes first"
                    added = {name: base64.b64decode(text) for name, text in message["added"].items()}
                    self._plane.set_staples(added, message["gone"])
                case "log_level":
                    logging.getLogger().setLevel(int(message["level"]))
                    if self._plane is not None:
                        self._plane.follow_log_level()
                case "ping":
                    if self._plane is not None:
                        self._plane.fail_ping(bool(message["fails"]))
                case "memory":
                    self._reports.add(task := asyncio.create_task(self._report_memory(int(message["number"]))))
                    task.add_done_callback(self._reports.discard)
                case "taps":
                    assert self._plane is not None, "hello comes first"
                    self._plane.set_taps(message["watches"])
                case "sessions":
                    self._tell_sessions(message)
                case "terminate":
                    if self._plane is not None:
                        self._plane.terminate()
                case "reopen":
                    if self._plane is not None:
                        self._plane.reopen_log()
                case "leave":
                    self._leave(list(map(str, message["entry_points"])))
                case "drain":
                    self._drain(float(message["grace_s"]))
                case "stop":
                    self._done.set()
                case unknown:
                    raise ControlError(f"unknown control message {unknown!r}")

    def _start(self, hello: Message) -> None:
        logging.getLogger().setLevel(int(hello["log_level"]))
        self._grace_s = float(hello["grace_s"])
        self._index = int(hello["worker"])
        self._region = Region.attach(int(hello["region"]))
        for worker, points in hello["listeners"].items():
            self._sockets[int(worker)] = [(str(name), _inherited(int(fd))) for name, fd in points]
        loop = asyncio.get_running_loop()
        loop.set_default_executor(PassingThreads(loop))
        static = StaticConfig.model_validate(hello["static"])
        self._graces = graces_of(static)
        choose(static.tls.library)  # where the supervisor could, this process can
        self._plane = self._factory(loop, static, self._region, self._index, str(hello.get("admin", "")))
        self._channel.send({"type": "started"})
        self._beat()

    def _beat(self) -> None:
        self._region.beat(self._index)
        asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)

    async def _publish(self) -> None:
        """Prepare and commit in the order of the messages."""
        while True:
            message = await self._publications.get()
            generation = int(message["generation"])
            match message["type"]:
                case "prepare":
                    self._prepared = None
                    if not self._received.fits(message):
                        raise ControlError(f"configuration {generation} builds on one that does not run here")
                    try:
                        table = await asyncio.to_thread(self._prepare, message)
                    except Exception as error:
                        _log.debug("configuration %d cannot be prepared", generation, exc_info=error)
                        reason = typed_message_of(error)
                        self._channel.send({"type": "refused", "generation": generation, "error": reason})
                    else:
                        self._prepared = generation, table
                        self._channel.send({"type": "prepared", "generation": generation})
                case "commit":
                    self._commit(generation)
                case "abort":
                    self._prepared = None

    def _prepare(self, message: Message) -> Table:
        assert self._plane is not None, "hello comes first"
        config, slots = self._received.read(message, message.pop("parts"))
        give_way()
        return self._plane.prepare(config, slots, give_way)

    def _commit(self, generation: int) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is None or prepared[0] != generation:
            raise ControlError(f"configuration {generation} is in force, and was not prepared here")
        assert self._plane is not None
        self._plane.commit(prepared[1])
        self._received.commit(generation)
        if prepared[1].speaks_tls:
            forbid_core_dumps()
        self._region.set_worker_generation(self._index, generation)
        if not self._listening:
            self._listening = True
            if self._draining is None:
                for entry_point, sock in self._sockets.pop(self._index, []):
                    self._plane.listen(entry_point, sock)
        self._channel.send({"type": "committed", "generation": generation})

    def _set_challenges(self, message: Message) -> None:
        assert self._plane is not None, "hello comes first"
        certificates = {name: (str(text), str(key)) for name, (text, key) in message["certificates"].items()}
        self._plane.set_challenges(message["texts"], certificates)
        self._channel.send({"type": "challenged", "number": int(message["number"])})

    async def _report_memory(self, number: int) -> None:
        report: Message = {**self._plane.memory()} if self._plane is not None else {}
        try:
            report |= await asyncio.to_thread(own)
        except OSError as error:
            report["problem"] = f"/proc cannot be read: {system_message_of(error)}"
        self._channel.send({"type": "memory", "number": number, "report": report})

    def _tell_sessions(self, message: Message) -> None:
        plane = self._plane
        assert plane is not None, "hello comes first"

        async def tell() -> None:
            try:
                found = await plane.sessions(message["asked"])
            except Exception as error:
                _log.error("sessions cannot be listed or closed: %s", typed_message_of(error))
                found = {"error": typed_message_of(error)}
            self._channel.send({"type": "sessions", "number": int(message["number"]), "found": found})

        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _adopt(self, worker: int) -> None:
        if self._plane is None or worker in self._adopted or self._draining is not None:
            return
        sockets = self._sockets.get(worker, [])
        self._adopted[worker] = [self._plane.listen(point, sock.dup(), adopted=True) for point, sock in sockets]

    def _release(self, worker: int) -> None:
        assert self._plane is not None
        for listener in self._adopted.pop(worker, []):
            self._plane.close_listener(listener)

    def _close_sockets(self) -> None:
        """Close the sockets that are not accepted on, because the kernel would queue connections on them that no
        process accepts."""
        for points in self._sockets.values():
            for _, sock in points:
                sock.close()
        self._sockets.clear()

    def _leave(self, entry_points: list[str]) -> None:
        """Drain some entry points while the others continue to accept."""
        if self._plane is None or self._draining is not None:
            return
        for name in entry_points:
            self._plane.leave(name)
            for worker, points in self._sockets.items():
                for _, sock in (each for each in points if each[0] == name):
                    sock.close()
                self._sockets[worker] = [each for each in points if each[0] != name]
        graces = {name: self._graces.pop(name) for name in entry_points if name in self._graces}
        self._left.append(asyncio.create_task(drain_points(self._plane, graces)))

    def _drain(self, grace_s: float) -> None:
        if self._plane is None:
            self._done.set()
        elif self._draining is None:
            self._draining = asyncio.create_task(self._drained(self._plane, grace_s))

    async def _drained(self, plane: DataPlane, grace_s: float) -> None:
        plane.stop_accepting()
        self._close_sockets()
        plane.drain()
        graces = {name: min(grace_s, own_s) for name, own_s in self._graces.items()}
        await asyncio.gather(drain_points(plane, graces), *self._left)
        self._done.set()

    def _relay_log(self) -> None:
        root = logging.getLogger()
        root.handlers[:] = [RelayHandler(self._send_log)]

    def _send_log(self, event: Message) -> None:
        if self._channel.queued_bytes < LOG_QUEUE_BYTES:
            self._channel.send(event)


def _inherited(fd: int) -> socket.socket:
    """A listening socket inherited from the supervisor. Python assumes that it blocks: restore non-blocking."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def main(arguments: Sequence[str] | None = None, factory: PlaneFactory = make_plane) -> int:
    """Run a worker. Returns the exit code: 0 after draining or `stop`, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m lbcore.process.worker", description="Started by the supervisor.")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    options = parser.parse_args(arguments)
    name_process(WORKER_NAME)
    # A terminal or a service manager signals every process of the group, but only the supervisor decides.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    serve_first()
    control = socket.socket(fileno=options.control)
    os.set_inheritable(options.control, False)

    async def run() -> int:
        return await Worker(control, factory).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


if __name__ == "__main__":
    leave(main())
