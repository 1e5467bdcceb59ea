"""Load generators and what they report: wrk at full speed, h2load at a fixed rate. A request that fails is an error."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.process import LOAD_CORE, pin

_UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class LoadError(RuntimeError):
    """The load did not run as it should, or a request failed."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was done: requests answered well, per second, and the time they took."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=lambda: pin(LOAD_CORE))
    if done.returncode:
        raise LoadError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def wrk(
    url: str, seconds: float, connections: int, headers: Mapping[str, str] = {}, script: Path | None = None
) -> Load:
    """As fast as it goes."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "--timeout", "10s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    if script is not None:
        command += ["-s", str(script)]
    return read_wrk(run(*command, url))


def read_wrk(text: str) -> Load:
    """Raises LoadError when a request failed or a figure is missing."""
    for failure in ("Socket errors", "Non-2xx"):
        if failure in text:
            raise LoadError(next(line.strip() for line in text.splitlines() if failure in line))
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    percentiles = {found[0]: found for found in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\b", text)}
    if total is None or int(total[1]) == 0 or not {"50", "99"} <= set(percentiles):
        raise LoadError(f"wrk reports no requests: {text}")
    requests, seconds = int(total[1]), float(total[2]) * _UNIT_MS[total[3]] / 1000
    p50, p99 = (float(percentiles[key][1]) * _UNIT_MS[percentiles[key][2]] for key in ("50", "99"))
    return Load(requests, requests / seconds, p50, p99)


def h2load(url: str, seconds: int, connections: int, rate: int, folder: Path) -> Load:
    """At `rate` requests a second in all, whatever the answers take."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    each = max(1, rate // connections)
    text = run("h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds}", f"--rps={each}", f"--log-file={log}", url)
    return read_h2load(text, log.read_text(), seconds)


def h2load_streams(
    url: str, seconds: int, connections: int, streams: int, folder: Path, options: Sequence[str] = ()
) -> Load:
    """Over HTTP/2, as fast as it goes, with so many requests under way on each connection."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"--log-file={log}", *options]
    text = run(*command, url)
    if "Application protocol: h2" not in text:
        raise LoadError(f"the proxy does not speak HTTP/2: {text}")
    return read_h2load(text, log.read_text(), seconds)


def read_h2load(text: str, log: str, seconds: int) -> Load:
    """From its summary and its log (start in µs, status, duration in µs). Raises LoadError when a request failed."""
    found = re.search(
        r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text
    )
    if found is None or int(found[2]) == 0:
        raise LoadError(f"h2load reports no requests: {text}")
    if int(found[3]) or int(found[4]) or "0 3xx, 0 4xx, 0 5xx" not in text:
        raise LoadError(next(line for line in text.splitlines() if line.startswith(("requests:", "status codes:"))))
    times = sorted(int(line.split("\t")[2]) for line in log.splitlines() if line)
    if not times:
        raise LoadError("h2load has logged nothing")
    done = int(found[2])
    return Load(done, done / seconds, times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000)
