"""Workers by fork: a process that has loaded everything waits, and becomes a worker in milliseconds when asked to.

A worker that is a new program loads its modules and builds the models first, which takes half a second and more of a
CPU, in which nobody serves its share of the connections. The fork server is forked once, at the start, while the
process has one thread, no event loop, no log and no sockets. Workers are forks of it, and share its memory.

Requests and answers are JSON in packets of a Unix socket pair; the descriptors travel with them (SCM_RIGHTS).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import traceback
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from lbcore.process.leaving import leave
from lbcore.process.limits import raise_file_limit
from lbcore.process.starting import Process, Program, Starter, name_process, python_path

FDS_PER_PACKET = 250  # the kernel takes 253
PACKETS = 8  # of one request: fewer than the kernel queues; a worker with more descriptors is a new program
PACKET_BYTES = 1 << 16
ANSWER_S = 3.0  # a fork server that has not answered after this time is killed
STATUS_S = 1.0  # longest wait for how a worker ended, after it has
FIRST_FD = 3
NAME = "lbcore-forks"

_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

Packet = tuple[dict[str, Any], list[int]]  # message, descriptors


class ForkServer:
    """The supervisor's side. When the fork server has ended, workers start as new programs."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._sock = sock
        self._pid = pid  # 0: it has ended
        self._otherwise = Program()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._number = 0  # of the last request
        self._answers: dict[int, asyncio.Future[Packet]] = {}  # by number
        self._codes: dict[int, asyncio.Future[int]] = {}  # how workers end, by process id

    @property
    def pid(self) -> int:
        """Process id of the fork server; 0 after its end."""
        return self._pid

    async def start(self, control: int, fds: Sequence[int]) -> Process:
        """See `Starter`."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._sock, self._read)
        numbers = [control, *dict.fromkeys(fds)]
        if self._pid and len(numbers) <= FDS_PER_PACKET * PACKETS:
            try:
                return await self._ask(numbers)
            except (TimeoutError, ConnectionError):
                self.close()
        return await self._otherwise.start(control, fds)

    def close(self) -> None:
        """End the fork server. The workers go on."""
        if not self._pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._pid = 0
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._sock)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError("the fork server has ended"))
            for code in self._codes.values():
                code.cancel()
        self._sock.close()

    async def _ask(self, numbers: Sequence[int]) -> Process:
        self._number += 1
        number, answered = self._number, asyncio.get_running_loop().create_future()
        self._answers[number] = answered
        try:
            for start in range(0, len(numbers), FDS_PER_PACKET):
                part = numbers[start : start + FDS_PER_PACKET]
                _send(self._sock, {"number": number, "fds": part, "more": start + len(part) < len(numbers)}, part)
            async with asyncio.timeout(ANSWER_S):
                answer, passed = await answered
        finally:
            del self._answers[number]
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        pid = answer["pid"]
        ended: asyncio.Future[int] = answer["ended"]

        async def code() -> int | None:
            await asyncio.wait({ended}, timeout=STATUS_S)
            if ended.done() and not ended.cancelled():
                return ended.result()
            # Without the fork server the worker is a child of process 1, which may be this one.
            with contextlib.suppress(ChildProcessError):
                ended_pid, status = os.waitpid(pid, os.WNOHANG)
                return os.waitstatus_to_exitcode(status) if ended_pid else None
            return None

        return Process(pid, passed[0], code)

    def _read(self) -> None:
        try:
            while self._pid:
                message, fds = _receive(self._sock)
                if "code" in message:
                    self._codes.pop(message["pid"]).set_result(message["code"])
                    continue
                if "pid" in message:
                    # With the answer, for a worker may have ended before who waits for the answer runs.
                    message["ended"] = self._codes[message["pid"]] = asyncio.get_running_loop().create_future()
                answered = self._answers.get(message["number"])
                if answered is not None and not answered.done():
                    answered.set_result((message, fds))
                else:  # nobody waits for this worker any more: it has lost its channel, and ends
                    _close(fds)
        except BlockingIOError:
            pass
        except (OSError, EOFError):
            self.close()


def start() -> Starter:
    """Fork the fork server. To be called before this process has loops, threads, logs or sockets.

    In the fork server and in its workers this does not return. Where the process has other threads already, whose
    locks a fork would copy, and without /proc, workers start as new programs.
    """
    import lbcore.process.plane
    import lbcore.process.supervisor  # noqa: F401 - what workers need is to be loaded once

    if _threads() != 1:
        return Program()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError:  # no room for a process more: let the supervisor tell it
        ours.close()
        theirs.close()
        return Program()
    if not pid:
        try:
            _serve(theirs)
        except BrokenPipeError:  # the supervisor has gone
            leave(0)
        except BaseException:  # must not come to the supervisor's code
            traceback.print_exc()
            leave(1)
    theirs.close()
    ours.setblocking(False)
    return ForkServer(ours, pid)


def _threads() -> int:
    """The number of threads of this process, also of libraries; 0: the system does not tell it."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0


