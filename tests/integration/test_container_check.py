"""`lbcore healthcheck` in a container, by the command that runs there: a namespace of processes stands for one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.cli.healthcheck import command_of_first
from tests.support.instance import eventually
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
LBCORE = (sys.executable, "-m", "lbcore")


class Container:
    """`lbcore run` as the first process of a namespace."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._folder = folder
        self._environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *LBCORE, "run", *arguments]
        self.process = subprocess.Popen(
            command, cwd=folder, env=self._environ, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.first = eventually(children.read_text, "its first process").split()[0]

    def check(self) -> tuple[int, str]:
        """Exit code and output of the command, as HEALTHCHECK of the image has it."""
        command = ["nsenter", "--target", self.first, "--pid", "--mount", *LBCORE, "healthcheck"]
        done = subprocess.run(
            command, cwd=self._folder, env=self._environ, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout


@contextlib.contextmanager
def container(folder: Path, *arguments: str) -> Iterator[Container]:
    found = Container(folder, *arguments)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait(30)


def test_it_asks_the_ping_of_the_flags_with_which_the_container_runs(tmp_path: Path) -> None:
    web, admin = free_port(), free_port()
    flags = [f"--entryPoints.web.address=127.0.0.1:{web}", f"--entryPoints.traefik.address=127.0.0.1:{admin}"]
    with container(tmp_path, *flags, "--ping=true", "--workers", "1") as found:
        eventually(lambda: found.check() == (0, f"OK: http://127.0.0.1:{admin}/ping\n"), "it is well")


@pytest.mark.parametrize("by", ["flags", "file", "to"])
def test_without_ping_an_entry_point_has_to_accept(tmp_path: Path, by: str) -> None:
    port = free_port()
    (tmp_path / "own.yml").write_text(f"entryPoints: {{web: {{address: '127.0.0.1:{port}'}}}}")
    arguments = {
        "flags": [f"--entryPoints.web.address=127.0.0.1:{port}"],
        "file": ["--config", str(tmp_path / "own.yml")],
        "to": ["--to", ":1", "--from", f"127.0.0.1:{port}"],
    }
    with container(tmp_path, *arguments[by], "--workers", "1") as found:
        well = (0, "OK: entry point web accepts connections; with `ping` more would be known\n")
        eventually(lambda: found.check() == well, "it is well")


def test_commands_of_first_processes(tmp_path: Path) -> None:
    def of(*words: str) -> list[str] | None:
        (tmp_path / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())
        return command_of_first(tmp_path / "cmdline")

    assert of("/opt/lbcore/bin/python3", "/opt/lbcore/bin/lbcore", "run", "--ping=true") == ["--ping=true"]
    assert of("/sbin/docker-init", "--", "lbcore", "run") == []
    assert of("/usr/bin/python3", "-m", "lbcore", "--ping=true", "--api") == ["--ping=true", "--api"]
    assert of("/sbin/init") is None and of("lbcore", "status") is None and of() is None
    assert command_of_first(tmp_path / "none") is None
