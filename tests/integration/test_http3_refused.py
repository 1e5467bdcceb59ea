"""Where HTTP/3 cannot be spoken, `http3` is refused with what helps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def check(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    command = [sys.executable, "-m", "lbcore", "check", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("point", "more", "reason"),
    [
        ("{address: ':0', http3: {}}", "lbcore: {tls: {library: system}}\n", "pip install 'pycurl>=7.48'"),
        ("{address: 'unix:/run/lbcore-test.sock', http3: {}}", "", "http3 needs an address of TCP"),
        ("{address: ':0/udp', http3: {}}", "", "http3 needs an address of TCP"),
        ("{address: ':0', http3: {advertisedPort: 70000}}", "", "advertisedPort"),
    ],
)
def test_it_is_said_what_is_missing(tmp_path: Path, point: str, more: str, reason: str) -> None:
    done = check(tmp_path / "static.yml", f"entryPoints: {{web: {point}}}\n{more}")
    assert done.returncode == 1
    assert "http3" in done.stdout + done.stderr
    assert reason in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["{}", "{advertisedPort: 443}", "true"])
def test_it_is_accepted_where_its_libraries_are(tmp_path: Path, text: str) -> None:
    done = check(tmp_path / "static.yml", f"entryPoints: {{web: {{address: ':0', http3: {text}}}}}\n")
    assert "http3" not in done.stdout + done.stderr
