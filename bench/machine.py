"""What a result was measured on: processor, kernel, versions, date."""

from __future__ import annotations

import datetime
import os
import platform
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
    """The first line with a digit that a `--version` command prints."""
    output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = [line.strip() for line in (output.stdout + output.stderr).splitlines()]
    return next((line for line in lines if any(char.isdigit() for char in line)), "unknown")
