"""Redirections, of entry points and by middlewares: which requests are redirected, where to, and which pass."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.wire import config_for, edge, serving

TRUSTING = {"forwardedHeaders": {"insecure": True}}


def get(host: str = "shop.test", *headers: str, target: str = "/x?a=1;b=2") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def located(point: dict[str, Any], request: bytes, **middleware: Any) -> str:
    """Where a request is sent; empty when it passes."""
    with serving() as server:
        dynamic = config_for(server.url)
        if middleware:
            dynamic["http"]["middlewares"] = {"m": middleware}
            dynamic["http"]["routers"]["all"]["middlewares"] = ["m"]
        points = {"web": {"address": "127.0.0.1:0", **point}, "tls": {"address": "127.0.0.1:0"}}
        with edge(dynamic, points) as lb:
            first, headers, _ = lb.ask(request)
    assert first.split()[1] == ("200" if "location" not in headers else "301" if not middleware else "302")
    return headers.get("location", "")


@pytest.mark.parametrize(("proto", "passes"), [("https", True), ("wss", True), ("http", False), ("ws", False)])
def test_who_came_encrypted_to_a_trusted_proxy_passes(proto: str, passes: bool) -> None:
    told = f"X-Forwarded-Proto: {proto}"
    point = {"http": {"redirections": {"entryPoint": {"to": ":443"}}}}
    there = "https://shop.test/x?a=1;b=2"
    assert located({**point, **TRUSTING}, get("shop.test", told)) == ("" if passes else there)
    assert located(point, get("shop.test", told)) == there
    assert located(TRUSTING, get("shop.test", told), redirectScheme={"scheme": "https"}) == ("" if passes else there)
    assert located({}, get("shop.test", told), redirectScheme={"scheme": "https"}) == there


def test_who_is_where_the_redirection_leads_but_has_no_router_is_told_so() -> None:
    point = {"http": {"redirections": {"entryPoint": {"to": ":8443"}}}}
    with edge(config_for(), {"web": {"address": "127.0.0.1:0", **point, **TRUSTING}}) as lb:
        assert lb.ask(get("shop.test:8443", "X-Forwarded-Proto: https"))[0].split()[1] == "418"
        assert lb.ask(get("shop.test", "X-Forwarded-Proto: https"))[0].split()[1] == "301"


@pytest.mark.parametrize("host", [".", "..", "shop.test."])
def test_no_host_passes_by_a_redirection(host: str) -> None:
    point = {"http": {"redirections": {"entryPoint": {"to": ":8443"}}}}
    assert located(point, get(host)) == f"https://{host}:8443/x?a=1;b=2"


def test_semicolons_that_are_encoded_for_all_are_so_in_a_location() -> None:
    point = {"http": {"redirections": {"entryPoint": {"to": ":8443"}}, "encodeQuerySemicolons": True}}
    assert located(point, get(target="/x?a=\xe9;b=2")) == "https://shop.test:8443/x?a=%C3%A9%3Bb=2"


def test_a_redirection_to_an_entry_point_that_is_not_there_is_left_out() -> None:
    assert located({"http": {"redirections": {"entryPoint": {"to": "nope"}}}}, get()) == ""
    assert (
        located({"http": {"redirections": {"entryPoint": {"to": ":8443"}}}}, get())
        == "https://shop.test:8443/x?a=1;b=2"
    )


@pytest.mark.parametrize(
    ("settings", "host", "there"),
    [
        ({"scheme": "http"}, "shop.test:8080", "http://shop.test"),
        ({"scheme": "http"}, "shop.test:80", ""),
        ({"scheme": "http"}, "[::1]:8080", "http://[::1]"),
        ({"scheme": "http", "port": "81"}, "shop.test", "http://shop.test:81"),
        ({"scheme": "http", "port": "81"}, "shop.test:81", ""),
        ({"scheme": "https", "port": "8443"}, "[::1]:80", "https://[::1]:8443"),
        ({"scheme": "https"}, "shop.test:", "https://shop.test"),
    ],
)
def test_the_port_is_the_schemes_own_or_the_one_that_is_set(settings: dict[str, str], host: str, there: str) -> None:
    assert located({}, get(host), redirectScheme=settings) == (f"{there}/x?a=1;b=2" if there else "")


def test_a_query_is_told_as_it_came_but_in_ascii() -> None:
    regex = {"regex": "^http://([^/]+)/(.*)", "replacement": "https://$1/new/$2"}
    assert located({}, get(), redirectRegex=regex) == "https://shop.test/new/x?a=1;b=2"
    request = get(target="/x?a").replace(b"?a", b"?\xff;%zz")
    assert located({}, request, redirectScheme={"scheme": "https"}) == "https://shop.test/x?%FF;%zz"
