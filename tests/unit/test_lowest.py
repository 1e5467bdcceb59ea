"""ci/lowest.txt has the lowest version of everything that users install."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_lowest_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    of_users = [extra for extra in extras if extra not in ("dev", "bench", "release", "docs", "wheels")]
    wanted: dict[str, str] = {}
    for requirement in (
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(requirement for extra in of_users for requirement in extras[extra]),
    ):
        if requirement.startswith("lbcore["):  # other extras
            continue
        found = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement)
        assert found, f"{requirement} has no lowest version"
        wanted[found[1]] = max(wanted.get(found[1], ""), found[2])
    lines = [line for line in (ROOT / "ci/lowest.txt").read_text().splitlines() if not line.startswith("#")]
    lowest = dict(line.split("==") for line in lines)
    assert lowest.keys() == wanted.keys()
    for name, version in lowest.items():
        # 2.10.0 is the lowest of 2.10, which may have been released as 2.10 alone.
        assert f"{version}.".startswith(f"{wanted[name]}."), name
