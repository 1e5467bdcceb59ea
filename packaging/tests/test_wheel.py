"""The wheel as users get it: checked as an index of packages does, and installed in the ways that the pages name."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.instance import eventually
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, **environ: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environ
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_index_will_take_it(wheel: Path) -> None:
    said = run(sys.executable, "-m", "twine", "check", "--strict", wheel, *wheel.parent.glob("*.tar.gz"))
    assert "FAILED" not in said


def test_it_has_what_runs_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size <= 5_000_000
    assert "manylinux" in wheel.name
    assert sum(name.endswith(".so") for name in names) == len(list((ROOT / "lbcore").rglob("*.pyx")))
    assert not [name for name in names if name.endswith(".c") or name.startswith(("tests", "bench"))]
    assert {"lbcore/py.typed", "lbcore/selection/lbcore_selection.h", "lbcore/selection/abi.pxd"} <= set(names)
    built = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lbcore").rglob("*.py")}
    assert built <= set(names)


def test_the_library_alone(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", wheel)
    assert "works alone" in run(python, "-I", ROOT / "ci/alone.py")


def test_pipx_installs_the_command(wheel: Path, wheels: Path, tmp_path: Path) -> None:
    """And a request goes through it."""
    run(sys.executable, "-m", "venv", tmp_path / "tools")
    run(tmp_path / "tools/bin/python", "-m", "pip", "install", "--quiet", "pipx")
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIP_NO_INDEX": "1"}
    arguments = ["--python", sys.executable, "--pip-args", f"--find-links {wheels}"]
    run(tmp_path / "tools/bin/python", "-m", "pipx", "install", *arguments, "lbcore[proxy]", **places)
    port = free_port()
    command = [str(tmp_path / "bin/lbcore"), "run", f"--entryPoints.web.address=127.0.0.1:{port}", "--workers", "1"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        try:

            def status() -> int:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                try:
                    connection.request("GET", "/")
                    return connection.getresponse().status
                except OSError:
                    return 0

            assert eventually(status, "an answer") == 404
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_the_bill_of_materials_has_everything(wheel: Path) -> None:
    run(sys.executable, ROOT / "ci/sbom.py")
    bill = json.loads((wheel.parent / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "lbcore"
    names = {component["name"].lower() for component in bill["components"]}
    assert {"uvloop", "pycurl", "pydantic", "httpx", "cryptography"} <= names
    assert not {"pytest", "cython", "setuptools"} & names
