"""Attempts that a route wants beside lbcore's own."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from lbcore.middleware.base import Tries
from tests.support.instance import eventually
from tests.support.native import native, replaced_by
from tests.support.ports import free_port
from tests.support.recorder import GET, Recorder, config, counters, post, recorders
from tests.support.wire import edge
from tests.wire.test_waiting import idle


@pytest.fixture(name="trying")
def known_trying(monkeypatch: pytest.MonkeyPatch) -> Any:
    return replaced_by(monkeypatch, native("limits").Trying("trying@file"))


def tried(services: dict[str, Any], **urls: str) -> dict[str, Any]:
    dynamic = config(services, **urls)
    dynamic["http"]["middlewares"] = {"trying": {"addPrefix": {"prefix": "/unused"}}}
    dynamic["http"]["routers"]["all"]["middlewares"] = ["trying"]
    return dynamic


def answers(server: Recorder, *statuses: int) -> None:
    left = list(statuses)
    server.answer = lambda *request: (left.pop(0), b"%d" % len(left))


@pytest.mark.parametrize("body", [b"", os.urandom(200_000)], ids=["empty", "long"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_route_may_want_another_answer(trying: Any, body: bytes, chunked: bool) -> None:
    trying.tries = Tries(3, [(500, 503)], repeats_unsafe=True)
    request = post(body, chunked) if body else GET
    with recorders("a") as (a,), edge(tried({}, all=a.url)) as lb:
        answers(a, 503, 500, 200, 404, 503, 503, 502)
        client = lb.client()
        assert client.ask(request)[0].split()[1] == "200"
        assert [item[4] for item in trying.attempts[-1]] == [503, 500, 200]
        assert client.ask(request)[0].split()[1] == "404"
        assert client.ask(request)[0].split()[1] == "502"  # the third one stands
        assert len(a.requests) == 7 and {asked[2] for asked in a.requests} == {body}
        assert a.connections == 1
        assert counters(lb, f"all@file|{a.url}").retries == 4
        idle(lb, a)
        assert lb.proxy._region.body_memory == 0  # type: ignore[union-attr]


def test_attempts_have_their_bounds(trying: Any) -> None:
    with recorders("a") as (a,), edge(tried({}, all=a.url)) as lb:
        a.answer = lambda *request: (503, b"no")
        trying.tries = Tries(4, [(503, 503)])
        lb.ask(post(b"x"))  # not idempotent
        assert len(a.requests) == 1
        trying.tries = Tries(4, [(503, 503)], repeats_unsafe=True, max_body_bytes=1000)
        assert lb.ask(post(b"x" * 1001))[0].split()[1] == "503"
        assert len(a.requests) == 2
        trying.tries = Tries(9, [(503, 503)], pause_ms=100, within_ms=2500)
        begun = time.monotonic()
        assert lb.ask(GET)[0].split()[1] == "503"
        assert 3 <= len(a.requests) - 2 <= 5  # at 0, 100, 300, 700, 1500 ms; the next one would be too late
        assert time.monotonic() - begun >= 0.299
        idle(lb, a)


def test_a_route_may_set_how_many_servers_are_tried(trying: Any) -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(5)]
    with recorders("a") as (a,):
        servers = {"loadBalancer": {"servers": [{"url": url} for url in (*dead, a.url)]}}
        with edge(tried({"all": servers})) as lb:
            assert lb.ask(GET)[0].split()[1] == "502"  # three of them
            lb.apply(tried({"all": {"loadBalancer": {**servers["loadBalancer"], "strategy": "wrr"}}}))
            trying.tries = Tries(6)
            for _ in range(6):
                assert lb.ask(GET)[2] == b"a"
            idle(lb, a)


def test_a_pause_ends_with_its_client(trying: Any) -> None:
    trying.tries = Tries(2, [(503, 503)], pause_ms=20_000)
    with recorders("a") as (a,), edge(tried({}, all=a.url)) as lb:
        a.answer = lambda *request: (503, b"no")
        client = lb.client()
        client.send(GET)
        eventually(lambda: len(a.requests) == 1, "it was asked")
        idle(lb, a)
        client.close()
        eventually(lambda: trying.under_way == [], "the exchange is over")
        assert len(a.requests) == 1
