"""The report of the benchmarks in a real browser: dark and light, wide and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from bench.report_all import page as report
from tests.support.browser import chromium, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the results that are stored."""
    made = tmp_path_factory.mktemp("report") / "report.html"
    made.write_text(report({"processor": "of this test"}))
    return made


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, True)], ids=["wide and light", "phone and dark"])
def test_it_can_be_read(file: Path, browser: Browser, width: int, dark: bool) -> None:
    with opened(browser, file.as_uri(), width, 844, dark) as watched:
        page = watched.page
        expect(page.get_by_role("heading", name="Summary")).to_be_visible()
        places = page.locator("nav a").evaluate_all("links => links.map((link) => link.hash)")
        assert len(places) > 5 and [place for place in places if page.locator(place).count() != 1] == []
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        found = Axe().run(page).response["violations"]
        assert [f"{each['id']} at {each['nodes'][0]['target']}" for each in found] == []
