"""The dashboard in a real browser, in short: it loads, and shows what is live. `tests/browser` has all views."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.support.browser import PATIENCE_MS, chromium, opened
from tests.support.scene import scene, traffic

expect.set_options(timeout=PATIENCE_MS)


def test_the_page_shows_a_live_tree(tmp_path: Path) -> None:
    with scene(tmp_path) as shop, chromium() as browser, traffic(shop), opened(browser, shop.url) as watched:
        page = watched.page
        expect(page.locator(".frame.live")).to_be_attached()
        services = page.get_by_role("region", name="Services").get_by_role("link")
        expect(services.filter(has_text="shop-v2")).to_contain_text(re.compile(r"\d/s"))
        servers = page.get_by_role("region", name="Servers").get_by_role("link")
        expect(servers.filter(has_text=shop.dead)).to_contain_text("down")
