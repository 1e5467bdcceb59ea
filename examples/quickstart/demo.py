"""The demo: three backends, lbcore in front of them, and a live view of who answers.

Runs until Ctrl-C or SIGTERM and leaves no process behind. `--proxy-command "traefik --configFile=..."` puts another
proxy in lbcore's place.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PORT = 8000
API_PORT = 8080
BACKENDS = {"v1-a": 8101, "v1-b": 8102, "v2": 8103}
TRY = """lbcore balances http://127.0.0.1:{port} over three servers with the weights 3, 2 and 1.

  curl http://127.0.0.1:{port}/                      who answers changes: v1-a 3 times, v1-b twice, v2 once, and again
  curl -H 'X-QA: 1' http://127.0.0.1:{port}/         testers always get v2
  curl http://127.0.0.1:{port}/api/cart              reaches the server as /cart
  .venv/bin/lbcore status                          services, servers, weights; lbcore top: requests per second
  http://127.0.0.1:{api_port}/dashboard/                the same in a browser
  for i in $(seq 60); do curl -s http://127.0.0.1:{port}/ -o /dev/null -D - | grep X-Backend; done | sort | uniq -c
                                                   30, 20 and 10

Change the weights in {folder}/dynamic.yml meanwhile. Ctrl-C ends everything.
"""


def die_with_parent() -> None:
    """Ask the kernel to end this child when the demo goes, however it goes (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=ROOT, preexec_fn=die_with_parent, stdin=subprocess.DEVNULL)


def require_free(port: int) -> None:
    """Exit with a clear message when something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"port {port} of 127.0.0.1 is needed for the demo and cannot be had: {error.strerror}")


def wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server on a port answers with 200; exit when its process ends first."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if process.poll() is not None:
            sys.exit(f"{shlex.join(map(str, process.args))} ended with {process.returncode}")  # type: ignore[arg-type]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}")


def answered(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/.count", timeout=2) as response:
        return int(json.load(response)["answered"])


def view(counts: dict[str, int], before: dict[str, int]) -> Table:
    table = Table("backend", "requests", "share", "in the last second", title="who answers")
    total = sum(counts.values()) or 1
    for name, count in counts.items():
        table.add_row(name, str(count), f"{100 * count / total:.1f} %", str(count - before.get(name, 0)))
    return table


def readings() -> Iterator[tuple[dict[str, int], dict[str, int]]]:
    """What the backends say they have answered, once a second, and the reading before."""
    before: dict[str, int] = {}
    while True:
        counts = {name: answered(port) for name, port in BACKENDS.items()}
        yield counts, before
        before = counts
        time.sleep(1)


def show() -> None:
    console = Console()
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4) as live:
            for counts, before in readings():
                live.update(view(counts, before))
    else:
        for counts, before in readings():
            if counts != before:
                print("answered: " + ", ".join(f"{name} {count}" for name, count in counts.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Show lbcore balancing over three backends.")
    parser.add_argument("--proxy-command", default=f"{sys.executable} -m lbcore run --config {HERE / 'traefik.yml'}")
    options = parser.parse_args()
    for port in (PORT, API_PORT, *BACKENDS.values()):
        require_free(port)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    processes = []
    try:
        for name, port in BACKENDS.items():
            processes.append(start(sys.executable, str(HERE / "backend.py"), name, str(port)))
            wait_for(port, "/.count", processes[-1])
        processes.append(start(*shlex.split(options.proxy_command)))
        wait_for(PORT, "/.count", processes[-1])
        print(TRY.format(port=PORT, api_port=API_PORT, folder=HERE.relative_to(ROOT)), flush=True)
        show()
    except KeyboardInterrupt:
        pass
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    main()
