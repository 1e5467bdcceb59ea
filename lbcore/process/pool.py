"""The pool of workers: keeps every slot filled, publishes configurations to all of them, and takes them down in order.

A configuration is prepared by every worker that answers before any routes by it. A worker that starts gets the last one
that was committed. While a worker cannot accept, for it has died or hangs, another one accepts on its sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lbcore.api.runtime import WorkerState
from lbcore.process import log
from lbcore.process.child import Child
from lbcore.process.control import ControlError, Message, encode
from lbcore.process.publication import Prepared, RefusedError
from lbcore.process.starting import Starter
from lbcore.state.region import Region

START_S = 30.0  # a worker that is not ready after this time is killed, and its start has failed
START_ATTEMPTS = 3  # consecutive failed starts of a slot that end the instance, until all slots were filled once
STABLE_S = 5.0  # a worker that has served for this time is replaced at once when it ends
BACKOFF_S = (0.1, 5.0)  # wait after quicker ends, from the second on: first and longest, doubled each time
PREPARE_S = 60.0  # a worker whose loop turns, but that has not prepared a configuration after this time, is killed
MEMORY_S = 2.0  # longest wait for what workers say of their memory
ASK_S = 5.0  # longest wait for workers to tell of their sessions, or to end them
CHALLENGE_S = 5.0  # longest wait for workers to answer the challenges of certificate authorities
PULSE_S = 0.25  # interval between two checks of the heartbeats
QUIET_S = 1.0  # when a worker's loop has not turned for this time, another worker accepts on its sockets, too
HUNG_S = 10.0  # after this time the worker is killed, ...
ALONE_S = 4.0  # ... or after this time if no other worker accepts in its place
HEIRS = 7  # number of other workers that inherit a worker's sockets, so that one of them can accept in its place

_log = logging.getLogger("lbcore.process")


class Owner(Protocol):
    """The interface of the supervisor to the pool."""

    def hello(self, worker: int) -> tuple[Message, list[int]]:
        """The first message for a worker, and the descriptors it inherits."""

    def running(self, generation: int) -> None:
        """Every worker runs this configuration now. Called again after a worker was replaced."""


class WorkersError(Exception):
    """The workers cannot be started."""


@dataclass(slots=True)
class _Pulse:
    """The last observation of a worker's heartbeat."""

    pid: int = 0
    beat_ns: int = 0
    quiet_s: float = 0.0
    killed: bool = False


def heirs(index: int, workers: int) -> list[int]:
    """The workers that can accept in the place of one, the first choice first."""
    return [(index - step) % workers for step in range(1, min(HEIRS, workers - 1) + 1)]


