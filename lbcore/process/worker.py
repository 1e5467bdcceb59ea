"""The main function of a worker process: run the data plane on inherited sockets as the supervisor says."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

import uvloop

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.config.validate import Disabled
from lbcore.process.control import Channel, ControlError, Message
from lbcore.process.log import RelayHandler
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap

HEARTBEAT_S = 1.0
DRAIN_POLL_S = 0.02
LOG_QUEUE_BYTES = 1 << 20  # log events are dropped while the supervisor has this much to take

_log = logging.getLogger("lbcore.process.worker")


class Engine(Protocol):
    """The data plane as a worker drives it."""

    @property
    def connections(self) -> int:
        """Open client connections; 0 = drained."""

    def share_loop(self) -> None:
        """The loop serves others, too, who are not to wait for the data plane longer than they must."""

    def listen(self, entry_point: str, sock: socket.socket) -> None:
        """Start accepting on a bound, listening, non-blocking socket, which is the engine's from now on."""

    def apply(self, dynamic: DynamicConfig, slots: SlotMap) -> Sequence[Disabled]:
        """Compile and swap; objects that are wrong are disabled alone and returned with their errors."""

    def reopen_log(self) -> None:
        """Open the access log anew: it was moved aside."""

    def terminate(self) -> None:
        """Tell whoever asks by ping that this instance is about to stop."""

    def stop_accepting(self) -> None:
        """Close the listening sockets of this process."""

    def drain(self) -> None:
        """Close idle connections now and the others when their exchange has ended."""

    def close(self) -> None:
        """Close everything at once."""


EngineFactory = Callable[[asyncio.AbstractEventLoop, StaticConfig, Region, int, str], Engine]


def make_engine(
    loop: asyncio.AbstractEventLoop, static: StaticConfig, region: Region, worker: int, admin: str = ""
) -> Engine:
    """The data plane of this build. `admin`: URL of the admin server, if there is one."""
    from lbcore.transport.engine import Engine as DataPlane

    return DataPlane(loop, static, region, worker, admin)


class Worker:
    """One worker process, driven by the messages of its supervisor.

    hello      worker, static, region, listeners, log_level: once, first.
    configure  generation, dynamic, slots: compile and swap; the first one opens the doors. Answered by `applied`
               (objects that are disabled, with their errors) or `failed`.
    reopen     the access log was moved aside.
    terminate  it is about to stop: say so to whoever pings.
    drain      grace_s: accept no more, finish what is under way, exit.
    stop       exit now.

    When the supervisor is gone it drains by itself, so that no process is left behind.
    """

    def __init__(self, control: socket.socket, factory: EngineFactory) -> None:
        self._channel = Channel(control)
        self._factory = factory
        self._engine: Engine | None = None
        self._listening = False
        self._done = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self._grace_s = 0.0
        self._sockets: dict[str, socket.socket] = {}

    async def run(self) -> int:
        """Serve until told to stop or drained. Returns the exit code."""
        self._relay_log()
        reading = asyncio.create_task(self._read())
        done = asyncio.create_task(self._done.wait())
        try:
            await asyncio.wait({reading, done}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
            elif error := reading.exception():
                _log.critical("worker fails: %s", error, exc_info=error)
                return 1
            else:
                if not self._done.is_set():
                    self._drain(self._grace_s)
                await done
            return 0
        finally:
            done.cancel()
            if self._engine is not None:
                self._engine.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._channel.flushed(), 1)
            self._channel.close()

    async def _read(self) -> None:
        async for message in self._channel.messages():
            match message["type"]:
                case "hello":
                    self._start(message)
                case "configure":
                    self._configure(message)
                case "terminate":
                    if self._engine is not None:
                        self._engine.terminate()
                case "reopen":
                    if self._engine is not None:
                        self._engine.reopen_log()
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
        for entry_point, fd in hello["listeners"].items():
            self._sockets[entry_point] = socket.socket(fileno=int(fd))
        loop = asyncio.get_running_loop()
        static = StaticConfig.model_validate(hello["static"])
        self._engine = self._factory(loop, static, self._region, self._index, str(hello.get("admin", "")))
        self._beat()

    def _beat(self) -> None:
        self._region.beat(self._index)
        asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)

    def _configure(self, message: Message) -> None:
        assert self._engine is not None, "hello comes first"
        generation = int(message["generation"])
        try:
            dynamic, slots = DynamicConfig.model_validate(message["dynamic"]), SlotMap.from_json(message["slots"])
            objects = self._engine.apply(dynamic, slots)
        except Exception as error:
            if not self._listening:
                raise
            # A bug of ours; the table that runs is whole, so it stays.
            _log.exception("configuration %d cannot be applied, the running one stays", generation)
            self._channel.send({"type": "failed", "generation": generation, "error": str(error)})
            return
        self._region.set_worker_generation(self._index, generation)
        if not self._listening:
            self._listening = True
            for entry_point, sock in self._sockets.items():
                self._engine.listen(entry_point, sock)
        disabled = [{"kind": entry.kind, "name": entry.name, "errors": list(entry.errors)} for entry in objects]
        self._channel.send({"type": "applied", "generation": generation, "objects": disabled})

    def _drain(self, grace_s: float) -> None:
        if self._engine is None:
            self._done.set()
        elif self._draining is None:
            self._draining = asyncio.create_task(self._drained(self._engine, grace_s))

    async def _drained(self, engine: Engine, grace_s: float) -> None:
        if self._listening:
            engine.stop_accepting()
        engine.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while engine.connections:
                    await asyncio.sleep(DRAIN_POLL_S)
        if engine.connections:
            _log.warning("%d connections cut after %g s of draining", engine.connections, grace_s)
        self._done.set()

    def _relay_log(self) -> None:
        root = logging.getLogger()
        root.handlers[:] = [RelayHandler(self._send_log)]

    def _send_log(self, event: Message) -> None:
        if self._channel.queued_bytes < LOG_QUEUE_BYTES:
            self._channel.send(event)


def main(arguments: Sequence[str] | None = None, factory: EngineFactory = make_engine) -> int:
    """Run a worker. Returns the exit code: 0 after draining or `stop`, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m lbcore.process.worker", description="Started by the supervisor.")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    options = parser.parse_args(arguments)
    # A terminal or a service manager signals every process of the group; only the supervisor is to decide.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=options.control)
    os.set_inheritable(options.control, False)

    async def run() -> int:
        return await Worker(control, factory).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


if __name__ == "__main__":
    sys.exit(main())
