"""Measure the time from a clone to the first request, and put it into README.md: `python -m bench.first_request`.

The commit that is checked out is cloned into an empty folder, where `make run` builds everything and starts the demo.
Caches of the compiler and of pip are not used. The ports of the demo have to be free.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench.machine import describe

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "bench/results/first_request.json"
BEGIN, END = "<!-- first request: begin -->", "<!-- first request: end -->"
URL = "http://127.0.0.1:8000/"
LIMIT_S = 3600.0


def measure(folder: Path) -> dict[str, float]:
    """Seconds of the clone, of the build, and from the start of the demo to the first answer."""
    environ = {name: value for name, value in os.environ.items() if name not in ("CC", "PYTHONPATH", "VIRTUAL_ENV")}
    environ["PIP_NO_CACHE_DIR"] = "1"
    begun = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    cloned = time.monotonic()
    subprocess.run(["make", "build"], cwd=folder, env=environ, check=True)
    built = time.monotonic()
    with subprocess.Popen(["make", "run"], cwd=folder, env=environ, start_new_session=True) as demo:
        try:
            while not answers():
                if demo.poll() is not None or time.monotonic() - built > LIMIT_S:
                    sys.exit("the demo does not answer")
                time.sleep(0.02)
            answered = time.monotonic()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(demo.pid, signal.SIGTERM)
    return {"clone_s": cloned - begun, "build_s": built - cloned, "start_s": answered - built}


def answers() -> bool:
    """Whether a request is answered by a server."""
    try:
        with urllib.request.urlopen(URL, timeout=2) as answer:
            return bool(answer.headers.get("X-Backend"))
    except OSError:
        return False


def line(record: dict[str, object]) -> str:
    """What the README says."""
    took = {name: float(str(record[name])) for name in ("clone_s", "build_s", "start_s")}
    where = record["machine"]
    assert isinstance(where, dict)
    minutes, seconds = divmod(round(sum(took.values())), 60)
    return (
        f"From the clone to the first request `make run` takes {minutes} min {seconds} s, of which the build takes "
        f"{took['build_s']:.0f} s and the start {took['start_s']:.1f} s "
        f"({where['processor']}, {where['cores']} cores, {where['date']}; measured by `make first-request`)."
    )


def put(text: str, said: str) -> str:
    """The README with a line between the marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + f"{BEGIN}\n{said}\n{END}" + after


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="first-request-") as folder:
        record: dict[str, object] = {**measure(Path(folder) / "lbcore"), "machine": describe()}
    RESULT.write_text(json.dumps(record, indent=2) + "\n")
    readme = ROOT / "README.md"
    readme.write_text(put(readme.read_text(), line(record)))
    print(line(record))


if __name__ == "__main__":
    main()
