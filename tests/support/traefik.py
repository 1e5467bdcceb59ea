"""Real Traefik, and lbcore beside it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.command import Command
from tests.support.instance import eventually
from tests.support.ports import free_ports

TRAEFIK = Path(sys.executable).with_name("traefik")
NAMES = ("traefik", "lbcore")

Process = Command | subprocess.Popen[bytes]


def start(name: str, folder: Path, static: Mapping[str, Any], workers: int = 1) -> Process:
    """Start one of NAMES in `folder`, by a static configuration that is written to `static-NAME.yml` there.

    Its log goes to `log-NAME`. It is the caller's to end.
    """
    file = folder / f"static-{name}.yml"
    file.write_text(yaml.safe_dump({"log": {"filePath": str(folder / f"log-{name}")}, **static}))
    if name == "lbcore":
        arguments = ["run", "--workers", str(workers), "--config", str(file)]
        return Command(arguments, cwd=folder, stdout=subprocess.DEVNULL)
    return subprocess.Popen([str(TRAEFIK), f"--configFile={file}"], cwd=folder, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def both_serving(folder: Path, dynamic: Mapping[str, Any], is_ready: Callable[[int], bool]) -> Iterator[dict[str, int]]:
    """Traefik and lbcore with one dynamic configuration while the block lasts: the port of each."""
    (folder / "dynamic.yml").write_text(yaml.safe_dump(dynamic))
    ports = dict(zip(NAMES, free_ports(2)))
    processes = []
    try:
        for name, port in ports.items():
            static = {
                "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
                "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
            }
            processes.append(start(name, folder, static, workers=2))
        for port in ports.values():
            eventually(lambda port=port: is_ready(port), "it routes")  # type: ignore[misc]
        yield ports
    finally:
        for process in processes:
            process.terminate()
            process.wait(10)
