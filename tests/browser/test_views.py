"""The dashboard in a real browser: each view, dark and light, wide and narrow; a dead server, a dead lbcore.

`LBCORE_PICTURES=FOLDER` keeps pictures of some views there, for the documentation.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import PATIENCE_MS, Watched, chromium, opened
from tests.support.certificates import certificate, signed
from tests.support.instance import eventually, running
from tests.support.ports import free_port
from tests.support.recorder import recorders
from tests.support.scene import STATIC, TOKEN, Scene, balancer, scene, traffic

expect.set_options(timeout=PATIENCE_MS)

VIEWS = {
    "": "Traffic",
    "health": "Health",
    "problems": "Problems",
    "entrypoints": "Entry points",
    "routers": "Routers",
    "middlewares": "Middlewares",
    "services": "Services",
    "servers": "Servers",
    "maxima": "Maxima",
    "requests": "Requests",
    "sessions": "Sessions",
    "certificates": "Certificates",
    "instance": "Instance",
    "explain?url=http%3A%2F%2Fshop.example%2Fcart": "Explain a request",
    "entrypoints/web": "web",
    "http/routers/shop@file": "shop@file",
    "http/middlewares/compress@file": "compress@file",
    "http/services/shop@file": "shop@file",
    "http/services/shop-v1@file": "shop-v1@file",
    "tcp/services/database@file": "database@file",
    "udp/services/names@file": "names@file",
}
SIZES = {"wide": (1400, 900), "phone": (390, 844), "narrow": (320, 640)}
PICTURES = {
    ("", "wide", False): "map-light",
    ("", "wide", True): "map-dark",
    ("health", "wide", False): "health",
    ("http/services/shop-v1@file", "wide", True): "service",
    ("", "phone", False): "phone",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def busy() -> Iterator[Scene]:
    # Its path is shown beside problems, also in the pictures of the documentation.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder, scene(Path(folder)) as found, traffic(found):
        yield found


def is_live(page: Page) -> None:
    expect(page.locator(".frame.live")).to_be_attached()


def heading(page: Page, text: str) -> None:
    expect(page.locator("main h1")).to_have_text(text)


def card(region: Locator, *texts: str) -> Locator:
    """The nodes of a column of the map that show all of `texts`."""
    found = region.get_by_role("link")
    for text in texts:
        found = found.filter(has_text=text)
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_each_view_can_be_read_by_all(busy: Scene, browser: Browser, size: str, dark: bool) -> None:
    width, height = SIZES[size]
    pictures = os.environ.get("LBCORE_PICTURES")
    wrong = []
    with opened(browser, busy.url, width, height, dark) as watched:
        page = watched.page
        is_live(page)
        expect(page.get_by_text("p95").first).to_be_visible()
        expect(page.locator(".spark polyline").first).to_be_attached()  # two points of the last hour
        for view, title in VIEWS.items():
            page.goto(f"{busy.url}#/{view}")
            heading(page, title)
            expect(page.locator(".empty", has_text="Loading")).to_have_count(0)
            if (sideways := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
                wrong.append(f"{view}: {sideways} px wider than the window")
            for found in Axe().run(page).response["violations"]:
                where = [node["target"] for node in found["nodes"][:3]]
                wrong.append(f"{view}: {found['id']}: {found['help']} at {where}")
            name = PICTURES.get((view, size, dark))
            if pictures and name:
                page.screenshot(path=Path(pictures) / f"dashboard-{name}.png", full_page=size == "wide")
    assert wrong == []


def test_the_map_shows_all_layers_their_traffic_and_their_faults(busy: Scene, browser: Browser) -> None:
    with opened(browser, busy.url) as watched:
        page = watched.page
        is_live(page)
        routers, services, servers = (
            page.get_by_role("region", name=name) for name in ("Routers", "Services", "Servers")
        )
        for name in ("shop", "shop-api", "blog", "search", "database", "names"):
            expect(card(routers, name, "/s").first).to_be_visible()
        expect(card(routers, "broken", "disabled")).to_be_visible()
        expect(card(services, "shop-v1", "degraded")).to_be_visible()
        expect(card(services, "blog-new", "down")).to_be_visible()
        expect(card(servers, busy.dead, "down")).to_be_visible()
        # The part of the requests that is wanted, and the one that is.
        expect(card(services, "shop-v2", "10\u202f% configured")).to_contain_text(re.compile(r"\d\s% actual"))
        page.get_by_role("searchbox").fill("blog.example")
        expect(routers.get_by_role("listitem")).to_have_count(1)
        assert "q=blog.example" in page.url
        page.get_by_role("searchbox").fill("")
        page.get_by_role("radio", name="TCP").check(force=True)
        expect(routers.get_by_role("listitem")).to_have_count(1)
        expect(routers).to_contain_text("database")


def test_a_dead_server_is_told_with_its_cause(busy: Scene, browser: Browser) -> None:
    with opened(browser, f"{busy.url}#/health") as watched:
        page = watched.page
        leaf = page.locator("li.leaf", has_text=busy.dead).first
        expect(leaf).to_contain_text("down")
        expect(leaf).to_contain_text("health check failed")
        page.goto(f"{busy.url}#/problems")
        expect(page.locator(".troubles")).to_contain_text("its main service blog-new fails over")
        page.goto(f"{busy.url}#/http/members/{quote(f'shop-v1@file|{busy.dead}', safe='@:')}")
        expect(page.locator(".facts").first).to_contain_text(re.compile(r"down so far1 time, .+ in all"))
        last = re.compile("The last health check failed after .+: Connection refused")
        expect(page.get_by_text(last)).to_be_visible()
        page.goto(f"{busy.url}#/servers?state=down")
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.locator(".paging")).to_contain_text(re.compile(r"of 2 of \d+ servers"))


def test_each_state_has_its_word_and_its_shape(browser: Browser, tmp_path: Path) -> None:
    """Each that a server may be in: on the map, in the list, on the server's page."""
    held, away = threading.Event(), f"http://127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as stack:
        a, b, c, bad, late = stack.enter_context(recorders("a", "b", "c", "bad", "late"))
        stack.callback(held.set)
        a.answer = b.answer = lambda first, headers, body: (200, b"held" if held.wait(PATIENCE_MS / 1000) else b"")
        bad.answer = lambda first, headers, body: (503, b"")
        services = {
            "full": balancer(a.url, maxConnections=1),
            "draining": balancer(b.url, c.url, weights=(100, 1)),
            "ejected": balancer(bad.url, passiveHealthCheck={"failureWindow": "600s", "maxFailedAttempts": 1}),
            "on-trial": balancer(bad.url, passiveHealthCheck={"failureWindow": "100ms", "maxFailedAttempts": 1}),
            "slow-start": balancer(c.url, slowStart={"duration": "600s"}),
            "unreached": balancer(away),
            "above": {"weighted": {"services": [{"name": "unreached", "weight": 1}]}},
        }
        routers = {name: {"rule": f"Path(`/{name}`)", "service": name, "entryPoints": ["web"]} for name in services}
        dynamic: dict[str, Any] = {"http": {"routers": routers, "services": services}}
        instance = stack.enter_context(running(tmp_path, dynamic, static=STATIC))
        instance.runs(1)
        services["slow-start"] = balancer(c.url, late.url, slowStart={"duration": "600s"})
        instance.write(dynamic)
        instance.runs(2)
        own = Scene(instance, {}, "")
        waiting = [threading.Thread(target=instance.get, args=(f"/{name}", 120)) for name in ("full", "draining")]
        for thread in waiting:
            thread.start()
            stack.callback(thread.join)
        stack.callback(held.set)
        for name in ("ejected", "on-trial"):
            assert instance.get(f"/{name}")[0] == 503
        assert instance.get("/unreached")[0] == 502
        eventually(lambda: a.requests and b.requests, "requests are under way")
        page = stack.enter_context(opened(browser, f"{own.url}#/http/services/draining@file")).page
        is_live(page)
        page.get_by_role("button", name=f"Drain {b.url}").click()
        page.get_by_role("dialog").get_by_label("Token").fill(TOKEN)
        page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        expect(page.get_by_role("button", name=f"End drain {b.url}")).to_be_visible()
        states = {
            f"full@file|{a.url}": "full",
            f"draining@file|{b.url}": "draining",
            f"ejected@file|{bad.url}": "ejected",
            f"on-trial@file|{bad.url}": "on trial",
            f"slow-start@file|{late.url}": "slow start",
            f"unreached@file|{away}": "unreached",
        }
        page.goto(f"{own.url}#/")
        for id, word in states.items():
            node = page.locator(f"a.card[href='#/http/members/{quote(id, safe='@:')}']")
            expect(node).to_contain_text(word)
        shapes = set()
        for id, word in states.items():
            page.goto(f"{own.url}#/servers?state={quote(word)}")
            row = page.locator("tbody tr", has_text=id.partition("|")[2])
            expect(row).to_have_count(1)
            page.goto(f"{own.url}#/http/members/{quote(id, safe='@:')}")
            state = page.locator(".standing .state", has_text=word)
            expect(state).to_be_visible()
            shapes.add(state.locator("svg").inner_html())
        assert len(shapes) == len(states), "each has a shape of its own"
        expect(page.locator(".problem")).to_contain_text("it cannot be reached, and no health check watches")
        page.goto(f"{own.url}#/health")
        service = page.locator("ul.tree > li", has_text="unreached@file")
        expect(service.locator(".states").first).to_have_text("down")

        def ask() -> None:
            while not held.wait(0.05):
                instance.get("/above")

        asking = threading.Thread(target=ask)
        asking.start()
        stack.callback(asking.join)
        stack.callback(held.set)
        page.goto(f"{own.url}#/http/services/above@file")
        row = page.locator("tbody tr", has_text="unreached")
        expect(row.locator("[data-title=Errors]")).to_have_text(re.compile(r"100\s%"))
        held.set()
        page.goto(f"{own.url}#/servers?state=drained")
        expect(page.locator("tbody tr", has_text=b.url)).to_have_count(1)


