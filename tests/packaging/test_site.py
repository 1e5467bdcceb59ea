"""The documentation as a site: it is built without a warning, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a browser fetches by itself.
FETCHED = re.compile(r"<(?:link|script|img|iframe|source|video|audio|object|embed)\b([^>]*)>")
OF_SHEETS = re.compile(r"url\(\"?((?:https?:)?//[^)\"]+)")
SOURCE = re.compile(r'href="https://github.com/lbcore/lbcore/(?:blob|tree)/main/([^"#]+)')
ADDRESS = re.compile(r'(?:href|src|srcset|data)="((?:https?:)?//[^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    pages = {page.with_name("index.html") if page.name == "README.html" else page for page in pages}
    for name in (*("reference/static", "reference/dynamic", "reference/traefik", "reference/commands"),
        *("changelog", "security", "contributing"),
    ):
        pages.add(Path(f"{name}.html"))
    assert [str(page) for page in sorted(pages) if not (site / page).exists()] == []


def test_no_page_asks_another_host(site: Path) -> None:
    found = set()
    for page in site.rglob("*.html"):
        for attributes in FETCHED.findall(page.read_text()):
            found |= {(page.name, address) for address in ADDRESS.findall(attributes)}
    for sheet in site.rglob("*.css"):
        found |= {(sheet.name, address) for address in OF_SHEETS.findall(sheet.read_text())}
    assert found == set()


def test_links_out_of_the_site_lead_to_files_of_the_repository(site: Path) -> None:
    found = set()
    for page in site.rglob("*.html"):
        found |= set(SOURCE.findall(page.read_text()))
    assert len(found) > 5
    assert [name for name in sorted(found) if not (ROOT / name).exists()] == []


def test_the_api_of_the_library_is_described(site: Path) -> None:
    text = (site / "api/selection.html").read_text()
    for name in ("selector.Selector.pick", "wrr.SmoothWRR", "outlier.OutlierDetector", "subsetting.subset"):
        assert f'id="lbcore.selection.{name}"' in text, name


def test_pictures_are_those_that_are_drawn(tmp_path: Path) -> None:
    drawn = tmp_path / "docs" / "pictures"
    drawn.mkdir(parents=True)
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "pictures.py").write_text((ROOT / "ci" / "pictures.py").read_text())
    subprocess.run([sys.executable, str(tmp_path / "ci" / "pictures.py")], check=True)
    for picture in drawn.iterdir():
        assert picture.read_text() == (ROOT / "docs" / "pictures" / picture.name).read_text(), picture.name
