"""The worker's side of checks of passwords: a bounded queue, and a process that is started when the first one comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Callable

from lbcore.passwords.wire import RIGHT, WRONG, question

MOST_WAITING = 128  # checks that wait for the process; one more is refused
IDLE_S = 60.0  # without a check, after which the process ends
PAUSE_S = 1.0  # after a process that has ended by itself, until another one is started
COMMAND = (sys.executable, "-P", "-m", "lbcore.passwords.child")

_log = logging.getLogger("lbcore.passwords")
Done = Callable[[bool | None], None]


class Job:
    """A check that is under way. Several requests of a user with the same password share it."""

    def __init__(self, user: bytes, stored: bytes, password: bytes) -> None:
        self.key = (user, stored, password)
        self.waiting: list[Done] = []


class Checker:
    """Checks passwords for one worker, on its event loop."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command
        self._jobs: dict[tuple[bytes, bytes, bytes], Job] = {}  # in order; the first one is being done
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = -1  # descriptor of its results; a number, so that it is open until `__del__`
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = False  # the process works on the first job
        self._idle: asyncio.TimerHandle | None = None
        self._rests_until = 0.0

    def check(self, user: bytes, stored: bytes, password: bytes, done: Done) -> Job | None:
        """Have a password checked. None: too many wait.

        user  who says to have it. Two users share no check, since the time of an answer would tell that both are
              checked against the same hash.
        done  called later, on the loop, with the result; None = the process has failed.
        """
        job = self._jobs.get((user, stored, password))
        if job is None:
            if len(self._jobs) > MOST_WAITING:
                return None
            job = Job(user, stored, password)
            self._jobs[job.key] = job
        job.waiting.append(done)
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._go_on)
        return job

    def forget(self, job: Job, done: Done) -> None:
        """The result is not wanted any more."""
        with contextlib.suppress(ValueError):
            job.waiting.remove(done)
        under_way = self._asked and next(iter(self._jobs.values()), None) is job
        if not job.waiting and not under_way:
            self._jobs.pop(job.key, None)

    @property
    def waiting(self) -> int:
        """Checks that are not done."""
        return len(self._jobs)

    def _go_on(self) -> None:
        """Give the process the first job, if it has none."""
        if self._asked or not self._jobs:
            return
        if self._process is None and not self._start():
            self._fail()
            return
        assert self._process is not None and self._process.stdin is not None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        job = next(iter(self._jobs.values()))
        left = question(*job.key[1:])
        try:
            while left:  # a signal may end a write before all of a long one has gone
                left = left[self._process.stdin.write(left) :]
        except OSError:
            self._lose()
            return
        self._asked = True

    def _start(self) -> bool:
        if time.monotonic() < self._rests_until:
            return False
        path = os.pathsep.join(filter(None, sys.path))
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": path},
            )
        except OSError as error:
            _log.error("the process that checks passwords cannot be started: %s", error)
            self._rests_until = time.monotonic() + PAUSE_S
            return False
        assert self._process.stdout is not None
        self._answers = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        os.set_blocking(self._answers, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._answers, _answered, weakref.ref(self))
        return True

    def _read(self) -> None:
        """The process has answered, or ended."""
        assert self._process is not None
        try:
            data = os.read(self._answers, 1)
        except BlockingIOError:
            return
        if data not in (RIGHT, WRONG) or not self._asked:
            self._lose()
            return
        self._asked = False
        self._settle(self._jobs.pop(next(iter(self._jobs))), data == RIGHT)
        if self._jobs:
            self._go_on()
        elif self._loop is not None and self._process is not None:
            self._idle = self._loop.call_later(IDLE_S, _idle, weakref.ref(self))

    def _lose(self) -> None:
        """The process has ended by itself."""
        _log.error("the process that checks passwords has ended")
        self._rests_until = time.monotonic() + PAUSE_S
        self.close()
        self._fail()

    def _fail(self) -> None:
        """No check that waits can be done."""
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            self._settle(job, None)

    def _settle(self, job: Job, result: bool | None) -> None:
        for done in [*job.waiting]:
            done(result)

    def close(self) -> None:
        """End the process; the next check starts another one."""
        process, self._process = self._process, None
        self._asked = False
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if process is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._answers)
        _end(process, self._answers)

    def __del__(self) -> None:
        """The last configuration that has used it is gone, maybe in another thread than that of the loop."""
        process, loop, answers = self._process, self._loop, self._answers
        if process is None or loop is None:
            return

        def end() -> None:
            loop.remove_reader(answers)
            _end(process, answers)

        try:
            loop.call_soon_threadsafe(end)
        except RuntimeError:  # the loop is closed
            _end(process, answers)


def _end(process: subprocess.Popen[bytes], answers: int) -> None:
    """End a process that has nothing to lose."""
    process.kill()
    if process.stdin is not None:
        process.stdin.close()
    os.close(answers)
    process.wait()


def _answered(checker: weakref.ref[Checker]) -> None:
    if (found := checker()) is not None:
        found._read()


def _idle(checker: weakref.ref[Checker]) -> None:
    if (found := checker()) is not None and not found.waiting:
        found.close()