def test_what_is_wrong_beside_servers_is_told(browser: Browser, tmp_path: Path) -> None:
    """A provider that is away, a certificate that has expired, lines of the access log that are lost, a collector."""
    away = f"http://127.0.0.1:{free_port()}"
    own = certificate(tmp_path, "own", "own.example")
    old = signed(tmp_path, own, "old", "DNS:old.example", days=-1)
    static = {
        **STATIC,
        "accessLog": {"filePath": "/dev/full"},
        "tracing": {"otlp": {"http": {"endpoint": away}}},
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"filename": str(tmp_path / "dynamic" / "dynamic.yml")},
            "http": {"endpoint": f"{away}/", "pollInterval": "1s"},
        },
    }
    with recorders("a") as (a,):
        router = {"rule": "Host(`shop.example`)", "service": "shop", "entryPoints": ["web"]}
        dynamic: dict[str, Any] = {
            "http": {"routers": {"shop": router}, "services": {"shop": balancer(a.url), "none": balancer()}},
            "tls": {"certificates": [own.entry, old.entry]},
        }
        dynamic["http"]["routers"]["none"] = {**router, "rule": "Path(`/none`)", "service": "none"}
        with running(tmp_path, dynamic, static=static) as instance:
            instance.runs(1)
            assert instance.get("/none")[0] == 503
            url = Scene(instance, {}, "").url
            with opened(browser, f"{url}#/problems") as watched:
                page = watched.page

                def line(text: str) -> Locator:
                    return page.locator(".trouble", has_text=text)

                expect(line("service none@file loses all requests: it has no servers")).to_contain_text("Path(`/none`)")
                expect(line("lines of the access log are being lost")).to_contain_text("Degraded")
                expect(line(f"the collector {away} does not take them")).to_contain_text("Degraded")
                expect(line("has nothing to send requests to")).to_contain_text("Warning")
                line("the certificate for old.example has expired").get_by_role("link").click()
                heading(page, "Certificates")
                row = page.locator("tbody tr", has_text="old.example")
                expect(row).to_contain_text(re.compile(r"expired.*0\d{4}-.* ago.*own"))
                page.goto(f"{url}#/problems")
                line("provider http cannot be read, nothing of it runs").get_by_role("link").click()
                heading(page, "Instance")
                row = page.locator("tbody tr", has_text="connection refused")
                expect(row).to_contain_text("cannot be read")
                expect(row).to_contain_text("nothing of it runs")
                expect(page.locator(".problem", has_text="Refused")).to_have_count(0)
                facts = page.locator(".facts").first
                expect(facts).to_contain_text(re.compile("Access logon.*Metricsoff.*Tracingon"))
                expect(page.locator(".problem", has_text="of the access log lost")).to_be_visible()
                page.goto(f"{url}#/routers?state=down")
                expect(page.locator("tbody tr")).to_have_count(1)  # without any traffic


