"""The page of the instance on the dashboard, in a real browser: log, ping, memory, and the end of the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import PATIENCE_MS, chromium, opened
from tests.support.instance import Backend, dynamic_for, running
from tests.support.scene import STATIC, TOKEN, Scene

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Scene]:
    backend = Backend("one")
    static: dict[str, Any] = {**STATIC, "ping": {}}
    try:
        with running(tmp_path, dynamic_for(backend), static=static) as instance:
            instance.runs(1)
            yield Scene(instance, {}, "")
    finally:
        backend.close()


def confirm(page: Page, button: str, token: str = TOKEN) -> None:
    """Press the button of the question, with the token."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Token").fill(token)
    dialog.get_by_role("button", name=button).click()


def fits_and_can_be_read(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert [found["id"] for found in Axe().run(page).response["violations"]] == []


@pytest.mark.parametrize("width", [1400, 320])
def test_the_level_of_the_log_is_changed_with_the_token_and_a_confirmation(
    own: Scene, browser: Browser, width: int
) -> None:
    with opened(browser, f"{own.url}#/instance", width) as watched:
        page = watched.page
        facts = page.locator(".facts").nth(1)
        expect(facts).to_contain_text("INFO as configured")
        page.get_by_role("button", name="Change level").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Level").select_option("DEBUG")
        dialog.get_by_label("For").fill("for ever")
        fits_and_can_be_read(page)
        confirm(page, "Change level", "a guess that is wrong")
        expect(dialog.get_by_role("alert")).to_contain_text("wrong token")
        confirm(page, "Change level")
        expect(dialog.get_by_role("alert")).to_contain_text("is no duration of 1s to 720h with its unit")
        dialog.get_by_label("For").fill("2h")
        confirm(page, "Change level")
        expect(page.locator(".toast")).to_contain_text("the level of the log is DEBUG for 2h0m0s")
        expect(facts).to_contain_text(re.compile(r"DEBUG until .+, configured: INFO"))
        fits_and_can_be_read(page)
        page.get_by_role("button", name="Reset level").click()
        confirm(page, "Reset level")
        expect(facts).to_contain_text("INFO as configured")
        expect(page.get_by_role("button", name="Reset level")).to_have_count(0)


def test_a_ping_that_fails_by_hand_is_told_on_each_view(own: Scene, browser: Browser) -> None:
    with opened(browser, f"{own.url}#/instance") as watched:
        page = watched.page
        page.get_by_role("button", name="Have /ping fail").click()
        expect(page.get_by_role("dialog")).to_contain_text("It answers 503 until that is taken back")
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        banner = page.locator(".banner", has_text="/ping fails by hand since")
        expect(banner).to_have_count(0)
        page.get_by_role("button", name="Have /ping fail").click()
        confirm(page, "Have it fail")
        expect(banner).to_contain_text("it answers 503")
        page.goto(f"{own.url}#/routers")
        expect(banner).to_be_visible()
        fits_and_can_be_read(page)
        page.goto(f"{own.url}#/problems")
        expect(page.locator(".trouble", has_text="/ping fails by hand")).to_contain_text("set by 127.0.0.1")
        banner.get_by_role("link", name="Take it back").click()
        page.get_by_role("button", name="Answer 200 again").click()
        confirm(page, "Answer 200")
        expect(banner).to_have_count(0)


def test_memory_is_read_when_somebody_asks(own: Scene, browser: Browser) -> None:
    for width in (1400, 320):
        with opened(browser, f"{own.url}#/instance", width) as watched:
            page = watched.page
            table = page.get_by_role("table", name="Memory")
            page.get_by_role("button", name="Read memory").click()
            expect(table.locator("tbody tr", has_text="supervisor")).to_contain_text(re.compile(r"\d\sMiB"))
            expect(table.locator("tbody tr", has_text="worker 1")).to_contain_text(re.compile(r"\d\sMiB"))
            expect(page.get_by_role("button", name="Read memory again")).to_be_enabled()
            fits_and_can_be_read(page)


def test_the_end_of_the_process_says_before_what_will_happen(own: Scene, browser: Browser) -> None:
    with opened(browser, f"{own.url}#/instance") as watched:
        page = watched.page
        page.get_by_role("button", name="Stop lbcore").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("It accepts no more connections at once.")
        expect(dialog).to_contain_text("have 10 s at most to end")
        confirm(page, "Stop lbcore", "a guess that is wrong")
        expect(dialog.get_by_role("alert")).to_contain_text("wrong token")
        confirm(page, "Stop lbcore")
        expect(page.get_by_role("alert").filter(has_text="connection to lbcore is lost")).to_be_visible()
        assert own.instance.process.wait(timeout=60) == 0


def test_without_a_token_nothing_can_be_changed(browser: Browser, tmp_path: Path) -> None:
    static = {**STATIC, "api": {"insecure": True}, "ping": {}}
    backend = Backend("one")
    try:
        with running(tmp_path, dynamic_for(backend), static=static) as instance:
            instance.runs(1)
            with opened(browser, f"{Scene(instance, {}, '').url}#/instance") as watched:
                page = watched.page
                expect(page.get_by_text("Read-only: set api.token to change this here.")).to_be_visible()
                for name in ("Change level", "Have /ping fail", "Stop lbcore"):
                    expect(page.get_by_role("button", name=name)).to_have_count(0)
                expect(page.get_by_role("button", name="Read memory")).to_be_visible()
    finally:
        backend.close()
