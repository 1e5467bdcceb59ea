"""errors: pages of a service in place of answers."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from lbcore.config.middlewares.errors import Errors as Config
from lbcore.middleware.errors import Errors
from tests.support.ports import free_port
from tests.support.recorder import GET, Recorder, config, post, recorders
from tests.support.wire import Peer, edge, serving


def paged(pages: str, url: str, **options: Any) -> dict[str, Any]:
    """A server, and another one that has the pages."""
    dynamic = config({}, all=url, pages=pages)
    dynamic["http"]["middlewares"] = {"pages": {"errors": {"service": "pages", "status": ["500-599"], **options}}}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["pages"]
    return dynamic


def fails(server: Recorder, status: int = 503) -> None:
    server.answer = lambda *request: (status, b"the server's own")


def test_the_page_has_the_status_of_the_answer_and_its_own_headers() -> None:
    with recorders("a", "page") as (a, page), edge(paged(page.url, a.url, query="/{status}.html?u={url}")) as lb:
        fails(a)
        client = lb.client()
        for request in (GET.replace(b"/x", b"/x%20y?a=b&c"), post(b"x" * 100_000)):
            first, headers, text = client.ask(request)
            assert (first.split()[1], headers["x-from"], text) == ("503", "page", b"page")
        first, headers, _ = page.requests[0]
        assert first == "GET /503.html?u=http%3A%2F%2Fshop.test%2Fx%2520y%3Fa%3Db%26c HTTP/1.1"
        assert headers["host"] == "shop.test"
        first, headers, body = page.requests[1]
        assert (first.split()[0], body, "content-length" in headers) == ("GET", b"", False)
        fails(a, 499)
        assert client.ask(GET)[2] == b"the server's own"
        assert len(page.requests) == 2


def test_rewritten_statuses() -> None:
    rewrites = {"500-502": 418, "503": 200}
    with recorders("a", "page") as (a, page):
        with edge(paged(page.url, a.url, query="{status}/{originalStatus}", statusRewrites=rewrites)) as lb:
            for given, told in ((500, 418), (503, 200), (504, 504)):
                fails(a, given)
                assert lb.ask(GET)[0].split()[1] == str(told)
                assert page.requests[-1][0] == f"GET /{told}/{given} HTTP/1.1"


def test_headers_of_the_request_for_the_page() -> None:
    asked = GET.replace(b"\r\n\r\n", b"\r\nX-One: 1\r\nX-Two: 2\r\n\r\n")
    for options, kept in (({}, {"x-one", "x-two"}), ({"errorRequestHeaders": ["X-two"]}, {"x-two"})):
        with recorders("a", "page") as (a, page), edge(paged(page.url, a.url, **options)) as lb:
            fails(a)
            lb.ask(asked)
            headers = page.requests[0][1]
            assert {"x-one", "x-two"} & set(headers) == kept
            assert headers["host"] == "shop.test"


def test_of_what_is_said_about_a_client_the_page_gets_what_is_listed() -> None:
    """As in Traefik, that is said of a whole request alone."""
    asked = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 10.0.0.1\r\nX-Real-Ip: 10.0.0.1\r\n\r\n")
    everything = {f"x-forwarded-{what}" for what in ("for", "host", "port", "proto", "server")} | {"x-real-ip"}
    for listed, kept in ((None, everything), ([], set()), (["x-forwarded-PROTO"], {"x-forwarded-proto"})):
        options = {} if listed is None else {"errorRequestHeaders": listed}
        for point in ({}, {"forwardedHeaders": {"insecure": True}}):  # of an entry point
            with recorders("a", "page") as (a, page), edge(paged(page.url, a.url, **options), **point) as lb:
                fails(a)
                lb.ask(asked)
                assert everything & set(a.requests[0][1]) == everything
                assert everything & set(page.requests[0][1]) == kept


@pytest.mark.parametrize("said", ["https", "HTTPS", "wss", "ws", "http", "", "x"])
def test_the_url_has_the_scheme_by_which_the_client_has_come(said: str) -> None:
    """To a trusted proxy in front, or as another middleware says."""
    asked = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-Proto: %s\r\n\r\n" % said.encode())
    told = "https" if said.lower() in ("https", "wss") else "http"
    for trusted, set_here in ((False, False), (True, False), (False, True)):
        with recorders("a", "page") as (a, page):
            config = paged(page.url, a.url, query="/?{url}")
            if set_here:
                config["http"]["middlewares"]["says"] = {
                    "headers": {"customRequestHeaders": {"X-Forwarded-Proto": said}}
                }
                config["http"]["routers"]["all"]["middlewares"] = ["says", "pages"]
            with edge(config, forwardedHeaders={"insecure": trusted}) as lb:
                fails(a)
                lb.ask(asked)
                scheme = told if trusted or set_here else "http"
                assert page.requests[0][0] == f"GET /?{scheme}%3A%2F%2Fshop.test%2Fx HTTP/1.1"


def test_spaces_of_a_query_are_encoded() -> None:
    with recorders("a", "page") as (a, page), edge(paged(page.url, a.url, query="/not here?a=b c&u={url}#x y")) as lb:
        fails(a)
        assert lb.ask(GET)[2] == b"page"
        assert page.requests[0][0] == "GET /not%20here?a=b%20c&u=http%3A%2F%2Fshop.test%2Fx HTTP/1.1"


def test_answers_of_lbcores_own_have_pages_too() -> None:
    with recorders("page") as (page,), edge(paged(page.url, f"http://127.0.0.1:{free_port()}")) as lb:
        first, _, text = lb.ask(GET)
        assert (first.split()[1], text) == ("502", b"page")


def test_a_head_request_is_told_the_length_of_the_page() -> None:
    with recorders("page") as (page,), edge(paged(page.url, f"http://127.0.0.1:{free_port()}")) as lb:
        client = lb.client()
        client.send(GET.replace(b"GET", b"HEAD", 1))
        first, headers, _ = client.message(body=False)
        assert (first.split()[1], headers["content-length"]) == ("502", "4")
        assert client.ask(GET)[2] == b"page"


@pytest.mark.parametrize("trouble", ["refused", "endless", "long"])
def test_a_page_that_cannot_be_had(trouble: str) -> None:
    def script(peer: Peer) -> None:
        peer.message()
        size = 5_000_000 if trouble == "long" else 10
        with contextlib.suppress(ConnectionError):  # one that is too long is not read to its end
            peer.send(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n" % size + bytes(size - 1))
        if trouble == "endless":
            peer.close()

    with recorders("a") as (a,), serving(script) as server:
        url = f"http://127.0.0.1:{free_port()}" if trouble == "refused" else server.url
        with edge(paged(url, a.url)) as lb:
            fails(a)
            client = lb.client()
            first, _, text = client.ask(GET)
            assert (first.split()[1], text) == ("503", b"Bad Gateway")


def test_hop_by_hop_headers_of_the_page_do_not_pass() -> None:
    def script(peer: Peer) -> None:
        peer.message()
        peer.send(
            b"HTTP/1.1 200 X\r\nConnection: X-Mine, close\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n"
            b"X-Kept: 1\r\n\r\n4\r\npage\r\n0\r\n\r\n"
        )

    with recorders("a") as (a,), serving(script) as server, edge(paged(server.url, a.url)) as lb:
        fails(a)
        client = lb.client()
        for _ in range(2):
            first, headers, text = client.ask(GET)
            assert (first.split()[1], headers["x-kept"], headers["content-length"], text) == ("503", "1", "4", b"page")
            assert not {"connection", "keep-alive", "transfer-encoding"} & set(headers)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"status": ["x"]}, "neither a status nor a range"),
        ({"status": ["500"], "statusRewrites": {"500": 99}}, "99 is not the status of an answer"),
        ({"status": ["500"], "statusRewrites": {"5xx": 500}}, "neither a status nor a range"),
    ],
)
def test_what_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Errors("pages@file", Config.model_validate({"service": "a", **options}))
