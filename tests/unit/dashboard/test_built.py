"""The built files of the dashboard: they are of the sources beside them, and load nothing from elsewhere."""

from __future__ import annotations

import json
import re

from ci.dashboard import HERE, STAMP, digest_of_sources
from lbcore.dashboard import files


def test_the_built_files_are_of_these_sources() -> None:
    assert STAMP.read_text().strip() == digest_of_sources(), "the sources have changed: make dashboard"


def test_the_page_consists_of_its_files_alone() -> None:
    page = files()[""].body.decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    for reference in named:
        assert reference == "data:," or reference.removeprefix("./") in files(), reference
    # The policy forbids scripts and styles inside of the page.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    assert {name for name in files() if name.startswith("assets/")} == {
        name.removeprefix("./") for name in named if "assets/" in name
    }


def test_other_packages_come_by_name_and_digest_and_from_no_fixed_place() -> None:
    lock = (HERE / "package-lock.json").read_text()
    assert "resolved" not in lock and "https://registry" not in lock
    packages = [package for name, package in json.loads(lock)["packages"].items() if name]
    assert packages and all(package["integrity"] for package in packages)


def test_the_licenses_of_what_is_built_in_are_beside_it() -> None:
    licenses = files()["licenses.md"].body.decode()
    for name in json.loads((HERE / "package.json").read_text())["dependencies"]:
        assert f"## {name} - " in licenses
