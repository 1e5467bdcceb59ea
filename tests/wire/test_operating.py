"""The ping and the memory of an instance inside of another program, which decides about its log and its end itself."""

from __future__ import annotations

import os
from typing import Any

from tests.support.recorder import config, recorders
from tests.support.wire import Edge
from tests.wire.test_observability import TOKEN, api, watched

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def ping_of(lb: Edge) -> int:
    client = lb.client("traefik")
    first, _, body = client.ask(PING)
    client.close()
    assert body == b"OK"
    return int(first.split()[1])


def set_ping(lb: Edge, action: str) -> tuple[int, Any]:
    return api(lb, "/api/ping", "POST", {"action": action}, TOKEN)[:2]


def test_a_ping_fails_by_hand_over_a_new_configuration_and_is_taken_back() -> None:
    with recorders("a") as (a,):
        dynamic = config({}, all=a.url)
        with watched(dynamic, ping={"terminatingStatusCode": 500}) as lb:
            assert ping_of(lb) == 200
            assert set_ping(lb, "fail")[0] == 200
            assert ping_of(lb) == 500
            dynamic["http"]["routers"]["more"] = {"rule": "Path(`/more`)", "service": "all", "entryPoints": ["web"]}
            lb.apply(dynamic)
            assert ping_of(lb) == 500
            assert api(lb, "/api/ping")[1]["failsSince"]
            assert [each["object"] for each in api(lb, "/api/state")[1]["problems"]] == ["ping"]
            assert set_ping(lb, "ok")[0] == 200
            assert ping_of(lb) == 200
            assert api(lb, "/api/state")[1]["problems"] == []


def test_a_ping_whose_failure_nobody_would_see_cannot_fail() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url), ping={"terminatingStatusCode": 204}) as lb:
        status, found = set_ping(lb, "fail")
        assert status == 400 and "ping.terminatingStatusCode is 204" in found["message"]
        assert ping_of(lb) == 200


def test_log_and_end_are_those_of_the_program_around_it() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb:
        for method, path, body in (
            ("GET", "/api/log-level", None),
            ("PUT", "/api/log-level", {"level": "DEBUG"}),
            ("DELETE", "/api/log-level", None),
            ("POST", "/api/stop", None),
            ("GET", "/api/ping", None),
        ):
            status, found, _ = api(lb, path, method, body, TOKEN)
            assert status == 400 and found["message"], (method, path)
        info = api(lb, "/api/info")[1]
        assert (info["log"], info["ping"], info["end"]) == (None, None, None)


def test_the_memory_of_the_only_process_is_told_at_most_once_a_second() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb:
        status, found, _ = api(lb, "/api/memory")
        assert status == 200
        own = found["processes"][0]
        assert own["pid"] == os.getpid() and own["residentBytes"] > 0
        assert own["connections"]["clients"] >= 1, "the one that asks"
        assert own["kept"]["bufferBytes"] >= 0
