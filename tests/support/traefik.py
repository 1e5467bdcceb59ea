"""Real Traefik, and lbcore beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TRAEFIK = Path(sys.executable).with_name("traefik")
NAMES = ("traefik", "lbcore")


def start(name: str, folder: Path, static: Mapping[str, Any], workers: int = 1) -> subprocess.Popen[bytes]:
    """Start one of NAMES in `folder`, by a static configuration that is written to `static-NAME.yml` there.

    Its log goes to `log-NAME`. It is the caller's to end.
    """
    file = folder / f"static-{name}.yml"
    file.write_text(yaml.safe_dump({"log": {"filePath": str(folder / f"log-{name}")}, **static}))
    command = [str(TRAEFIK), f"--configFile={file}"]
    if name == "lbcore":
        command = [sys.executable, "-m", "lbcore", "run", "--workers", str(workers), "--config", str(file)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
