"""Commands `lbcore ...` of tests, forked from a process that has loaded them: they start in a tenth of the time.

A command that is a new program first imports its modules and builds its models for a second of a CPU. Hundreds of tests
start one and are about something else. Those about the start itself start `python -m lbcore`, as users do, and so do
those that choose a library of TLS: one is loaded here.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
NUMBER = struct.Struct("q")
PACKET_BYTES = 1 << 17
# What `lbcore run` imports where it is used.
LOADED = (
    *("lbcore.cli", "lbcore.process.check", "lbcore.process.plane"),
    *("lbcore.process.supervisor", "lbcore.process.worker", "lbcore.template.engine"),
    *("lbcore.api.app", "lbcore.api.runtime", "uvicorn", "uvicorn.protocols.http.h11_impl", "uvicorn.lifespan.off"),
    *("lbcore.tls.certificate", "lbcore.tls.connector", "lbcore.tls.describe", "lbcore.tls.pairs"),
    *("lbcore.acme.agent", "lbcore.fleet.agent", "lbcore.ocsp.agent", "lbcore.spiffe.agent", "lbcore.telemetry.agent"),
    *("lbcore.provider.consul", "lbcore.provider.consul_catalog", "lbcore.provider.docker", "lbcore.provider.etcd"),
    *("lbcore.provider.kubernetes.crd", "lbcore.provider.kubernetes.gateway", "lbcore.provider.kubernetes.ingress"),
    *("lbcore.provider.nomad", "lbcore.provider.http", "lbcore.provider.redis", "lbcore.provider.rest"),
    *("lbcore.provider.swarm", "lbcore.provider.zookeeper", "httpx", "kazoo.client", "redis.asyncio"),
)


class Command:
    """`python -m lbcore ARGUMENTS` as a child of another process, with what tests use of `subprocess.Popen`.

    It reads nothing, and has no descriptors but the standard ones and `pass_fds`.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        stdout: IO[Any] | int | None = None,
        stderr: IO[Any] | int | None = None,
    ) -> None:
        self.args = [sys.executable, "-m", "lbcore", *map(str, arguments)]
        self.returncode: int | None = None
        request = {
            "arguments": self.args[3:],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "fds": [0, 1, 2, *pass_fds],
        }
        self._told, told = os.pipe()  # gives the process id, then the exit code
        with open(os.devnull, "r+b") as null, open(told, "wb") as end:
            standard = [_descriptor(each, number, null) for number, each in ((1, stdout), (2, stderr))]
            fds = [end.fileno(), null.fileno(), *standard, *pass_fds]
            socket.send_fds(_loaded(), [json.dumps(request).encode()], fds)
        self.pid = self._read()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        """The exit code, the negative number of a signal, or None: it runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = self._read()
            os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same at its end. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            select.select([self._told], [], [], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, if it runs."""
        self.send_signal(signal.SIGKILL)

    def _read(self) -> int:
        data = os.read(self._told, NUMBER.size)
        return int(NUMBER.unpack(data)[0]) if data else -signal.SIGKILL  # the other process has ended before it


def run_command(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Raises subprocess.TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        command = Command(arguments, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
        try:
            code = command.wait(timeout)
        finally:
            command.kill()
        for file in (stdout, stderr):
            file.seek(0)
        return subprocess.CompletedProcess(command.args, code, stdout.read(), stderr.read())


def _descriptor(given: IO[Any] | int | None, number: int, null: IO[bytes]) -> int:
    if given is None:
        return number
    if given == subprocess.DEVNULL:
        return null.fileno()
    return given if isinstance(given, int) else given.fileno()


@functools.cache
def _loaded() -> socket.socket:
    """The connection to the process that forks the commands of this one. It ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PACKET_BYTES)
    with theirs:
        command = [sys.executable, "-m", "tests.support.command", str(theirs.fileno())]
        subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    return ours


def _load() -> None:
    """Load what `lbcore run` loads, and build the models, as a configuration of each kind makes it."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # as the command does
    for name in LOADED:
        importlib.import_module(name)
    from lbcore.config.load import load_objects, load_static_with_warnings
    from lbcore.provider.merge import merge
    from lbcore.routing.compile import find_problems

    with tempfile.TemporaryDirectory() as folder:
        (static := Path(folder, "static.yml")).write_text("entryPoints: {web: {address: ':0'}}\nlog: {}\napi: {}\n")
        (dynamic := Path(folder, "dynamic.yml")).write_text(
            "http:\n  routers: {a: {rule: PathPrefix(`/`), service: a, middlewares: [m]}}\n"
            "  middlewares: {m: {stripPrefix: {prefixes: [/a]}}}\n"
            "  services: {a: {loadBalancer: {servers: [{url: 'http://127.0.0.1:9'}]}}}\n"
            "tcp:\n  routers: {a: {rule: HostSNI(`*`), service: a}}\n"
            "  services: {a: {loadBalancer: {servers: [{address: '127.0.0.1:9'}]}}}\n"
        )
        find_problems(merge({"file": load_objects(dynamic).config}), load_static_with_warnings(static)[0])


def _serve(sock: socket.socket) -> None:
    """Fork a command for each request, and tell its process id and its end, until nobody asks any more."""
    import gc

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}  # process id and pipe, by pidfd
    while True:
        for ready, _ in poll.poll():
            if ready in running:
                pid, told = running.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                _tell(told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(told)
                continue
            data, fds, _, _ = socket.recv_fds(sock, PACKET_BYTES, 250, socket.MSG_CMSG_CLOEXEC)
            if not data:
                return
            pid = os.fork()
            if not pid:
                _become(json.loads(data), fds[1:])
            told = fds[0]
            running[pidfd := os.pidfd_open(pid)] = pid, told
            poll.register(pidfd, select.POLLIN)
            _tell(told, pid)
            for fd in fds[1:]:
                os.close(fd)


def _tell(told: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # who started it has gone
        os.write(told, NUMBER.pack(number))


def _become(request: dict[str, Any], passed: Sequence[int]) -> None:
    """Be the command that was asked for, with `passed` under the numbers of the request. Does not return."""
    import fcntl
    import traceback

    from lbcore.__main__ import main
    from lbcore.process.leaving import leave

    code: object = 1
    try:
        numbers = request["fds"]
        free = max(*numbers, *map(int, os.listdir("/proc/self/fd"))) + 1
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, free) for fd in passed]
        os.closerange(3, free)
        for fd, number in zip(high, numbers, strict=True):
            os.dup2(fd, number)
            os.close(fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        os.chdir(request["cwd"])
        sys.path[0] = request["cwd"]
        sys.argv = ["lbcore", *request["arguments"]]
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    leave(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