def _serve(sock: socket.socket) -> NoReturn:
    """Fork a worker for each request, and tell how each one ended, until the supervisor has gone."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    name_process(NAME)
    raise_file_limit()
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    sock = _alone(sock)
    gc.collect()
    gc.freeze()  # so that a collection in a worker does not write to the memory that all share
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    workers: dict[int, int] = {}  # process ids by pidfd
    request = _Request()
    while True:
        for fd, _ in poll.poll():
            if fd in workers:
                poll.unregister(fd)
                os.close(fd)
                pid = workers.pop(fd)
                _, status = os.waitpid(pid, 0)
                _send(sock, {"pid": pid, "code": os.waitstatus_to_exitcode(status)})
                continue
            try:
                message, fds = _receive(sock)
            except (OSError, EOFError):
                leave(0)
            if not request.add(message, fds):
                continue
            try:
                pid, pidfd = request.fork()
            except OSError as error:
                _send(sock, {"number": request.number, "errno": error.errno})
            else:
                workers[pidfd] = pid
                poll.register(pidfd, select.POLLIN)
                _send(sock, {"number": request.number, "pid": pid}, [pidfd])
            request.clear()


class _Request:
    """A request for a worker, which may come in several packets."""

    def __init__(self) -> None:
        self.number = 0
        self._numbers: list[int] = []  # that the descriptors are to have in the worker; the first: its control socket
        self._passed: list[int] = []  # that they have here

    def add(self, message: dict[str, Any], fds: Sequence[int]) -> bool:
        """Add a packet. Returns whether the request is complete."""
        if message["number"] != self.number:
            self.clear()
        self.number = message["number"]
        self._numbers += message["fds"]
        self._passed += fds
        return not message["more"]

    def clear(self) -> None:
        """Close the descriptors."""
        _close(self._passed)
        self._numbers, self._passed = [], []

    def fork(self) -> tuple[int, int]:
        """Fork the worker, which does not return. Returns its process id and its pidfd. Raises OSError."""
        if len(self._passed) != len(self._numbers):  # the others found no room in this process
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        pid = os.fork()
        if not pid:
            _work(self._numbers, self._passed)
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise


def _work(numbers: Sequence[int], passed: Sequence[int]) -> NoReturn:
    """Be a worker that has `passed` under the numbers `numbers`, and no other descriptors."""
    from lbcore.process.worker import main

    try:
        free = max(*numbers, *_open_fds()) + 1
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, free) for fd in passed]
        os.closerange(FIRST_FD, free)
        for fd, number in zip(high, numbers, strict=True):
            os.dup2(fd, number, inheritable=False)
            os.close(fd)
        os.environ["PYTHONPATH"] = python_path()  # for the programs that it starts
        code = main(["--control", str(numbers[0])])
    except BaseException:  # must not come to the fork server's loop
        traceback.print_exc()
        code = 1
    leave(code)


def _alone(sock: socket.socket) -> socket.socket:
    """Close all descriptors but the standard ones and a socket, which is given the first number after them."""
    fd = sock.detach()
    if fd != FIRST_FD:
        os.dup2(fd, FIRST_FD, inheritable=False)
    os.closerange(FIRST_FD + 1, max(_open_fds()) + 1)
    return socket.socket(fileno=FIRST_FD)


def _open_fds() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


def _send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    socket.send_fds(sock, [json.dumps(message).encode()], fds)


def _receive(sock: socket.socket) -> Packet:
    """One packet, and its descriptors. Raises EOFError at the end, OSError."""
    data, fds, _, _ = socket.recv_fds(sock, PACKET_BYTES, FDS_PER_PACKET, socket.MSG_CMSG_CLOEXEC)
    if not data:
        raise EOFError
    return json.loads(data), fds