def test_addresses_processors_and_middlewares_are_told(busy: Scene, browser: Browser) -> None:
    with opened(browser, f"{busy.url}#/entrypoints") as watched:
        page = watched.page
        row = page.locator("tbody tr", has_text="database")
        expect(row).to_contain_text(re.compile(r"127\.0\.0\.1:[1-9]\d+ configured as 127\.0\.0\.1:0"))
        page.goto(f"{busy.url}#/")
        expect(page.locator(".sums")).to_contain_text(re.compile(r"Worker CPU\s*[\d.]+\s%"))
        port = re.search(r":\d+$", busy.instance.logged(r"entry point web listens on (\S+)")[1])
        assert port
        expect(card(page.get_by_role("region", name="Entry points"), "web", port[0])).to_be_visible()
        expect(card(page.get_by_role("region", name="Middlewares"), "compress", "/s")).to_be_visible()
        page.goto(f"{busy.url}#/instance")
        expect(page.locator("td[data-title=CPU]").first).to_contain_text("%")
        expect(page.locator("main")).to_contain_text("Configuration 1 is in force. None was without problems so far.")
        expect(page.locator("main")).to_contain_text("It is the first one since the start.")
        page.goto(f"{busy.url}#/http/middlewares/compress@file")
        expect(page.locator(".facts").first).to_contain_text("Requests/s")
        page.goto(f"{busy.url}#/udp/services/names@file")
        expect(page.locator(".facts").first).to_contain_text("Sessions so far")
        page.goto(f"{busy.url}#/http/services/shop@file")
        expect(page.locator(".facts").last).not_to_contain_text("its servers count as up")
        # shop-v1 has requests of another router: what is not known of `shop` is not shown as 0.
        expect(page.locator("main")).to_contain_text("are on the pages of its members")
        expect(page.locator(".facts").first).not_to_contain_text("errors")
        page.goto(f"{busy.url}#/http/services/search@file")
        expect(page.locator(".facts").first).to_contain_text("errors")


