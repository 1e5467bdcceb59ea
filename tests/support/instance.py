"""A running lbcore for a test: real processes, started from files, spoken to over sockets and signals, cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lbcore.process.starting import WORKER_NAME
from tests.support.command import Command

T = TypeVar("T")
PROGRAMS = "LBCORE_TEST_PROGRAMS" in os.environ  # start new programs, as users do, and not forks


def eventually(probe: Callable[[], T], what: str, timeout_s: float = 60) -> T:
    """What `probe` returns as soon as it is true; fails with `what` when it never is."""
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        if found := probe():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


async def becomes_true(probe: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait in an event loop until `probe` is true. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not probe():
            await asyncio.sleep(0.002)


class Backend:
    """An HTTP/1.1 server on a thread that answers with its name; `/slow/500` does so after 500 ms."""

    def __init__(self, name: str, address: str = "127.0.0.1", port: int = 0) -> None:
        backend = self
        self.name = name
        self.slow_requests = threading.Semaphore(0)  # released when a slow request has come in

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.startswith("/slow/"):
                    backend.slow_requests.release()
                    time.sleep(int(self.path.removeprefix("/slow/")) / 1000)
                body = backend.name.encode()
                with contextlib.suppress(ConnectionError):  # the client may have disconnected
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def dynamic_for(*backends: Backend) -> dict[str, Any]:
    """A dynamic configuration that sends everything to `backends`."""
    servers = [{"url": backend.url} for backend in backends]
    return {
        "http": {
            "routers": {"all": {"rule": "PathPrefix(`/`)", "service": "backends"}},
            "services": {"backends": {"loadBalancer": {"servers": servers}}},
        }
    }


class Instance:
    """A supervisor with its workers."""

    def __init__(self, folder: Path, process: Command | subprocess.Popen[bytes]) -> None:
        self.process = process
        self.log_file = folder / "lbcore.log"
        self.dynamic_file = folder / "dynamic" / "dynamic.yml"

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def logged(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until the log has a line like `pattern` for the `times`th time."""

        def find() -> re.Match[str] | None:
            found = list(re.finditer(pattern, self.log))
            return found[times - 1] if len(found) >= times else None

        try:
            match = eventually(find, f"log line {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the log is:\n{self.log}") from None
        assert match
        return match

    def runs(self, generation: int) -> None:
        """Wait until all workers run a configuration."""
        self.logged(rf"\d+ workers? runs? configuration {generation}\b")

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return list(_workers_below(self.process.pid))

    @property
    def port(self) -> int:
        """Port of the entry point `web`."""
        return int(self.logged(r"entry point web listens on \S+:(\d+)")[1])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def get(self, path: str = "/", timeout_s: float = 10) -> tuple[int, str]:
        """Status and body of one request on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def write(self, dynamic: Mapping[str, Any] | str) -> None:
        """Write the dynamic file in place."""
        self.dynamic_file.write_text(dynamic if isinstance(dynamic, str) else yaml.safe_dump(dynamic))


@contextlib.contextmanager
def running(
    folder: Path,
    dynamic: Mapping[str, Any] | None,
    *,
    workers: int = 2,
    static: Mapping[str, Any] | None = None,
    entry_point: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    prefix: tuple[str, ...] = (),
    failing: bool = False,
) -> Iterator[Instance]:
    """Start an instance in `folder`; on leaving, kill what is left of it and show its log if the test failed.

    static       merged over the usual static configuration.
    entry_point  merged over that of `web`.
    prefix       command to start it with, e.g. one that sets up descriptors.
    failing      its workers cannot start.
    """
    configuration = {
        "entryPoints": {"web": {"address": "127.0.0.1:0", **(entry_point or {})}},
        "providers": {"providersThrottleDuration": "0s", "file": {"filename": str(folder / "dynamic" / "dynamic.yml")}},
        "log": {"level": "INFO", "filePath": str(folder / "lbcore.log")},
        **(static or {}),
    }
    (folder / "dynamic").mkdir(exist_ok=True)
    (folder / "static.yml").write_text(yaml.safe_dump(configuration))
    if dynamic is not None:
        (folder / "dynamic" / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
    arguments = ["run", "--config", str(folder / "static.yml"), "--workers", str(workers)]
    process: Command | subprocess.Popen[bytes]
    if prefix or failing or environ or PROGRAMS:
        program = ["lbcore", *arguments] if not failing else ["tests.support.launch", arguments[2], arguments[4]]
        command = [*prefix, sys.executable, "-m", *program]
        env = {**os.environ, **(environ or {})}  # may be one of the loader or of Python
        process = subprocess.Popen(command, env=env, pass_fds=pass_fds, stdin=subprocess.DEVNULL)
    else:
        process = Command(arguments, pass_fds=pass_fds)
    instance = Instance(folder, process)
    children: list[int] = []
    try:
        yield instance
    except BaseException:
        sys.stderr.write(instance.log)
        raise
    finally:
        with contextlib.suppress(OSError):
            children = instance.workers
        process.kill()
        process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _workers_below(pid: int) -> Iterator[int]:
    """The workers among the children of a process, and among theirs."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has ended
            name = Path(f"/proc/{child}/comm").read_text().strip()
            yield from [int(child)] if name == WORKER_NAME else _workers_below(int(child))


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes_of(folder: Path) -> list[str]:
    """The commands of all processes that name a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if str(folder) in (command := file.read_text()):
                found.append(command.replace("\0", " "))
    return found
