"""A flood of wrong passwords, and what requests to another router notice: `python -m bench.flood [SECONDS] [WORKERS]`.

One client asks an open router at a fixed rate, over a few connections; then it does so while others send wrong
passwords, a new one with each request. Prints latencies of the open router from the time at which a request was due.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bcrypt
import uvloop
import yaml

RATE = 500  # requests of the open router per second
CONNECTIONS = 8
FLOODING = 200  # connections; more than may wait for a check
PAUSE_S = 0.1  # of such a connection after a refusal, so that this program has time to measure
OPEN = b"GET /open HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSED = b"GET /closed HTTP/1.1\r\nHost: a\r\nAuthorization: Basic %b\r\n\r\n"


def configuration(folder: Path, url: str) -> Path:
    costly = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    dynamic = {
        "routers": {
            "open": {"rule": "PathPrefix(`/open`)", "service": "app"},
            "closed": {"rule": "PathPrefix(`/closed`)", "service": "app", "middlewares": ["login"]},
        },
        "middlewares": {"login": {"basicAuth": {"users": [f"ann:{costly}"]}}},
        "services": {"app": {"loadBalancer": {"servers": [{"url": url}]}}},
    }
    static = {
        "entryPoints": {"web": {"address": "127.0.0.1:0"}},
        "providers": {"file": {"filename": str(folder / "dynamic.yml")}},
        "log": {"level": "INFO", "filePath": str(folder / "log")},
    }
    (folder / "dynamic.yml").write_text(yaml.safe_dump({"http": dynamic}))
    (folder / "static.yml").write_text(yaml.safe_dump(static))
    return folder / "static.yml"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if found := re.search(rb"(?i)content-length: (\d+)", head):
        await reader.readexactly(int(found[1]))
    return int(head.split()[1])


async def steady(port: int, until: float, first_s: float, found: list[float]) -> None:
    """Requests at a fixed rate, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    due = time.monotonic() + first_s
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        assert await ask(reader, writer, OPEN) == 200
        found.append(time.monotonic() - due)
        due += CONNECTIONS / RATE
    writer.close()


async def flood(port: int, until: float, name: int, found: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.monotonic() < until:
        count += 1
        wrong = base64.b64encode(b"ann:wrong%d-%d" % (name, count))
        found.append(await ask(reader, writer, CLOSED % wrong))
        await asyncio.sleep(PAUSE_S if found[-1] == 503 else 0)
    writer.close()


async def measure(port: int, seconds: float, flooded: bool) -> str:
    until, found, answers = time.monotonic() + seconds, list[float](), list[int]()
    tasks = [steady(port, until, number / RATE, found) for number in range(CONNECTIONS)]
    if flooded:
        tasks += [flood(port, until, number, answers) for number in range(FLOODING)]
    await asyncio.gather(*tasks)
    found.sort()
    at = {percent: found[min(len(found) - 1, int(len(found) * percent / 100))] * 1000 for percent in (50, 99, 99.9)}
    text = "  ".join(f"p{percent:g} {value:7.2f} ms" for percent, value in at.items())
    counts = {status: answers.count(status) for status in sorted(set(answers))}
    return f"{text}   {f'flood: {counts}' if flooded else 'no flood'}"


async def main(seconds: float, workers: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configuration(folder, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        command = [sys.executable, "-m", "lbcore", "run", "--config", str(config), "--workers", str(workers)]
        process = subprocess.Popen(command)
        try:
            log, port = folder / "log", None
            while port is None or f"run{'s' if workers == 1 else ''} configuration 1" not in log.read_text():
                await asyncio.sleep(0.05)
                if log.exists():
                    port = re.search(r"entry point web listens on \S+:(\d+)", log.read_text())
            for flooded in (False, True, False, True):
                print(await measure(int(port[1]), seconds, flooded))
        finally:
            process.terminate()
            process.wait()
            server.close()


if __name__ == "__main__":
    arguments = [float(argument) for argument in sys.argv[1:]]
    uvloop.run(main(arguments[0] if arguments else 5.0, int(arguments[1]) if len(arguments) > 1 else 1))
