"""The commands of docs/getting-started.md, as they stand, in one shell; ports and the interpreter are the test's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.instance import processes_of
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "getting-started.md"


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    script = "".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert script.count("lbcore run") == 2 and "lbcore explain" in script
    for port in ("8000", "8080", "8101", "8102"):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    api = re.search(r'traefik: .*\n\s+address: "(\S+)"', script)
    assert api
    command = tmp_path / "bin" / "lbcore"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lbcore "$@"\n')
    command.chmod(0o755)
    (command.parent / "python3").symlink_to(sys.executable)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LBCORE_API")}
    environ |= {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "LBCORE_API": f"http://{api[1]}",
        "LBCORE_WORKERS": "1",
        "COLUMNS": "200",
    }
    folder = tmp_path / "work"
    folder.mkdir()
    text = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environ, capture_output=True, text=True, timeout=280, check=False
    )
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    lines = said.splitlines()
    assert lines[:2] in (["one", "two"], ["two", "one"]), said
    assert re.search(r"^ +6 one$", said, re.MULTILINE) and re.search(r"^ +2 two$", said, re.MULTILINE), said
    assert "refused" in lines, said
    assert not [command for command in processes_of(folder) if "lbcore" in command]