def test_the_way_back_is_the_same_address(busy: Scene, browser: Browser) -> None:
    with opened(browser, busy.url) as watched:
        page = watched.page
        page.goto(f"{busy.url}#/routers?q=shop&sort=-rate")
        expect(page.locator("tbody tr")).to_have_count(3)
        expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("Per second"))
        page.get_by_role("link", name="shop-api@file").click()
        heading(page, "shop-api@file")
        expect(page.locator("h1")).to_be_focused()
        page.go_back()
        expect(page.get_by_role("searchbox")).to_have_value("shop")
        page.get_by_role("searchbox").blur()
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()


def test_the_keyboard_leads_everywhere(busy: Scene, browser: Browser) -> None:
    with opened(browser, busy.url) as watched:
        page = watched.page
        is_live(page)
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_be_focused()
        card(page.get_by_role("region", name="Services"), "shop-v1").focus()
        # What lies on the ways through a node stands out, the rest is dimmed.
        expect(page.locator(".edge.lit").first).to_be_attached()
        expect(page.locator("li.dim", has_text="search-now")).to_be_attached()
        page.keyboard.press("Enter")
        heading(page, "shop-v1@file")


def test_an_explanation_is_shown_and_has_an_address(busy: Scene, browser: Browser) -> None:
    with opened(browser, f"{busy.url}#/explain") as watched:
        page = watched.page
        page.get_by_role("textbox", name="URL", exact=True).fill("http://shop.example/api/cart")
        page.get_by_label("Headers, one a line").fill("X-QA: 0")
        page.get_by_role("button", name="Explain").click()
        taken = page.locator(".explanation .taken")
        expect(taken.first).to_contain_text("router shop-api@file")
        expect(page.locator(".explanation")).to_contain_text("service shop-v1@file")
        page.reload()
        expect(taken.first).to_contain_text("router shop-api@file")
        page.get_by_label("Address of the client").fill("nobody")
        page.get_by_role("button", name="Explain").click()
        expect(page.get_by_role("alert").filter(has_text="nobody")).to_be_visible()


