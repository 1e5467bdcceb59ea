"""Modifiers of headers, requestRedirect and urlRewrite: what servers are asked, and what clients are told."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.middlewares import Middleware
from tests.support.recorder import through
from tests.support.wire import Peer, edge, serving

ANSWER = b"HTTP/1.1 200 X\r\nX-Set: server\r\nX-Add: server\r\nX-Gone: server\r\nContent-Length: 2\r\n\r\nok"


def exchange(request: bytes, *middlewares: dict[str, Any]) -> tuple[str, bytes]:
    """The head that a server got (empty: none), and the answer's."""
    seen: list[str] = []

    def script(peer: Peer) -> None:
        seen.append(peer.until(b"\r\n\r\n").decode())
        peer.send(ANSWER)

    with serving(script) as server, edge(through(server.url, *middlewares)) as lb:
        client = lb.client()
        client.send(request)
        answer = client.until(b"\r\n\r\n")
        return (seen or [""])[0], answer


def lines(head: str | bytes, name: str) -> list[str]:
    text = head if isinstance(head, str) else head.decode()
    pairs = (line.partition(": ") for line in text.split("\r\n")[1:])
    return [value for key, _, value in pairs if key.lower() == name]


def get(target: str = "/", *headers: str, host: str = "h") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


MODIFIER = {"set": {"X-Set": "new"}, "add": {"x-add": "more"}, "remove": ["X-Gone"]}


def test_headers_of_requests_are_set_added_and_removed() -> None:
    request = get("/", "x-set: a", "X-SET: b", "X-Add: c", "x-gone: d")
    asked, told = exchange(request, {"requestHeaderModifier": MODIFIER})
    assert (lines(asked, "x-set"), lines(asked, "x-add"), lines(asked, "x-gone")) == (["new"], ["c", "more"], [])
    assert (lines(told, "x-set"), lines(told, "x-gone")) == (["server"], ["server"])
    asked, _ = exchange(get(), {"requestHeaderModifier": MODIFIER})
    assert (lines(asked, "x-set"), lines(asked, "x-add")) == (["new"], ["more"])


def test_headers_of_answers_are_set_added_and_removed() -> None:
    asked, told = exchange(get("/", "x-set: a"), {"responseHeaderModifier": MODIFIER})
    assert (lines(told, "x-set"), lines(told, "x-add"), lines(told, "x-gone")) == (["new"], ["server", "more"], [])
    assert lines(asked, "x-set") == ["a"] and lines(asked, "x-add") == []


def test_managed_headers_are_those_that_are_set() -> None:
    modifier = {"set": {"X-Forwarded-Proto": "https"}, "remove": ["X-Real-Ip"]}
    asked, _ = exchange(get(), {"requestHeaderModifier": modifier})
    assert lines(asked, "x-forwarded-proto") == ["https"] and lines(asked, "x-real-ip") == []


@pytest.mark.parametrize("kind", ["requestHeaderModifier", "responseHeaderModifier"])
@pytest.mark.parametrize(
    "settings",
    [
        {"set": {"Content-Length": "3"}},
        {"add": {"Transfer-Encoding": "chunked"}},
        {"set": {"a b": "c"}},
        {"add": {"X-A": "b\r\nX-C: d"}},
        {"remove": ["Connection"]},
    ],
    ids=["length", "framing", "name", "value", "connection"],
)
def test_what_would_break_a_message_is_refused(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Middleware.model_validate({kind: settings})


# Of the table in the description of HTTPRoute
PREFIXES = [
    ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
    ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
    ("/foo", "/foo", "/xyz", "/xyz"),
    ("/foo/", "/foo", "/xyz", "/xyz/"),
    ("/foo/bar", "/foo", "", "/bar"),
    ("/foo/", "/foo", "", "/"),
    ("/foo", "/foo", "", "/"),
    ("/foo/", "/foo", "/", "/"),
    ("/foo", "/foo", "/", "/"),
    ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
    ("/", "/", "/xyz", "/xyz/"),
    ("/foobar", "/foo", "/xyz", "/foobar"),
    ("/f%C3%B6/a%2Fb", "/fö", "/ä", "/%C3%A4/a%2Fb"),
]


@pytest.mark.parametrize(("path", "prefix", "by", "wanted"), PREFIXES)
def test_a_prefix_is_replaced_at_slashes(path: str, prefix: str, by: str, wanted: str) -> None:
    settings = {"path": by, "pathPrefix": prefix}
    asked, _ = exchange(get(f"{path}?q=1"), {"urlRewrite": settings})
    assert asked.split()[1] == f"{wanted}?q=1"
    _, told = exchange(get(f"{path}?q=1"), {"requestRedirect": settings})
    assert lines(told, "location") == [f"http://h{wanted}?q=1"]


def test_a_whole_path_and_a_host_are_rewritten() -> None:
    asked, _ = exchange(get("/a/b?q=1"), {"urlRewrite": {"path": "/new", "hostname": "other.test"}})
    assert asked.split()[1] == "/new?q=1" and lines(asked, "host") == ["other.test"]
    assert lines(asked, "x-forwarded-host") == ["h"] and lines(asked, "x-replaced-path") == []
    asked, _ = exchange(get("/a/b"), {"urlRewrite": {"hostname": "other.test"}})
    assert asked.split()[1] == "/a/b" and lines(asked, "host") == ["other.test"]


@pytest.mark.parametrize(
    ("settings", "host", "location"),
    [
        ({}, "h", "http://h/a?q"),
        ({}, "h:8080", "http://h:8080/a?q"),
        ({"scheme": "https"}, "h:8080", "https://h/a?q"),
        ({"scheme": "https", "port": 8443}, "h", "https://h:8443/a?q"),
        ({"scheme": "https", "port": 443}, "h", "https://h/a?q"),
        ({"port": 80}, "h:8080", "http://h/a?q"),
        ({"hostname": "other.test"}, "h:8080", "http://other.test:8080/a?q"),
        ({"hostname": "other.test", "path": "/new"}, "h", "http://other.test/new?q"),
        ({"scheme": "http"}, "[::1]:8080", "http://[::1]/a?q"),
        ({}, "[::1]", "http://[::1]/a?q"),
    ],
)
def test_an_address_is_redirected_by_its_parts(settings: dict[str, Any], host: str, location: str) -> None:
    asked, told = exchange(get("/a?q", host=host), {"requestRedirect": settings})
    assert not asked and lines(told, "location") == [location] and told.startswith(b"HTTP/1.1 302 Found\r\n")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_has_the_status_that_it_names(status: int) -> None:
    _, told = exchange(get(), {"requestRedirect": {"statusCode": status}})
    assert told.split()[1] == b"%d" % status


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("requestRedirect", {"statusCode": 304}),
        ("requestRedirect", {"hostname": "a/b"}),
        ("requestRedirect", {"pathPrefix": "/a"}),
        ("urlRewrite", {}),
        ("urlRewrite", {"hostname": "a\r\nb"}),
        ("urlRewrite", {"hostname": "a", "pathPrefix": "/a"}),
    ],
)
def test_settings_that_mean_nothing_are_refused(kind: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Middleware.model_validate({kind: settings})


@pytest.mark.parametrize("kind", ["requestHeaderModifier", "responseHeaderModifier"])
@pytest.mark.parametrize("what", [{"set": {"": "x"}}, {"add": {"": "x"}}, {"remove": [""]}], ids=["set", "add", "gone"])
def test_a_header_without_a_name_is_refused(kind: str, what: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the name of a header is empty"):
        Middleware.model_validate({kind: what})
