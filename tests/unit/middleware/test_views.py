"""What classes in Python see and give: headers as a multi-mapping, and nothing that could end a line."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.middleware_api import Headers, Request, Response


def some() -> Headers:
    return Request(headers=[("X-A", "1"), ("x-b", "2"), ("X-a", "3")]).headers


def test_headers_of_a_name_are_found_in_any_case_and_in_order() -> None:
    headers = some()
    assert (headers["x-a"], headers.get("X-A"), headers.getall("x-A")) == ("1", "1", ["1", "3"])
    assert (headers.get("X-C"), headers.get("X-C", "none"), headers.getall("X-C")) == (None, "none", [])
    assert headers.get("") is None and headers.get("\udc80") is None
    assert "X-B" in headers and "X-C" not in headers and 3 not in headers
    with pytest.raises(KeyError):
        headers["X-C"]
    assert len(headers) == 4 and list(headers) == headers.keys() == ["Host", "X-A", "x-b", "X-a"]
    assert headers.items() == list(zip(headers.keys(), headers.values(), strict=True))
    assert headers.values() == ["localhost", "1", "2", "3"]


def test_headers_are_set_added_and_removed() -> None:
    headers = some()
    headers["X-A"] = " 4\t"
    assert headers.getall("x-a") == ["4"] and len(headers) == 3
    headers.add("x-a", "5")
    assert headers.getall("X-A") == ["4", "5"]
    assert headers.pop("X-A") == "4" and "x-a" not in headers
    assert headers.pop("X-A", None) is None
    with pytest.raises(KeyError):
        headers.pop("X-A")
    assert headers.setdefault("X-B", "9") == "2" and headers.setdefault("X-D", "9") == "9"
    headers.update({"X-B": "8", "X-E": ""})
    assert headers.items()[1:] == [("X-D", "9"), ("X-B", "8"), ("X-E", "")]
    del headers["x-b"]
    with pytest.raises(KeyError):
        del headers["x-b"]
    headers["host"] = "other"
    assert headers.getall("Host") == ["other"]
    for wrong in (lambda: headers.add("Host", "third"), lambda: headers.pop("Host")):
        with pytest.raises(ValueError, match="Host"):
            wrong()


def test_headers_that_a_trusted_proxy_has_set_can_be_removed() -> None:
    headers = Request(headers={"X-Forwarded-For": "192.0.2.1"}).headers
    del headers["X-Forwarded-For"]
    assert "X-Forwarded-For" not in headers and headers.keys() == ["Host"]


def test_text_that_is_not_utf8_comes_back_as_it_was() -> None:
    headers = Request(headers={"X-A": "Grüße \udcff"}).headers
    assert headers["X-A"] == "Grüße \udcff"


@pytest.mark.parametrize("name", ["", "X Y", "X:", "X\r\nY", "X\0", "é", "(X)", "\udc80"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    headers = some()
    before = headers.items()
    for change in (headers.__setitem__, headers.add, headers.setdefault):
        with pytest.raises(ValueError, match="not the name"):
            change(name, "1")
    assert headers.items() == before


@pytest.mark.parametrize("value", ["a\r\nX-B: b", "a\nb", "a\rb", "a\0b", "a\x0bb", "a\x7fb"])
def test_a_value_that_ends_its_line_is_refused(value: str) -> None:
    for headers in (some(), Response(headers={"X-A": "1"}).headers):
        before = headers.items()
        for change in (headers.__setitem__, headers.add):
            with pytest.raises(ValueError, match="control characters"):
                change("X-A", value)
        assert headers.items() == before
    with pytest.raises(ValueError, match="control characters"):
        Response(headers={"X-A": value})


OF_LBCORE = "Content-Length transfer-encoding Connection Upgrade TE Trailer Keep-Alive Expect Proxy-Connection"


@pytest.mark.parametrize("name", OF_LBCORE.split())
def test_what_frames_a_message_is_lbcores(name: str) -> None:
    for headers in (some(), Response().headers):
        with pytest.raises(ValueError, match="lbcore writes it"):
            headers[name] = "1"


def test_a_header_is_a_text() -> None:
    headers: Any = some()
    for wrong in (lambda: headers.get(None), lambda: headers.__setitem__("X-A", 3), lambda: headers.add(b"X-A", "3")):
        with pytest.raises(TypeError):
            wrong()


def test_a_request_is_what_its_url_says() -> None:
    request = Request("POST", "https://Shop.example:8443/a/../b%20c?d=e", body=b"{}", client="2001:db8::1")
    assert (request.method, request.scheme, request.host) == ("POST", "https", "shop.example")
    assert (request.path, request.query, request.version) == ("/b%20c", "d=e", "HTTP/1.1")
    assert (request.client, request.body, request.user) == ("2001:db8::1", b"{}", None)
    assert request.headers["Host"] == "Shop.example:8443"
    request.state["seen"] = True
    assert request.state == {"seen": True}
    request.user = "ann"
    assert request.user == "ann"
    assert repr(request) == "<Request POST shop.example/b%20c>"
    for wrong in (("GE T", "/"), ("GET", "/a b"), ("GET", "//a b/")):
        with pytest.raises(ValueError):
            Request(*wrong)


def test_path_and_query_can_be_changed() -> None:
    request = Request(url="/a?b=c")
    request.path, request.query = "/ü/../é", ""
    assert (request.path, request.query) == ("/%C3%A9", "")
    request.query = "x=%0D;y=ü"
    assert request.query == "x=%0D;y=%C3%BC"
    refused = {"path": ("x", "", "/a b", "/a\r\nX: y", "/a?b", "/a\0"), "query": ("a b", "a\r\n", "a#b", "a\0")}
    for name, values in refused.items():
        for value in values:
            with pytest.raises(ValueError):
                setattr(request, name, value)
    assert (request.path, request.query) == ("/%C3%A9", "x=%0D;y=%C3%BC")


def test_answers() -> None:
    answer = Response(403, "nö", {"X-A": "1"})
    assert (answer.status, answer.body) == (403, "nö".encode())
    assert answer.headers.items() == [("X-A", "1"), ("Content-Type", "text/plain; charset=utf-8")]
    assert Response(200, "{}", {"content-type": "text/json"}).headers.getall("Content-Type") == ["text/json"]
    assert Response().status == 200 and len(Response(body=bytearray(b"x")).headers) == 0
    answer.status = 404
    assert answer.status == 404
    for wrong in (100, 199, 600, 101):
        with pytest.raises(ValueError, match="final answer"):
            Response(wrong)
    for status in (204, 304):
        with pytest.raises(ValueError, match="has no body"):
            Response(status, "x")
        with pytest.raises(ValueError, match="cannot become"):
            answer.status = status
    assert answer.status == 404
    text: Any = 3
    with pytest.raises(TypeError):
        Response(200, text)
