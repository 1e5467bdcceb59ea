"""Headless Chromium (Debian: chromium), driven by Playwright over the DevTools protocol."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, HttpCredentials, Page, sync_playwright

PATIENCE_MS = 60_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """One browser for many pages."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: make system"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose errors, and requests to other places, are kept. `faults` has to stay empty."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self.heard(message.type, message.text))
        page.on("request", lambda request: self.asked(request.url, origin))

    def heard(self, kind: str, text: str) -> None:
        # That an answer was 403 or 409, or that nobody answered, is told by the page itself.
        if kind in ("error", "warning") and "Failed to load resource" not in text and "ERR_" not in text:
            self.faults.append(f"{kind}: {text}")

    def asked(self, url: str, origin: str) -> None:
        if not url.startswith((origin, "data:")):
            self.faults.append(f"asked {url}")


@contextlib.contextmanager
def opened(
    browser: Browser,
    url: str,
    width: int = 1400,
    height: int = 900,
    dark: bool = False,
    login: HttpCredentials | None = None,
) -> Iterator[Watched]:
    """A new page at an address, in a context of its own. Fails if the page had faults. `login`: of whoever looks."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        locale="en-GB",
        http_credentials=login,
    )
    watched = Watched(context.new_page(), "/".join(url.split("/")[:3]) + "/")
    try:
        watched.page.goto(url)
        yield watched
        assert watched.faults == []
    finally:
        context.close()
