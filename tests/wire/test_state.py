"""What `/api/state` calls lost or degraded: services at both layers, whatever takes their servers away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lbcore.health.audit import SURE
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import recorders
from tests.support.wire import Edge, edge
from tests.wire.test_health import check, patients

TOKEN = "a token of some length"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@contextmanager
def watched(http: dict[str, Any], tcp: dict[str, Any] | None = None) -> Iterator[Edge]:
    points = {name: {"address": "127.0.0.1:0"} for name in ("web", "traefik", "raw")}
    http.setdefault("routers", {"all": {"rule": "PathPrefix(`/`)", "service": "all", "entryPoints": ["web"]}})
    dynamic = {"http": http, **({"tcp": tcp} if tcp else {})}
    with edge(dynamic, points, {"api": {"insecure": True, "token": TOKEN}}) as lb:
        yield lb


def api(lb: Edge, path: str, method: str = "GET", body: Any = None) -> tuple[int, Any]:
    data = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {TOKEN}", f"Content-Length: {len(data)}"]
    client = lb.client("traefik")
    first, _, text = client.ask("\r\n".join([*lines, "", ""]).encode() + data)
    client.close()
    return int(first.split()[1]), json.loads(text)


def problems(lb: Edge) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api(lb, "/api/state")[1]["problems"]
    return found


def servers(*urls: str, **more: Any) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url} for url in urls], **more}}


def dead() -> str:
    return f"http://127.0.0.1:{free_port()}"


def severity(lb: Edge, about: str) -> str:
    return next((problem["severity"] for problem in problems(lb) if problem["object"] == about), "")


def test_all_is_well() -> None:
    with recorders("a") as (a,):
        services = {"all": {"weighted": {"services": [{"name": "a"}, {"name": "off", "weight": 0}]}},
                    "a": servers(a.url), "off": servers(a.url)}  # fmt: skip
        with watched({"services": services}) as lb:
            assert lb.ask(GET)[2] == b"a"
            assert problems(lb) == []


def test_all_servers_ejected_is_lost_traffic_without_health_checks() -> None:
    passive = {"passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "60s"}}
    with watched({"services": {"all": servers(dead(), **passive)}}) as lb:
        assert problems(lb) == []
        assert lb.ask(GET)[0].split()[1] == "502"
        found = problems(lb)
        assert [problem["severity"] for problem in found] == ["lost"]
        assert "loses all requests: no server may be picked, 1 of 1 are down" in found[0]["text"]
        assert "ejected" in found[0]["text"]
        assert found[0]["traffic"] == ["all@file: PathPrefix(`/`)"]


@pytest.mark.parametrize("follows", [False, True])
def test_a_child_that_is_down_loses_its_share_unless_the_parent_follows(follows: bool) -> None:
    with patients("one", "two") as (one, two):
        services = {
            "all": {"weighted": {"services": [{"name": "dc1", "weight": 3}, {"name": "dc2"}],
                                 **({"healthCheck": {}} if follows else {})}},
            "dc1": servers(one.url, **check()),
            "dc2": servers(two.url, **check()),
        }  # fmt: skip
        with watched({"services": services}) as lb:
            eventually(lambda: not problems(lb), "all is well")
            two.status = 500
            eventually(lambda: problems(lb), "it is said")
            (problem,) = problems(lb)
            assert problem["severity"] == ("degraded" if follows else "lost")
            assert "dc2: no server may be picked, 1 of 1 are down" in problem["text"]
            assert ("loses 25.0% of its requests" in problem["text"]) == (not follows)
            two.status = 200
            eventually(lambda: not problems(lb), "all is well again")


def test_one_server_of_several_that_is_down_is_degraded() -> None:
    with patients("one", "two") as (one, two):
        with watched({"services": {"all": servers(one.url, two.url, **check())}}) as lb:
            two.status = 500
            eventually(lambda: severity(lb, "service all@file") == "degraded", "it is said")
            assert f"1 of 2 servers down: {two.url}" in problems(lb)[0]["text"]


def test_failover_is_degraded_on_its_fallback_and_lost_without() -> None:
    with patients("one", "two") as (one, two):
        services = {
            "all": {"failover": {"service": "main", "fallback": "spare"}},
            "main": servers(one.url, **check()),
            "spare": servers(two.url, **check()),
        }
        with watched({"services": services}) as lb:
            one.status = 500
            eventually(lambda: severity(lb, "service all@file") == "degraded", "it fails over")
            two.status = 500
            eventually(lambda: severity(lb, "service all@file") == "lost", "no server is left")


def test_a_mirror_that_is_down_loses_no_request() -> None:
    with recorders("a") as (a,), patients("m") as (m,):
        services = {
            "all": {"mirroring": {"service": "main", "mirrors": [{"name": "m", "percent": 1}]}},
            "main": servers(a.url),
            "m": servers(m.url, **check()),
        }
        with watched({"services": services}) as lb:
            m.status = 500
            eventually(lambda: severity(lb, "service all@file") == "degraded", "it is said")


def test_objects_that_do_not_run_are_named_with_their_traffic() -> None:
    with recorders("a") as (a,):
        routers = {
            "ok": {"rule": "Host(`ok`)", "service": "all", "entryPoints": ["web"]},
            "typo": {"rule": "Host(`typo`)", "service": "al", "entryPoints": ["web"]},
            "rule": {"rule": "Hst(`x`)", "service": "all", "entryPoints": ["web"]},
        }
        with watched({"routers": routers, "services": {"all": servers(a.url)}}) as lb:
            found = {problem["object"]: problem for problem in problems(lb)}
            assert set(found) == {"router typo@file", "router rule@file"}
            assert found["router typo@file"]["traffic"] == ["Host(`typo`)"]
            assert {problem["severity"] for problem in found.values()} == {"lost"}


def test_layer_4_counts() -> None:
    tcp = {
        "routers": {"raw": {"rule": "HostSNI(`*`)", "service": "raw", "entryPoints": ["raw"]}},
        "services": {"raw": {"loadBalancer": {"servers": [{"address": dead()[7:]}],
                                              "healthCheck": {"interval": "50ms", "timeout": "300ms"}}}},
    }  # fmt: skip
    with recorders("a") as (a,), watched({"services": {"all": servers(a.url)}}, tcp) as lb:
        eventually(lambda: severity(lb, "TCP service raw@file") == "lost", "it is said")
        (problem,) = problems(lb)
        assert "loses all connections" in problem["text"]
        assert "Connection refused" in problem["text"]
        assert any(root.get("layer") == "tcp" for root in api(lb, "/api/tree")[1])


def test_weights_that_stop_a_service_need_force() -> None:
    with recorders("a", "b") as (a, b):
        services = {"all": {"weighted": {"services": [{"name": "a", "weight": 3}, {"name": "b", "weight": 0}]}},
                    "a": servers(a.url), "b": servers(b.url)}  # fmt: skip
        with watched({"services": services}) as lb:
            path = "/api/http/services/all@file/weights"
            status, answer = api(lb, path, "PUT", {"a": 0})
            assert (status, answer["needsForce"]) == (409, True)
            assert lb.ask(GET)[2] == b"a"
            assert api(lb, path, "PUT", {"a": 0, "b": 1})[0] == 200
            assert api(lb, path, "PUT", {"b": 0})[0] == 409  # with the override of `a` that holds
            assert api(lb, f"{path}?force=true", "PUT", {"b": 0})[0] == 200
            assert lb.ask(GET)[0].split()[1] == "503"
            assert "the weights of all its services are 0" in problems(lb)[0]["text"]
            assert api(lb, path, "PUT", {"a": 0, "b": 0})[0] == 200  # it is stopped already
            assert api(lb, path, "DELETE")[0] == 200
            assert problems(lb) == []


def test_weights_of_members_that_are_down_are_no_way_out() -> None:
    with patients("one", "two") as (one, two):
        with watched({"services": {"all": servers(one.url, two.url, **check())}}) as lb:
            two.status = 500
            eventually(lambda: problems(lb), "it is down")
            path = "/api/http/services/all@file/weights"
            assert api(lb, path, "PUT", {one.url: 0})[0] == 409
            assert api(lb, path, "PUT", {two.url: 0})[0] == 200



def test_requests_at_a_server_that_has_left_stay_counted_in_its_service() -> None:
    """Their part of the count of the service was taken for a drift, and the count went below 0 when they ended."""
    with recorders("one", "two") as (one, two):
        two.delay_s = 3.0
        balancer: dict[str, Any] = {"strategy": "leastconn", "servers": [{"url": one.url}, {"url": two.url}]}
        with watched({"services": {"all": {"loadBalancer": balancer}}}) as lb:
            slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
            service = slots.services["all@file"]
            first, second = (slots.servers[f"all@file|{server.url}"] for server in (one, two))
            region, audit = lb.proxy._region, lb.proxy._health._audit
            assert region is not None
            clients = [lb.client(), lb.client()]
            for client in clients:
                client.send(GET)
            eventually(lambda: region.counted_in_flight(second) == 1, "a request waits for the second server")
            balancer["servers"] = [{"url": one.url}]
            routers = {"all": {"rule": "PathPrefix(`/`)", "service": "all", "entryPoints": ["web"]}}
            lb.apply({"http": {"routers": routers, "services": {"all": {"loadBalancer": balancer}}}})
            for _ in range(2 * SURE):
                audit._look()
            assert region.in_flight_drift([first, second], service) == 0
            for client in clients:
                assert client.message()[0].startswith("HTTP/1.1 200")
            eventually(lambda: region.in_flight_drift([first], service) == 0, "nothing is counted any more")


def test_a_service_without_servers_behind_a_redirection_loses_nothing() -> None:
    """As people write it for routers that only redirect."""
    routers = {
        "plain": {"rule": "Path(`/a`)", "service": "nobody", "entryPoints": ["web"], "middlewares": ["https"]},
        "chained": {"rule": "Path(`/b`)", "service": "nobody", "entryPoints": ["web"], "middlewares": ["all"]},
    }
    middlewares = {"https": {"redirectScheme": {"scheme": "https"}}, "all": {"chain": {"middlewares": ["https"]}}}
    http = {
        "routers": routers,
        "middlewares": middlewares,
        "services": {"nobody": {"loadBalancer": {"servers": [{"url": "localhost"}]}}},
    }
    with watched(http) as lb:
        assert problems(lb) == []
        routers["lost"] = {"rule": "Path(`/c`)", "service": "nobody", "entryPoints": ["web"]}
        lb.apply({"http": http})
        (problem,) = problems(lb)
        assert (problem["severity"], problem["traffic"]) == ("lost", ["lost@file: Path(`/c`)"])
