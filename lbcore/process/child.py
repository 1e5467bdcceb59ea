"""One worker process on the supervisor's side: start it, exchange messages, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from typing import Any

from lbcore.process.control import Channel, Message
from lbcore.process.starting import Process, Starter


class Child:
    """The supervisor's side of a worker: its channel, and which configurations it was sent and runs.

    The process itself is a `Process`, however it was started. Made by `Child.start`.
    """

    def __init__(self, index: int, process: Process, channel: Channel) -> None:
        self.index = index
        self.channel = channel
        self.generation = 0  # of the configuration that it runs; 0 until it is ready
        self.offered = 0  # of the last configuration that it was sent
        self.runs = 0  # the last configuration that it was told to run
        self.first_offered = 0
        self.started = False  # it has answered `hello`, and can prepare configurations
        self.answer: asyncio.Future[str] | None = None  # to `prepare`: the reason of a refusal, or empty
        self.report: asyncio.Future[dict[str, Any]] | None = None  # of its memory, that it was asked for
        self.asked = 0  # how often it was asked for one
        self.challenges = 0  # number of the last `challenges` message that it has confirmed
        self._ready_at = 0.0
        self._process = process
        self._exited = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.pidfd, self._note_end)

    @staticmethod
    async def start(index: int, starter: Starter, fds: Sequence[int]) -> Child:
        """Start a worker that inherits `fds` and the far end of its channel.

        Raises OSError when no process can be created.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await starter.start(theirs.fileno(), fds)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Child(index, process, Channel(ours))

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether it serves."""
        return self.generation > 0

    @property
    def served_s(self) -> float:
        """Seconds since it was ready; 0 when it never was."""
        return time.monotonic() - self._ready_at if self.ready else 0.0

    def mark_ready(self, generation: int) -> None:
        """Record which configuration it runs."""
        if not self.ready:
            self._ready_at = time.monotonic()
        self.generation = generation

    @property
    def oldest_generation(self) -> int:
        """The lowest number of the configurations that it may still use; 0 if it has none."""
        return self.generation or self.first_offered

    def offer(self, generation: int, data: bytes) -> None:
        """Send a configuration, encoded."""
        self.offered = generation
        self.first_offered = self.first_offered or generation
        self.channel.send_encoded(data)

    def commit(self, generation: int) -> None:
        """Have it run the configuration that it was sent last."""
        self.runs = generation
        self.channel.send({"type": "commit", "generation": generation})

    def reply(self, generation: int, refusal: str = "") -> None:
        """Record its answer to the last configuration that it was sent."""
        if generation == self.offered and self.answer is not None and not self.answer.done():
            self.answer.set_result(refusal)

    def ask_memory(self) -> asyncio.Future[dict[str, Any]]:
        """Ask what memory it uses. Cancelled when it ends, or is asked again."""
        if self.report is not None:
            self.report.cancel()
        self.report = self._loop.create_future()
        self.asked += 1
        self.channel.send({"type": "memory", "number": self.asked})
        return self.report

    def tell_memory(self, number: int, report: dict[str, Any]) -> None:
        """Record its answer to `ask_memory`."""
        if number == self.asked and self.report is not None and not self.report.done():
            self.report.set_result(report)

    def send(self, message: Message) -> None:
        """Send one message."""
        self.channel.send(message)

    def kill(self) -> None:
        """Kill it at once."""
        if not self._exited.is_set():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process.pidfd, signal.SIGKILL)

    async def wait(self) -> str:
        """Wait for its end. Returns the exit code or signal as text."""
        await self._exited.wait()
        code = await self._process.code()
        if code is None:
            return "it is not known how"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"signal {-code} ({signal.Signals(-code).name})"
        return f"signal {-code}"

    def _note_end(self) -> None:
        self._loop.remove_reader(self._process.pidfd)
        os.close(self._process.pidfd)
        self._exited.set()
