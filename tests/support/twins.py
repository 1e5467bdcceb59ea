"""Real Traefik and lbcore side by side, with one configuration, a server that tells what it was asked, and requests."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.traefik import NAMES, start
from tests.support.wire import Peer


def connect(port: int) -> Peer:
    return Peer(socket.create_connection(("127.0.0.1", port), timeout=10))


def describe(peer: Peer) -> None:
    """A server that answers with what it was asked, as JSON. Proxies may keep a connection that brings nothing."""
    with contextlib.suppress(EOFError, ConnectionError, TimeoutError):
        while True:
            first, headers, body = peer.message()
            text = json.dumps({"first": first, "headers": headers, "body": body.decode("latin-1")}).encode()
            sent = b"" if first.startswith("HEAD ") else text
            peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Up: 1\r\nContent-Length: %d\r\n\r\n"
                % len(text)
                + sent
            )


def get(target: str, host: str = "a.test", *headers: str, method: str = "GET", body: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join([*lines, "", ""]) + body).encode()


class Twins:
    """Traefik and lbcore with the same configuration; `files` in `folder` end in the name of each."""

    def __init__(self, folder: Path, static: dict[str, Any], dynamic: dict[str, Any]) -> None:
        self.folder = folder
        self.ports: dict[str, dict[str, int]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
        for name in NAMES:
            self.ports[name] = {point: free_port() for point in static["entryPoints"]}
            text = json.dumps(static).replace("{name}", name)
            own = json.loads(text)
            for point, settings in own["entryPoints"].items():
                settings["address"] = f"127.0.0.1:{self.ports[name][point]}"
            own["providers"] = {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}}
            self.processes[name] = start(name, folder, own, workers=2)

    def client(self, name: str, point: str) -> Peer:
        return connect(self.ports[name][point])

    def close(self) -> None:
        """End both, without a drain of connections that tests have left open: a second signal ends lbcore at once."""
        for process in self.processes.values():
            process.terminate()
        for name, process in self.processes.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM if name == "lbcore" else signal.SIGKILL)
            process.wait(15)


@contextlib.contextmanager
def twins(
    folder: Path, static: dict[str, Any], dynamic: dict[str, Any], only: str = "", path: str = "/"
) -> Iterator[Twins]:
    """Both, once they answer requests on each entry point, or on one; then nothing has connected to the others."""
    both = Twins(folder, static, dynamic)
    points = [only] if only else list(static["entryPoints"])

    def listens(name: str, point: str) -> bool:
        assert both.processes[name].poll() is None, f"{name} has ended: see log-{name} in {folder}"
        with contextlib.suppress(OSError), contextlib.closing(both.client(name, point).sock):
            return True
        return False

    def is_ready(name: str, point: str) -> bool:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(both.client(name, point)) as client:
            return client.ask(get(path))[0].startswith(("HTTP/1.1 200", "HTTP/1.1 418"))
        return False

    try:
        for name in NAMES:
            for point in points:
                eventually(lambda name=name, point=point: listens(name, point), f"{name} has {point}")  # type: ignore[misc]
            for point in points:
                eventually(lambda name=name, point=point: is_ready(name, point), f"{name} serves {point}")  # type: ignore[misc]
        yield both
    finally:
        both.close()
