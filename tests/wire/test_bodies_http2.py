"""Middlewares that see bodies, for clients of HTTP/2: compress, buffering, contentType, errors, timeout, retry."""

from __future__ import annotations

import os

import pytest

from tests.support.http2 import Answer, Http2Client, request
from tests.support.recorder import config, recorders, through
from tests.support.wire import edge
from tests.wire.test_compress import CODINGS, TEXT, decoder
from tests.wire.test_content_type import PNG
from tests.wire.test_http2 import client


def ask(h2: Http2Client, method: str, body: bytes) -> Answer:
    stream = h2.open()
    h2.headers(stream, request(method), end=False)
    h2.upload(stream, body)
    return h2.answer(stream)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [2000, 3_000_000])
def test_encoded_answers(coding: str, size: int) -> None:
    body = (TEXT * (size // len(TEXT) + 1))[:size]
    with recorders("a") as (a,), edge(through(a.url, {"compress": {}})) as lb, client(lb) as h2:
        a.answer = lambda *asked: (200, body)
        for _ in range(3):
            answer = h2.ask("GET", "/", ("accept-encoding", coding))
            assert (answer.status, answer.head["content-encoding"]) == (200, coding)
            assert "content-length" not in answer.head
            assert decoder(coding)(answer.body) == body


@pytest.mark.parametrize("size", [0, 1, 200_000])
def test_whole_bodies(size: int) -> None:
    body = os.urandom(size)
    middlewares = {"compress": {}}, {"buffering": {"maxRequestBodyBytes": 200_000}}, {"contentType": {}}
    with recorders("a") as (a,), edge(through(a.url, *middlewares)) as lb, client(lb) as h2:
        a.answer = lambda first, headers, text: (200, PNG + text)
        for _ in range(3):
            answer = ask(h2, "POST", body)
            assert (answer.status, answer.body) == (200, PNG + body)
            assert (answer.head["content-type"], answer.head["content-length"]) == ("image/png", str(size + 8))
            assert a.requests[-1][2] == body
        stream = h2.open()
        h2.headers(stream, request("POST", "/", ("content-length", "200001")), end=False)
        refused = h2.answer(stream)
        assert (refused.status, refused.body) == (413, b"Request Entity Too Large")


def test_further_attempts_and_pages() -> None:
    body = os.urandom(100_000)
    with recorders("a", "page") as (a, page):
        dynamic = config({}, all=a.url, pages=page.url)
        dynamic["http"]["middlewares"] = {
            "pages": {"errors": {"service": "pages", "status": ["503"]}},
            "again": {"retry": {"attempts": 3, "status": ["503"]}},
        }
        dynamic["http"]["routers"]["all"]["middlewares"] = ["pages", "again"]
        a.answer = lambda *asked: (503, b"no")
        with edge(dynamic) as lb, client(lb) as h2:
            answer = ask(h2, "PUT", body)
            assert (answer.status, answer.body) == (503, b"page")
            assert [asked[2] == body for asked in a.requests] == [True] * 3


def test_what_is_answered_as_soon_as_the_request_is_complete() -> None:
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    limit = {"rateLimit": {"average": 1, "period": "1h"}}
    dynamic["http"]["middlewares"] = {"whole": {"buffering": {}}, "limit": limit}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["whole", "limit"]
    with edge(dynamic) as lb, client(lb) as h2:
        for status in (503, 429, 429):
            assert ask(h2, "POST", b"x" * 100_000).status == status
