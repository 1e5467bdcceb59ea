"""Fifteen seconds of load while configurations change, a server dies and comes back, and a worker is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

from tests.support.instance import dynamic_for, eventually, is_alive, running
from tests.support.ports import free_port

SECONDS = 15
CONNECTIONS = 32

SERVER = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), reuse_address=True)
    print("listens", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class KillableServer:
    """An HTTP server in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()  # the same after a restart
        self.start()
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = self.url

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "listens\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def test_only_what_was_in_flight_on_a_killed_process_fails(tmp_path: Path) -> None:
    servers = [KillableServer(), KillableServer()]
    stop = threading.Event()
    try:
        with running(tmp_path, dynamic_for(*servers), workers=2) as lb:  # type: ignore[arg-type]
            lb.runs(1)

            def reload() -> None:
                count = 0
                while not stop.wait(0.1):
                    count += 1
                    config = dynamic_for(*servers)  # type: ignore[arg-type]
                    config["http"]["routers"][f"extra{count % 7}"] = {"rule": "Host(`x`)", "service": "backends"}
                    fresh = lb.dynamic_file.with_name(".next")
                    fresh.write_text(yaml.safe_dump(config))
                    os.replace(fresh, lb.dynamic_file)

            command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://127.0.0.1:{lb.port}/"]
            load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            reloading = threading.Thread(target=reload)
            reloading.start()
            time.sleep(SECONDS / 6)
            servers[0].kill()
            time.sleep(SECONDS / 6)
            servers[0].start()
            time.sleep(SECONDS / 6)
            victim = lb.workers[0]
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: sum(is_alive(pid) for pid in lb.workers if pid != victim) == 2, "a new worker")
            output, _ = load.communicate(timeout=SECONDS + 30)
            stop.set()
            reloading.join()
            assert lb.log.count("workers run configuration") > SECONDS
            assert lb.get() == (200, "ok")
    finally:
        stop.set()
        for server in servers:
            server.kill()
    requests = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    assert requests > 1000 * SECONDS / 10
    assert (int(refused[1]) if refused else 0) <= CONNECTIONS, output
    assert (sum(map(int, broken.groups())) if broken else 0) <= CONNECTIONS, output