def test_a_change_needs_the_token_and_a_confirmation(busy: Scene, browser: Browser) -> None:
    with opened(browser, f"{busy.url}#/http/services/shop@file") as watched:
        page = watched.page
        drain = page.get_by_role("button", name="Drain shop-v2")
        drain.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill("a guess that is wrong")
        dialog.get_by_role("button", name="Drain").click()
        expect(dialog.get_by_role("alert")).to_contain_text("wrong token")
        dialog.get_by_label("Token").fill(TOKEN)
        dialog.get_by_role("button", name="Drain").click()
        expect(dialog).to_be_hidden()
        row = page.locator("tbody tr", has_text="shop-v2")
        expect(row).to_contain_text("drained")
        # The last one that takes requests is taken away only if that is meant.
        page.get_by_role("button", name="Drain shop-v1").click()
        dialog.get_by_role("button", name="Drain").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
        expect(dialog.get_by_role("button", name="Drain all the same")).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="End drain shop-v2").click()
        dialog.get_by_role("button", name="End drain").click()
        expect(row).not_to_contain_text("drained")
        page.get_by_role("button", name="Eject shop-v2").click()
        dialog.get_by_role("button", name="Eject").click()
        expect(row).to_contain_text("ejected by hand")
        page.get_by_role("button", name="Reset shop-v2").click()
        dialog.get_by_role("button", name="Reset").click()
        expect(row).not_to_contain_text("ejected by hand")
        page.get_by_role("button", name="Set weights…", exact=True).click()
        dialog.get_by_label("shop-v2").fill("30")
        dialog.get_by_role("button", name="Set weights", exact=True).click()
        expect(row).to_contain_text("overridden")
        page.get_by_role("button", name="Reset weights…").click()
        dialog.get_by_role("button", name="Reset weights").click()
        expect(row).not_to_contain_text("overridden")
    for done in ("drains: ", "has its configured weight", "is taken out: ", "is as configured"):
        busy.instance.logged(rf"INF service shop@file: shop-v2 {done}.* \(by 127\.0\.0\.1\)")
    busy.instance.logged(r"INF service shop@file: weights set by 127\.0\.0\.1: .*shop-v2=30")


def test_maxima_are_listed_shown_and_reset(browser: Browser, tmp_path: Path) -> None:
    held = threading.Event()
    with contextlib.ExitStack() as stack:
        (a,) = stack.enter_context(recorders("a"))
        stack.callback(held.set)
        a.answer = lambda first, headers, body: (200, b"held" if held.wait(PATIENCE_MS / 1000) else b"")
        router = {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]}
        dynamic = {"http": {"routers": {"shop": router}, "services": {"shop": balancer(a.url)}}}
        instance = stack.enter_context(running(tmp_path, dynamic, static=STATIC))
        instance.runs(1)
        url = Scene(instance, {}, "").url
        page = stack.enter_context(opened(browser, f"{url}#/http/services/shop@file")).page
        is_live(page)
        waiting = [threading.Thread(target=instance.get, args=("/", 120)) for _ in range(3)]
        for thread in waiting:
            thread.start()
            stack.callback(thread.join)
        stack.callback(held.set)
        section = page.locator("section", has=page.get_by_role("heading", name="Maxima"))
        expect(section).to_contain_text(re.compile(r"most in flight3 at \d\d:\d\d:\d\d"))
        expect(section).to_contain_text("looks once a second")
        held.set()
        for thread in waiting:
            thread.join()
        section.get_by_role("link", name="All maxima").click()
        heading(page, "Maxima")
        row = page.locator("tbody tr", has_text="shop@file").filter(has_text="service")
        expect(row.locator("[data-title='Most in flight']")).to_contain_text("3 at ")
        page.get_by_role("button", name="Most in flight").click()
        expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("Most in flight"))
        page.get_by_label("Kind").select_option("member")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_label("Kind").select_option("")
        expect(row).to_be_visible()
        page.get_by_role("button", name="Reset maxima…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Token").fill(TOKEN)
        dialog.get_by_role("button", name="Reset maxima").click()
        expect(page.locator(".toast")).to_contain_text("the maxima are counted anew")
        expect(row).to_have_count(0)
        instance.logged(r"INF the maxima are reset by 127\.0\.0\.1")


