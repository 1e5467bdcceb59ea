"""What a result was measured on: processor, kernel, versions, date."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe() -> dict[str, str]:
    """The machine as text values."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def version_of(*command: str) -> str:
    """The version that a `--version` command prints; RuntimeError when it prints none."""
    output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"\d+\.\d+(?:\.\d+)*", (output.stdout + output.stderr).replace(command[0], ""))
    if found is None:
        raise RuntimeError(f"{' '.join(command)} prints no version")
    return found[0]
