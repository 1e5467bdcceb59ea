"""Slow start over real sockets: a server that is added or comes back gets little at first, then its share."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from lbcore.remote.show import label
from tests.support.instance import eventually
from tests.support.recorder import GET, Recorder, recorders
from tests.support.wire import Edge, edge

STATIC = {"api": {"insecure": True, "token": "let-me-change-weights"}}
POINTS = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}


def pool(*servers: Recorder, strategy: str = "wrr", duration: str = "60s", **more: Any) -> dict[str, Any]:
    listed = [{"url": server.url} for server in servers]
    slowly = {"duration": duration, "minWeightPercent": 10}
    settings = {"servers": listed, "strategy": strategy, "slowStart": slowly, **more}
    routers = {"all": {"rule": "PathPrefix(`/`)", "service": "all"}}
    return {"http": {"routers": routers, "services": {"all": {"loadBalancer": settings}}}}


def ask(lb: Edge, count: int) -> Counter[str]:
    client = lb.client()
    with contextlib.closing(client):
        return Counter(client.ask(GET)[2].decode() for _ in range(count))


def health(lb: Edge) -> Any:
    url = f"{lb.proxy.url('traefik')}/api/http/services/all@file"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["health"]


def member(lb: Edge, number: int) -> Any:
    node = health(lb)
    return (node.get("servers") or node["children"])[number]


def put_weights(lb: Edge, weights: Mapping[str, int]) -> None:
    request = urllib.request.Request(
        f"{lb.proxy.url('traefik')}/api/http/services/all@file/weights",
        json.dumps(weights).encode(),
        {"Authorization": "Bearer let-me-change-weights"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("strategy", ["wrr", "p2c", "leastconn"])
def test_a_server_that_a_reload_adds_gets_its_share_step_by_step(strategy: str) -> None:
    with recorders("old", "new") as (old, new), edge(pool(old, strategy=strategy), POINTS, STATIC) as lb:
        ask(lb, 10)
        lb.apply(pool(old, new, strategy=strategy))
        found = ask(lb, 280)
        # 12 parts of 128 to begin with; a step more is 19 of them.
        assert 22 <= found["new"] <= 45
        assert found["old"] + found["new"] == 280
        assert 10 <= member(lb, 1)["slowStartPercent"] <= 20
        assert 0.09 <= member(lb, 1)["effectiveWeight"] <= 0.21
        assert "slow start: 1" in label(member(lb, 1)).plain


def test_it_ends_with_the_whole_weight() -> None:
    with recorders("old", "new") as (old, new), edge(pool(old, duration="300ms"), POINTS, STATIC) as lb:
        lb.apply(pool(old, new, duration="300ms"))
        assert "slowStartPercent" in member(lb, 1)
        eventually(lambda: "slowStartPercent" not in member(lb, 1), "the ramp is over")
        assert ask(lb, 40) == {"old": 20, "new": 20}
        assert member(lb, 1)["effectiveWeight"] == 1


def test_at_the_start_every_server_has_its_full_weight() -> None:
    with recorders("one", "two") as (one, two), edge(pool(one, two), POINTS, STATIC) as lb:
        assert ask(lb, 20) == {"one": 10, "two": 10}
        lb.apply(pool(one, two))
        assert ask(lb, 20) == {"one": 10, "two": 10}


def test_a_server_that_recovers_has_little_from_the_first_request_on() -> None:
    check = {"path": "/health", "interval": "50ms", "timeout": "1s"}
    with recorders("one", "two") as (one, two):
        with edge(pool(one, two, healthCheck=check), POINTS, STATIC) as lb:
            ill = False
            two.answer = lambda first, headers, body: (503 if ill and "health" in first else 200, two.name)
            ill = True
            eventually(lambda: member(lb, 1)["status"] == "DOWN", "the check fails")
            assert ask(lb, 10) == {"one": 10}
            ill = False
            client, got = lb.client(), Counter[str]()
            while not got["two"]:
                got[client.ask(GET)[2].decode()] += 1
            got += Counter(client.ask(GET)[2].decode() for _ in range(140))
            assert got["two"] <= 25
            client.close()


def test_a_server_that_was_ejected_comes_back_slowly() -> None:
    passive = {"maxFailedAttempts": 1, "failureWindow": "200ms"}
    with recorders("one", "two") as (one, two):
        with edge(pool(one, two, passiveHealthCheck=passive), POINTS, STATIC) as lb:
            two.answer = lambda first, headers, body: (500, b"ill")
            eventually(lambda: ask(lb, 4)["ill"], "it fails")
            eventually(lambda: member(lb, 1)["status"] == "DOWN", "it is out")
            two.answer = lambda first, headers, body: (200, b"two")
            eventually(lambda: member(lb, 1)["status"] == "UP", "it is back")
            assert ask(lb, 140)["two"] <= 25
            assert member(lb, 1)["slowStartPercent"] <= 20


def test_weights_by_hand_count_as_far_as_the_ramp_is() -> None:
    with recorders("old", "new") as (old, new), edge(pool(old), POINTS, STATIC) as lb:
        lb.apply(pool(old, new))
        put_weights(lb, {new.url: 10})
        found = ask(lb, 450)
        assert 180 <= found["new"] <= 300  # 1 to 2 of 2 to 3
        assert member(lb, 1)["overriddenWeight"] == 10
        put_weights(lb, {new.url: 0})
        assert ask(lb, 20) == {"old": 20}
        put_weights(lb, {new.url: 5})
        lb.apply(pool(old, new))
        assert member(lb, 1)["slowStartPercent"] >= 10


def test_a_child_service_that_is_added_or_up_again_starts_slowly() -> None:
    check = {"path": "/health", "interval": "50ms"}

    def tree(*names: str) -> dict[str, Any]:
        children = [{"name": name} for name in names]
        weighted = {"services": children, "healthCheck": {}, "slowStart": {"duration": "60s"}}
        leaves = {
            server.name.decode(): {"loadBalancer": {"servers": [{"url": server.url}], "healthCheck": check}}
            for server in (old, new)
        }
        routers = {"all": {"rule": "PathPrefix(`/`)", "service": "all"}}
        return {"http": {"routers": routers, "services": {"all": {"weighted": weighted}, **leaves}}}

    with recorders("old", "new") as (old, new), edge(tree("old"), POINTS, STATIC) as lb:
        lb.apply(tree("old", "new"))
        assert 10 <= ask(lb, 140)["new"] <= 25
        assert 10 <= member(lb, 1)["slowStartPercent"] <= 20
        old.answer = lambda first, headers, body: (503, b"ill")
        eventually(lambda: member(lb, 0)["status"] == "DOWN", "one is down")
        assert ask(lb, 10) == {"new": 10}
        old.answer = lambda first, headers, body: (200, b"old")
        eventually(lambda: member(lb, 0)["status"] == "UP", "it is up again")
        assert 10 <= member(lb, 0)["slowStartPercent"] <= 20


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"duration": "0s"}, "100ms or more"),
        ({"aggression": 0}, "greater than 0"),
        ({"minWeightPercent": 0}, "greater than or equal to 1"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], problem: str) -> None:
    with recorders("one") as (one,), pytest.raises(ValueError, match=problem):
        with edge(pool(one, slowStart=settings)):
            pass