class Pool:
    """`region.workers` slots, each with one worker process."""

    def __init__(self, region: Region, starter: Starter, owner: Owner) -> None:
        self._region = region
        self._starter = starter
        self._starting = asyncio.Lock()
        self._owner = owner
        self._children: dict[int, Child] = {}
        self._pulses = [_Pulse() for _ in range(region.workers)]
        self._heirs: dict[int, int] = {}  # worker that cannot accept -> worker that accepts in its place
        self._generation = 0  # of the configuration in force
        self._in_force: Prepared | None = None  # for a worker that starts
        self._challenges = b""  # the `challenges` message in force, encoded
        self._challenges_number = 0
        self._asked = 0  # number of the last question to the workers
        self._answers: dict[tuple[int, int], asyncio.Future[Message]] = {}  # to questions: by number and worker
        self._staples: dict[str, str] = {}  # OCSP responses in base64, by the fingerprint of their certificate
        self._standing: dict[str, Message] = {}  # what was told to all workers and still holds, by type
        self._challenged = asyncio.Event()  # a worker has confirmed challenges
        self._filled = False  # every slot has had a ready worker
        self._leaving = asyncio.Event()
        self._changed = asyncio.Event()  # a worker has started, or ended

    async def run(self) -> None:
        """Keep the slots filled until `drain` or `stop` and the end of the last worker. Raises WorkersError at boot."""
        pulse = asyncio.create_task(self._watch_pulses())
        failed: list[BaseException] = []
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(self._region.workers):
                    group.create_task(self._keep_filled(index))
        except* WorkersError as errors:
            failed += errors.exceptions
        finally:
            pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pulse
        if failed:  # not in the block above: some releases of Python would make a group of it again
            raise failed[0]

    @property
    def oldest_generation(self) -> int:
        """The lowest number of the configurations that any worker may still use."""
        numbers = [child.oldest_generation for child in self._children.values()]
        return min((number for number in numbers if number), default=self._generation)

    async def prepare(self, prepared: Prepared) -> None:
        """Make all workers compile a configuration. Raises RefusedError if one of them cannot.

        Workers that are starting get it when it is in force, workers that hang when their loop turns again. A worker
        that ends meanwhile is not waited for; but if all end, the configuration is the cause, and refused.
        """
        generation = prepared.snapshot.generation
        await self._until_started()
        asked = [child for child in self._children.values() if child.started]
        answers: dict[asyncio.Future[str], Child] = {}
        for child in asked:
            child.answer = asyncio.get_running_loop().create_future()
            answers[child.answer] = child
            child.offer(generation, prepared.message if child.runs == prepared.base else prepared.whole())
        waited_s, waiting = 0.0, set(answers)
        while waiting and waited_s < PREPARE_S:
            _, waiting = await asyncio.wait(waiting, timeout=PULSE_S, return_when=asyncio.FIRST_COMPLETED)
            waiting = {future for future in waiting if not self._is_quiet(answers[future])}
            waited_s += PULSE_S
        for future in waiting:
            child = answers[future]
            _log.error("worker %d has not prepared a configuration within %g s, killing it", child.index, PREPARE_S)
            child.kill()
        replies = [future.result() for future in answers if future.done() and not future.cancelled()]
        if refusals := [reply for reply in replies if reply]:
            raise RefusedError(f"a worker cannot run it: {refusals[0]}")
        ended = sum(1 for future in answers if future.cancelled())
        if answers and ended == len(answers) and not self._leaving.is_set():
            raise RefusedError("every worker ended while it prepared it")

    def commit(self, prepared: Prepared) -> None:
        """Put a configuration in force, also for workers that start later."""
        self._in_force, self._generation = prepared, prepared.snapshot.generation
        for child in self._children.values():
            self._bring(child, prepared)

    def _bring(self, child: Child, prepared: Prepared) -> None:
        """Have a worker run a configuration that is in force."""
        generation = prepared.snapshot.generation
        if child.offered != generation:
            child.offer(generation, prepared.message if child.runs == prepared.base else prepared.whole())
        child.commit(generation)

    def abort(self, prepared: Prepared) -> None:
        """Make the workers drop a prepared configuration."""
        generation = prepared.snapshot.generation
        for child in self._children.values():
            if child.offered == generation:
                child.send({"type": "abort", "generation": generation})

    async def set_challenges(self, texts: Mapping[str, str], certificates: Mapping[str, tuple[str, str]]) -> None:
        """Make the workers answer these challenges of certificate authorities, and no others.

        Returns when they do. Workers that hang are not waited for, because others accept in their place.
        """
        self._challenges_number += 1
        number = self._challenges_number
        message = {"type": "challenges", "number": number, "texts": dict(texts), "certificates": dict(certificates)}
        self._challenges = encode(message) if texts or certificates else b""
        for child in self._children.values():
            if child.started:
                child.send(message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHALLENGE_S):
                while not self._leaving.is_set():
                    asked = [child for child in self._children.values() if child.started and not self._is_quiet(child)]
                    if all(child.challenges >= number for child in asked):
                        return
                    self._challenged.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PULSE_S):
                            await self._challenged.wait()

    async def set_staples(self, added: Mapping[str, str], gone: Sequence[str]) -> None:
        """Make the workers staple these OCSP responses (base64, by the fingerprint of their certificate), and those of
        `gone` no more. Does not wait for them."""
        for name in gone:
            self._staples.pop(name, None)
        self._staples |= added
        message = encode({"type": "staples", "added": dict(added), "gone": list(gone)})
        for child in self._children.values():
            if child.started:
                child.channel.send_encoded(message)

    def set_taps(self, watches: Sequence[Mapping[str, Any]]) -> None:
        """Make the workers show single requests to these watches, and to no others. Does not wait for them."""
        self.tell({"type": "taps", "watches": [dict(watch) for watch in watches]})

    async def ask(self, asked: Mapping[str, Any]) -> tuple[list[Message], list[int]]:
        """Ask all workers for sessions, or to end some. Returns their answers, and the workers that gave none."""
        self._asked += 1
        number, loop = self._asked, asyncio.get_running_loop()
        children = [child for child in self._children.values() if child.started and not self._is_quiet(child)]
        futures = {child.index: loop.create_future() for child in children}
        self._answers |= {(number, index): future for index, future in futures.items()}
        message = encode({"type": "sessions", "number": number, "asked": dict(asked)})
        try:
            for child in children:
                child.channel.send_encoded(message)
            if futures:
                await asyncio.wait(futures.values(), timeout=ASK_S)
        finally:
            for index in futures:
                del self._answers[number, index]
        done = {index: each.result() for index, each in futures.items() if each.done() and not each.cancelled()}
        answers = {index: found for index, found in done.items() if "error" not in found}
        return list(answers.values()), [index for index in range(self._region.workers) if index not in answers]

    async def _until_started(self) -> None:
        """Wait until a worker can prepare a configuration; before the first configuration, until all can."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                while not self._leaving.is_set():
                    started = sum(child.started for child in self._children.values())
                    if started and (self._generation or started == self._region.workers):
                        return
                    self._changed.clear()
                    await self._changed.wait()

    def _is_quiet(self, child: Child) -> bool:
        pulse = self._pulses[child.index]
        return pulse.pid == child.pid and pulse.quiet_s >= QUIET_S

    def _is_serving(self, index: int) -> bool:
        child = self._children.get(index)
        return child is not None and child.ready and not self._is_quiet(child)

    def _pass_sockets(self) -> None:
        """Let another worker accept on the sockets of each worker that cannot, until it can again."""
        if self._leaving.is_set():
            return
        for index in range(self._region.workers):
            heir = self._heirs.get(index)
            if self._is_serving(index):
                if heir is not None:
                    del self._heirs[index]
                    if heir in self._children:
                        self._children[heir].send({"type": "release", "worker": index})
            elif heir is None or not self._is_serving(heir):
                self._heirs.pop(index, None)
                able = [other for other in heirs(index, self._region.workers) if self._is_serving(other)]
                if able:
                    # Prefer the worker that accepts in the place of the fewest others.
                    heir = min(able, key=lambda other: sum(1 for one in self._heirs.values() if one == other))
                    self._heirs[index] = heir
                    self._children[heir].send({"type": "adopt", "worker": index})

    @property
    def statuses(self) -> list[WorkerState]:
        """The state of every worker, for the API."""
        found = []
        for index in range(self._region.workers):
            child, heir = self._children.get(index), self._heirs.get(index)
            if child is None:
                found.append(WorkerState(index, 0, "starting", 0, 0.0, heir))
                continue
            state = "hanging" if self._is_quiet(child) else "running" if child.ready else "starting"
            quiet_s = self._pulses[index].quiet_s
            found.append(WorkerState(index, child.pid, state, child.generation, quiet_s, heir))
        return found

    @property
    def responsive(self) -> bool:
        """Whether every worker's loop turns."""
        return all(pulse.quiet_s < HUNG_S for pulse in self._pulses)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [child.pid for child in self._children.values()]

    def tell(self, message: Message) -> None:
        """Tell the workers what holds from now on, also those that start later. It replaces a message of its type."""
        kind = message["type"]
        self._standing[kind] = message
        data = encode(message)
        for child in self._children.values():
            child.channel.send_latest(kind, data)

    def set_log_level(self, level: int) -> None:
        """Make the workers log from a level on."""
        self.tell({"type": "log_level", "level": level})

    def fail_ping(self, fails: bool) -> None:
        """Make the workers answer pings as `terminate` does, or as usual again."""
        self.tell({"type": "ping", "fails": fails})

    def terminate(self) -> None:
        """Make the workers answer pings with the status of an instance that is about to stop."""
        self.tell({"type": "terminate"})

    async def ask_memory(self) -> dict[int, dict[str, Any]]:
        """What memory each worker uses, as it says itself, by its index; without those that do not answer soon."""
        asked = {child.index: child.ask_memory() for child in self._children.values() if child.started}
        if asked:
            await asyncio.wait(asked.values(), timeout=MEMORY_S)
        return {index: each.result() for index, each in asked.items() if each.done() and not each.cancelled()}

    def reopen(self) -> None:
        """Make the workers reopen their access logs."""
        for child in self._children.values():
            child.send({"type": "reopen"})

    def leave(self, entry_points: list[str]) -> None:
        """Make the workers drain some entry points; the other entry points continue."""
        for child in self._children.values():
            child.send({"type": "leave", "entry_points": entry_points})

    def drain(self, grace_s: float) -> None:
        """Make the workers finish what is under way, for `grace_s` at most, and exit."""
        self._leave({"type": "drain", "grace_s": grace_s})

    def stop(self) -> None:
        """Make the workers exit now."""
        self._leave({"type": "stop"})

    def kill(self) -> None:
        """Kill the remaining workers."""
        self._leaving.set()
        for child in self._children.values():
            child.kill()

    def _leave(self, message: Message) -> None:
        self._leaving.set()
        for child in self._children.values():
            child.send(message)

    async def _keep_filled(self, index: int) -> None:
        """Run workers in a slot, one after the other, until the pool leaves. Raises WorkersError at boot."""
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
                async with asyncio.timeout(wait_s):
                    await self._leaving.wait()

    async def _serve(self, index: int) -> tuple[str, float]:
        """Run one worker in a slot. Returns how it ended and how many seconds it served."""
        async with self._starting:  # one at a time: the descriptors that `hello` names are passed before others close
            hello, fds = self._owner.hello(index)
            child = await Child.start(index, self._starter, fds)
        if self._leaving.is_set():
            child.kill()
        self._children[index] = child
        reading = asyncio.create_task(self._read(child))
        impatience = asyncio.get_running_loop().call_later(START_S, self._give_up, child)
        try:
            child.send(hello)
            for message in self._standing.values():
                child.send(message)
            if self._in_force is not None:
                self._bring(child, self._in_force)
            outcome = await child.wait()
            await asyncio.wait({reading}, timeout=1)  # its last messages
            return outcome, child.served_s
        finally:
            impatience.cancel()
            reading.cancel()
            child.kill()
            await child.wait()
            child.channel.close()
            del self._children[index]
            self._region.clear_worker(index)
            for waited in (child.answer, child.report):
                if waited is not None:
                    waited.cancel()
            for (_, asked), future in self._answers.items():
                if asked == index:
                    future.cancel()
            self._pass_sockets()
            self._changed.set()

    def _give_up(self, child: Child) -> None:
        if not child.ready and self._in_force is not None:
            _log.error("worker %d is not ready after %g s, killing it", child.index, START_S)
            child.kill()

    async def _read(self, child: Child) -> None:
        try:
            async for message in child.channel.messages():
                match message["type"]:
                    case "started":
                        child.started = True
                        if self._challenges:
                            child.channel.send_encoded(self._challenges)
                        else:
                            child.challenges = self._challenges_number
                        if self._staples:
                            child.send({"type": "staples", "added": self._staples, "gone": []})
                        self._changed.set()
                    case "prepared":
                        child.reply(int(message["generation"]))
                    case "refused":
                        reason = str(message["error"])
                        _log.error("worker %d refuses configuration %d: %s", child.index, message["generation"], reason)
                        child.reply(int(message["generation"]), reason or "no reason")
                    case "challenged":
                        child.challenges = int(message["number"])
                        self._challenged.set()
                    case "sessions":
                        future = self._answers.get((int(message["number"]), child.index))
                        if future is not None and not future.done():
                            future.set_result(dict(message["found"]))
                    case "committed":
                        self._note_committed(child, int(message["generation"]))
                    case "memory":
                        child.tell_memory(int(message["number"]), dict(message["report"]))
                    case "log":
                        log.replay(message, child.index)
                    case unknown:
                        raise ControlError(f"unknown control message {unknown!r}")
        except (ControlError, KeyError, TypeError, ValueError) as error:
            _log.error("worker %d sends an invalid control message, killing it: %r", child.index, error)
            child.kill()

    def _note_committed(self, child: Child, generation: int) -> None:
        child.mark_ready(generation)
        self._pass_sockets()
        running = [other.generation == self._generation for other in self._children.values()]
        if len(running) == self._region.workers and all(running):
            self._filled = True
            self._owner.running(self._generation)

    async def _watch_pulses(self) -> None:
        """Find workers whose loop hangs. Counts iterations of this loop instead of time, so that a pause of the whole
        machine does not count."""
        while True:
            await asyncio.sleep(PULSE_S)
            for child in list(self._children.values()):
                pulse, beat_ns = self._pulses[child.index], self._region.heartbeat_ns(child.index)
                if pulse.pid != child.pid or pulse.beat_ns != beat_ns or not child.started:
                    if pulse.pid == child.pid and pulse.quiet_s >= QUIET_S:
                        _log.warning(
                            "worker %d (pid %d) answers again after %g s", child.index, child.pid, pulse.quiet_s
                        )
                    self._pulses[child.index] = _Pulse(child.pid, beat_ns)
                    continue
                before, pulse.quiet_s = pulse.quiet_s, pulse.quiet_s + PULSE_S
                others = any(self._is_serving(other) for other in heirs(child.index, self._region.workers))
                if before < QUIET_S <= pulse.quiet_s:
                    text = "worker %d (pid %d) has not answered for %g s: %s in its place"
                    instead = "another worker accepts" if others else "no worker accepts"
                    _log.warning(text, child.index, child.pid, QUIET_S, instead)
                elif pulse.quiet_s >= (HUNG_S if others else ALONE_S) and not pulse.killed:
                    pulse.killed = True
                    _log.error("worker %d (pid %d) hangs, killing it", child.index, child.pid)
                    child.kill()
            self._pass_sockets()
