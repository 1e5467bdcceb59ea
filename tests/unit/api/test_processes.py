"""What is told of processes where a service may see no more of /proc than these (`ProcSubset=pid` of systemd)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_start_of_a_process_is_known_without_the_times_of_the_system() -> None:
    asks = "import lbcore.api.processes as p; found = p._of(p.os.getpid(), p._booted_s()); "
    asks += "print(found['start_time_seconds'] - p.time.time())"
    command = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /proc/stat && exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", asks],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert -120 < float(done.stdout) < 2
