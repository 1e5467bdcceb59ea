"""The pool of workers: keeps every slot filled, hands all of them each configuration, and takes them down in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lbcore.process import log
from lbcore.process.child import Child
from lbcore.process.control import ControlError, Message, encode
from lbcore.state.region import Region

START_S = 30.0  # a worker that is not ready by then is killed and counts as failed
START_ATTEMPTS = 3  # failed starts of one slot in a row, before all slots were filled once, that give up
STABLE_S = 5.0  # a worker that served this long is replaced at once when it ends
BACKOFF_S = (0.1, 5.0)  # else, from its second quick end on, the wait doubles from the first to the second
QUIET_S = 10  # a worker whose loop has not turned for this long is reported
HUNG_S = 60  # and killed after this long

_log = logging.getLogger("lbcore.process")


class Owner(Protocol):
    """Who the pool works for."""

    def hello(self, worker: int) -> tuple[Message, list[int]]:
        """The first message for a worker, and the descriptors it inherits."""

    def applied(self, message: Message) -> None:
        """The first worker runs a new configuration; `message` is its answer."""

    def running(self, generation: int) -> None:
        """Every worker runs this configuration now; also said when a worker was replaced."""


class WorkersError(Exception):
    """The workers cannot be started."""


@dataclass(slots=True)
class _Pulse:
    """What was last seen of a worker's heartbeat."""

    pid: int = 0
    beat_ns: int = 0
    quiet_s: int = 0


class Pool:
    """`region.workers` slots, each with one worker process."""

    def __init__(self, region: Region, command: Sequence[str], owner: Owner) -> None:
        self._region = region
        self._command = command
        self._owner = owner
        self._children: dict[int, Child] = {}
        self._pulses = [_Pulse() for _ in range(region.workers)]
        self._generation = 0
        self._configuration = b""  # the current one, encoded
        self._reported = 0  # the last generation the owner heard of
        self._filled = False  # every slot had a ready worker at some time
        self._leaving = asyncio.Event()

    async def run(self) -> None:
        """Keep the slots filled until `drain` or `stop` and the last worker is gone. Raises WorkersError at boot."""
        pulse = asyncio.create_task(self._watch_pulses())
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(self._region.workers):
                    group.create_task(self._keep_filled(index))
        except* WorkersError as errors:
            raise errors.exceptions[0] from None
        finally:
            pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulse

    def configure(self, generation: int, message: Message) -> None:
        """Give every worker, and those started later, this configuration."""
        self._generation = generation
        self._configuration = encode(message)
        for child in self._children.values():
            child.channel.send_encoded(self._configuration)

    @property
    def responsive(self) -> bool:
        """Whether every worker's loop turns."""
        return all(pulse.quiet_s < QUIET_S for pulse in self._pulses)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [child.pid for child in self._children.values()]

    def terminate(self) -> None:
        """Let the workers say by ping that they are about to go."""
        for child in self._children.values():
            child.send({"type": "terminate"})

    def reopen(self) -> None:
        """Let the workers open their access logs anew."""
        for child in self._children.values():
            child.send({"type": "reopen"})

    def drain(self, grace_s: float) -> None:
        """Let the workers finish what is under way, `grace_s` at most, and go."""
        self._leave({"type": "drain", "grace_s": grace_s})

    def stop(self) -> None:
        """Let the workers go now."""
        self._leave({"type": "stop"})

    def kill(self) -> None:
        """Kill the workers that are left."""
        self._leaving.set()
        for child in self._children.values():
            child.kill()

    def _leave(self, message: Message) -> None:
        self._leaving.set()
        for child in self._children.values():
            child.send(message)

    async def _keep_filled(self, index: int) -> None:
        quick_ends = 0
        while not self._leaving.is_set():
            try:
                outcome, served_s = await self._serve(index)
            except OSError as error:
                outcome, served_s = f"cannot be started: {error}", 0.0
            if self._leaving.is_set():
                return
            quick_ends = quick_ends + 1 if served_s < STABLE_S else 0
            if not self._filled and quick_ends >= START_ATTEMPTS:
                raise WorkersError(f"worker {index} failed {quick_ends} times to start, last: {outcome}")
            first_s, longest_s = BACKOFF_S
            wait_s = min(first_s * 2.0 ** (quick_ends - 2), longest_s) if quick_ends > 1 else 0.0
            _log.error("worker %d ended: %s, starting another%s", index, outcome, f" in {wait_s:g} s" if wait_s else "")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), wait_s)

    async def _serve(self, index: int) -> tuple[str, float]:
        """Run one worker in a slot. Returns how it ended and how many seconds it served."""
        hello, fds = self._owner.hello(index)
        child = Child.start(index, self._command, fds)
        self._children[index] = child
        reading = asyncio.create_task(self._read(child))
        impatience = asyncio.get_running_loop().call_later(START_S, self._give_up, child)
        try:
            child.send(hello)
            if self._configuration:
                child.channel.send_encoded(self._configuration)
            outcome = await child.wait()
            await asyncio.wait({reading}, timeout=1)  # its last words
            return outcome, child.served_s
        finally:
            impatience.cancel()
            reading.cancel()
            child.kill()
            await child.wait()
            child.channel.close()
            del self._children[index]
            self._region.clear_worker(index)

    def _give_up(self, child: Child) -> None:
        if not child.ready and self._configuration:
            _log.error("worker %d is not ready after %g s, killing it", child.index, START_S)
            child.kill()

    async def _read(self, child: Child) -> None:
        try:
            async for message in child.channel.messages():
                match message["type"]:
                    case "applied":
                        self._note_applied(child, message)
                    case "failed":
                        _log.error("worker %d keeps its configuration: %s", child.index, message["error"])
                    case "log":
                        log.replay(message, child.index)
                    case unknown:
                        raise ControlError(f"unknown control message {unknown!r}")
        except (ControlError, KeyError, TypeError, ValueError) as error:
            _log.error("worker %d sends what is no control message, killing it: %r", child.index, error)
            child.kill()

    def _note_applied(self, child: Child, message: Message) -> None:
        child.mark_ready(int(message["generation"]))
        if child.generation != self._generation:
            return
        if self._reported < child.generation:
            self._reported = child.generation
            self._owner.applied(message)
        running = [other.generation == self._generation for other in self._children.values()]
        if len(running) == self._region.workers and all(running):
            self._filled = True
            self._owner.running(self._generation)

    async def _watch_pulses(self) -> None:
        """Find workers whose loop hangs. Counts turns of this loop, not time: a pause of all is nobody's fault."""
        while True:
            await asyncio.sleep(1)
            for child in list(self._children.values()):
                pulse, beat_ns = self._pulses[child.index], self._region.heartbeat_ns(child.index)
                if pulse.pid != child.pid or pulse.beat_ns != beat_ns or not child.ready:
                    self._pulses[child.index] = _Pulse(child.pid, beat_ns)
                    continue
                pulse.quiet_s += 1
                if pulse.quiet_s == QUIET_S:
                    _log.warning("worker %d (pid %d) has not answered for %d s", child.index, child.pid, QUIET_S)
                elif pulse.quiet_s == HUNG_S:
                    _log.error("worker %d (pid %d) hangs, killing it", child.index, child.pid)
                    child.kill()
