"""What an index of packages, and a user who installs one, are told."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from readme_renderer.markdown import render

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> email.message.Message:
    tree = tmp_path_factory.mktemp("metadata")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, tree)
    (tree / "lbcore" / "http").mkdir(parents=True)
    (tree / "lbcore" / "__init__.py").touch()
    shutil.copy2(ROOT / "lbcore" / "http" / "pico_build.py", tree / "lbcore" / "http")
    made = "from setuptools import build_meta as b; print(b.prepare_metadata_for_build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", made], cwd=tree, capture_output=True, text=True, check=True)
    # Nothing is compiled, and nothing translated, for it.
    assert "Cythonizing" not in done.stdout
    return email.message_from_string((tree / done.stdout.split()[-1] / "METADATA").read_text())


def test_the_library_needs_nothing_and_an_extra_brings_the_rest(metadata: email.message.Message) -> None:
    requirements = metadata.get_all("Requires-Dist") or []
    assert [requirement for requirement in requirements if "extra ==" not in requirement] == []
    proxy = [requirement for requirement in requirements if requirement.endswith('extra == "proxy"')]
    assert len(proxy) > 20
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    of_providers = set(extras) - {"proxy", "httpx", "all", "dev", "bench", "release", "docs", "wheels"}
    assert {"docker", "kubernetes", "redis", "etcd"} <= of_providers
    for extra in of_providers:
        assert "lbcore[proxy]" in extras[extra], extra
    assert set(re.findall(r"\w+", extras["all"][0])) - {"lbcore"} == of_providers


def test_links_of_the_readme_work_on_the_page_of_the_package(metadata: email.message.Message) -> None:
    text = metadata.get_payload()
    assert isinstance(text, str) and metadata["Description-Content-Type"] == "text/markdown"
    page = render(text)
    assert page and "<table" in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "http://", "#"))] == []
    version = metadata["Version"]
    files = [link.partition(f"/v{version}/")[2] for link in links if f"/v{version}/" in link]
    assert len(files) > 5
    for name in files:
        assert (ROOT / name.partition("#")[0]).exists(), name


def test_the_page_of_the_package_says_where_the_rest_is(metadata: email.message.Message) -> None:
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL") or [])
    assert {"Documentation", "Source", "Issues", "Changelog"} <= urls.keys()


def test_requirements_of_an_extra_hold_those_of_the_extras_that_it_names() -> None:
    command = [sys.executable, "ci/requirements.py", "pyproject.toml", "docker"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "uvloop>=0.21" in lines and "httpx>=0.28" in lines
    assert not any("lbcore" in line for line in lines)


def test_the_library_works_without_any_other_package(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "venv"], cwd=tmp_path, check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "source.pth").write_text(f"{ROOT}\n")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(tmp_path / "venv/bin/python"), "-I", str(ROOT / "ci/alone.py")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "works alone" in done.stdout


@pytest.mark.parametrize("tag", ["v0.0.0", "0.1.0"])
def test_a_tag_that_is_not_the_version_is_refused(tag: str) -> None:
    command = [sys.executable, str(ROOT / "ci/version.py"), tag]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
