"""What the tests of packages share: the wheel in dist/, and an installation of it without its build's environment."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel for this Python."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = sorted(DIST.glob(f"lbcore-*-{tag}-{tag}*-*linux*{sysconfig.get_platform().partition('-')[2]}.whl"))
    assert found, "dist/ has no wheel: make packages"
    return found[-1]


@pytest.fixture(scope="session")
def wheels(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of lbcore, of all that `lbcore[all]` needs, and of pip, which pipx brings up to date: an
    index that needs no network."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([*pip, f"lbcore[all] @ {wheel.as_uri()}", "pip"], check=True)
    return folder