def test_what_middlewares_deny_has_a_column_and_a_line(browser: Browser, tmp_path: Path) -> None:
    with recorders("a") as (a,):
        router = {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"], "middlewares": ["nobody"]}
        nobody = {"ipAllowList": {"sourceRange": ["10.0.0.1"]}}
        services = {"shop": balancer(a.url)}
        dynamic = {"http": {"routers": {"shop": router}, "services": services, "middlewares": {"nobody": nobody}}}
        with running(tmp_path, dynamic, static=STATIC) as instance:
            instance.runs(1)
            url, done = Scene(instance, {}, "").url, threading.Event()

            def ask() -> None:
                while not done.wait(0.02):
                    assert instance.get("/")[0] == 403

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                with opened(browser, f"{url}#/middlewares") as watched:
                    page = watched.page
                    for view in ("middlewares", "routers", "entrypoints"):
                        page.goto(f"{url}#/{view}")
                        cell = page.locator("td[data-title=Denied]", has_text=re.compile(r"[1-9][\d.]*/s"))
                        expect(cell).to_have_count(1)
                    page.goto(f"{url}#/http/middlewares/nobody@file")
                    expect(page.locator(".facts").first).to_contain_text(re.compile(r"denied[\d.]+/s, \d+ so far"))
                    page.goto(f"{url}#/http/routers/shop@file")
                    line = re.compile(r"denied by middlewares[\d.]+/s, \d+ so far")
                    expect(page.locator(".facts").first).to_contain_text(line)
            finally:
                done.set()
                asking.join()


def test_single_requests_come_stay_and_go_by_filters(busy: Scene, browser: Browser) -> None:
    with opened(browser, f"{busy.url}#/requests?service=shop-v2&rate=100") as watched:
        page = watched.page
        rows = page.locator("table.requests tbody tr")
        expect(rows.first).to_be_visible()
        expect(rows.first).to_contain_text("GET")
        expect(rows.first).to_contain_text("shop.example/")
        expect(rows.first).to_contain_text("127.0.0.1")
        expect(rows.first.get_by_role("link", name="shop-v2@file")).to_be_visible()
        assert rows.filter(has_text="blog.example").count() == 0
        told = page.get_by_role("status").filter(has_text="shown")
        expect(told).to_have_text(re.compile(r"^[1-9]\d* requests? shown"))
        page.get_by_role("button", name="Pause").click()
        expect(page.locator(".heading")).to_contain_text("paused")
        still = rows.all_inner_texts()
        busy.instance.get("/nothing-of-this")
        page.wait_for_timeout(600)  # more than one change of the rows would take
        assert rows.all_inner_texts() == still
        page.get_by_label("Path").fill("/nothing-of-this")
        page.get_by_label("Service").fill("")
        expect(rows).to_have_count(0)
        assert "path=%2Fnothing-of-this" in page.url
        page.get_by_role("button", name="Go on").click()
        expect(page.locator(".heading")).to_contain_text("watching")
        with asking(busy, "/nothing-of-this"):
            expect(rows.first).to_contain_text("/nothing-of-this")
            expect(rows.first).to_contain_text("404")
        page.get_by_label("Router").fill("shopp")
        expect(page.locator(".problem")).to_contain_text("router not found: shopp")
        page.goto(f"{busy.url}#/http/routers/blog@file")
        page.get_by_role("link", name="Watch its requests").click()
        heading(page, "Requests")
        expect(rows.first).to_contain_text("blog.example")


@contextlib.contextmanager
def asking(of: Scene, path: str) -> Iterator[None]:
    """Requests for a path, again and again, while the block lasts."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.05):
            of.instance.get(path)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_rows_of_requests_are_bounded(busy: Scene, browser: Browser) -> None:
    with opened(browser, f"{busy.url}#/requests?rate=100") as watched:
        rows = watched.page.locator("table.requests tbody tr")
        expect(rows).to_have_count(200)
        watched.page.wait_for_timeout(600)
        expect(rows).to_have_count(200)


def test_sessions_are_listed_filtered_and_closed_with_a_confirmation(busy: Scene, browser: Browser) -> None:
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", busy.instance.port)
        clients = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(2)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            answer = b""
            while not answer.endswith((b"v1-a", b"v1-b", b"v2")):
                piece = client.recv(10000)
                assert piece, answer
                answer += piece
        page = stack.enter_context(opened(browser, f"{busy.url}#/sessions?entrypoint=web&kind=http1")).page
        is_live(page)
        rows = page.locator("tbody tr")
        own = [rows.filter(has_text=f"127.0.0.1:{client.getsockname()[1]}") for client in clients]
        for each in own:
            expect(each).to_contain_text("1 request so far")
        own[0].get_by_role("button", name="Close").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Close session 0-" if "0-" in own[0].inner_text() else "Close session 1-")
        dialog.get_by_role("button", name="Cancel").click()
        expect(own[0]).to_have_count(1)
        own[0].get_by_role("button", name="Close").click()
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog.get_by_role("alert")).to_contain_text("wrong token")
        dialog.get_by_label("Token").fill(TOKEN)
        dialog.get_by_role("button", name="Close").click()
        expect(page.get_by_role("status").filter(has_text="1 session closed")).to_be_visible()
        expect(own[0]).to_have_count(0)
        assert clients[0].recv(100) == b""
        expect(own[1]).to_have_count(1)
        page.get_by_label("Client").fill("192.0.2.0/24")
        expect(page.get_by_role("status").filter(has_text="0 sessions")).to_be_visible()
        page.get_by_label("Client").fill("127.0.0.0/8")
        expect(own[1]).to_have_count(1)
        page.get_by_role("button", name="Close all of them").click()
        dialog.get_by_role("button", name="Close").click()
        expect(own[1]).to_have_count(0)
        assert clients[1].recv(100) == b""


def test_without_a_token_nothing_can_be_changed(browser: Browser, tmp_path: Path) -> None:
    with recorders("a", "b") as (a, b):
        router = {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]}
        dynamic = {"http": {"routers": {"shop": router}, "services": {"shop": balancer(a.url, b.url)}}}
        with running(tmp_path, dynamic, static={**STATIC, "api": {"insecure": True}}) as instance:
            url = Scene(instance, {}, "").url
            with opened(browser, f"{url}#/http/services/shop@file") as watched:
                page = watched.page
                is_live(page)
                expect(page.get_by_text("Read-only: set api.token to change weights here.")).to_be_visible()
                expect(page.get_by_role("button", name=re.compile("Drain|Eject|Set weights"))).to_have_count(0)


def test_a_change_behind_a_login(browser: Browser, tmp_path: Path) -> None:
    """The page is where Hardening has it: on an entry point of its own, behind a name and a password."""
    guard = {"rule": "Host(`127.0.0.1`)", "service": "api@internal", "middlewares": ["login"], "entryPoints": ["web"]}
    users = {"users": ["ann:{SHA}" + base64.b64encode(hashlib.sha1(b"a password").digest()).decode()]}
    static = {"entryPoints": {"web": {"address": "127.0.0.1:0"}}, "api": {"token": TOKEN}}
    with recorders("a", "b") as (a, b):
        dynamic = {
            "http": {
                "routers": {
                    "operators": guard,
                    "shop": {"rule": "Host(`shop.test`)", "service": "shop", "entryPoints": ["web"]},
                },
                "middlewares": {"login": {"basicAuth": users}},
                "services": {"shop": balancer(a.url, b.url)},
            }
        }
        with running(tmp_path, dynamic, static=static) as instance:
            instance.runs(1)
            url = f"http://127.0.0.1:{instance.port}/dashboard/"
            with opened(browser, url, login={"username": "ann", "password": "a password"}) as watched:
                page = watched.page
                page.goto(f"{url}#/http/services/shop@file")
                is_live(page)
                page.get_by_role("button", name=f"Drain {a.url}").click()
                dialog = page.get_by_role("dialog")
                dialog.get_by_label("Token").fill(TOKEN)
                dialog.get_by_role("button", name="Drain").click()
                expect(dialog).to_be_hidden()
                expect(page.locator("tbody tr", has_text=a.url)).to_contain_text("drained")


def test_the_theme_can_be_chosen_and_is_kept(busy: Scene, browser: Browser) -> None:
    with opened(browser, busy.url) as watched:
        page = watched.page
        is_live(page)
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_label("Colours").select_option("dark")
        eventually(lambda: page.evaluate("getComputedStyle(document.body).backgroundColor") != light, "it is dark")
        page.reload()
        is_live(page)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def restarted(folder: Path, port: int) -> contextlib.AbstractContextManager[object]:
    static = {**STATIC, "entryPoints": {**STATIC["entryPoints"], "traefik": {"address": f"127.0.0.1:{port}"}}}
    return running(folder, None, static=static)


def test_a_dead_lbcore_is_told_at_once_and_its_restart_too(browser: Browser, tmp_path: Path) -> None:
    watched: Watched
    with scene(tmp_path) as own:
        url, port = own.url, own.api_port
        with opened(browser, url) as watched:
            page = watched.page
            is_live(page)
            # A process that hangs says nothing: no closed connection tells that.
            os.kill(own.instance.process.pid, signal.SIGSTOP)
            expect(page.get_by_role("alert").filter(has_text="connection to lbcore is lost")).to_be_visible()
            assert page.title().startswith("✕ no connection")
            os.kill(own.instance.process.pid, signal.SIGCONT)
            is_live(page)
            expect(page.get_by_text("connection to lbcore is lost")).to_be_hidden()
            expect(page.get_by_text("lbcore was restarted")).to_be_hidden()
            workers = own.instance.workers
            own.instance.process.kill()
            own.instance.process.wait()
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            expect(page.get_by_role("alert").filter(has_text="connection to lbcore is lost")).to_be_visible()
            expect(page.get_by_role("button", name=re.compile("Drain"))).to_have_count(0)
            (tmp_path / "lbcore.log").unlink()
            with restarted(tmp_path, port):
                is_live(page)
                expect(page.get_by_text("lbcore was restarted")).to_be_visible()


def test_ten_thousand_routers_stay_fluid(browser: Browser, tmp_path: Path) -> None:
    many = 10_000
    servers = [f"http://127.0.0.1:9/{n}" for n in range(3000)]
    check = {"path": "/", "interval": "1s"}
    services = {"all": balancer("http://127.0.0.1:9", healthCheck=check), "big": balancer(*servers)}
    routers = {f"tenant-{n}": {"rule": f"Host(`t{n}.example`)", "service": "all"} for n in range(many)}
    routers["big"] = {"rule": "Host(`big.example`)", "service": "big"}
    for router in routers.values():
        router["entryPoints"] = ["web"]  # type: ignore[assignment]
    with running(tmp_path, {"http": {"routers": routers, "services": services}}, static=STATIC) as instance:
        own = Scene(instance, {}, "")
        with opened(browser, f"{own.url}#/routers") as watched:
            page = watched.page
            expect(page.locator(".paging")).to_contain_text(re.compile(r"1–50 of 10,\d\d\d routers"))
            page.get_by_role("searchbox").fill("tenant-777")
            expect(page.locator(".paging")).to_contain_text("1–11 of 11 of 10,")
            # The work of the page for one letter and for one event, without that of the machine around it.
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            before = busy_s(session.send("Performance.getMetrics"))
            for search in ("t", "te", "ten", "tena"):
                page.get_by_role("searchbox").fill(search)
            expect(page.locator(".paging")).to_contain_text("1–50 of 10,000 of")
            assert busy_s(session.send("Performance.getMetrics")) - before < 20
            assert page.evaluate("document.querySelectorAll('*').length") < 2500
            page.goto(f"{own.url}#/")
            expect(page.get_by_text("12 routers of 10,001")).to_be_visible()
            assert page.evaluate("document.querySelectorAll('*').length") < 2500
            page.goto(f"{own.url}#/problems")
            expect(page.get_by_text("and 9,990 more routers")).to_be_visible()
            assert page.evaluate("document.querySelectorAll('*').length") < 2500
            # A service with thousands of servers: its members come in pages, the tree shows some of them.
            page.goto(f"{own.url}#/http/services/big@file")
            expect(page.locator(".paging")).to_contain_text("1–50 of 3,000 members")
            page.get_by_role("link", name="Next").click()
            expect(page.locator(".paging")).to_contain_text("51–100 of 3,000 members")
            expect(page.locator("tbody tr")).to_have_count(50)
            assert page.evaluate("document.querySelectorAll('*').length") < 2500
            page.goto(f"{own.url}#/health?q=big")
            page.get_by_role("button", name="Show 20 more of 2,980").click()
            expect(page.get_by_role("button", name="Show 20 more of 2,960")).to_be_visible()
            assert page.evaluate("document.querySelectorAll('*').length") < 2500


def busy_s(metrics: dict[str, list[dict[str, float]]]) -> float:
    return next(each["value"] for each in metrics["metrics"] if each["name"] == "TaskDuration")
