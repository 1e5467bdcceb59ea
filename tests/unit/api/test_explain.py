"""Explanations: trees of routers, what each middleware makes of the request, and what a running instance knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lbcore.api.explain import ExplainError, assumed_static, explain
from lbcore.api.runtime import Runtime
from lbcore.config.load import dynamic_of
from lbcore.config.static import StaticConfig
from lbcore.process.snapshot import Publisher
from lbcore.provider.merge import merge
from lbcore.state.cells import ADMIN
from lbcore.state.region import Region

ROUTERS = {
    "parent": {"rule": "Host(`shop.test`)", "middlewares": ["strip", "office"]},
    "cart": {"rule": "PathPrefix(`/cart`)", "service": "shop", "parentRefs": ["parent"], "middlewares": ["old"]},
    "rest": {"rule": "PathPrefix(`/`)", "service": "shop", "parentRefs": ["parent"], "priority": 1},
    "secure": {"rule": "Host(`shop.test`)", "service": "shop", "tls": {}},
    "limited": {"rule": "Host(`limited.test`)", "service": "shop", "middlewares": ["limit", "few"]},
    "asked": {"rule": "Host(`asked.test`)", "service": "shop", "middlewares": ["auth", "away"]},
}
MIDDLEWARES = {
    "strip": {"stripPrefix": {"prefixes": ["/api"]}},
    "office": {"ipAllowList": {"sourceRange": ["192.0.2.0/24"]}},
    "old": {"redirectRegex": {"regex": "^http://(.*)/cart/old$", "replacement": "http://${1}/new"}},
    "basic": {"basicAuth": {"users": ["a:$apr1$x$y"]}},
    "gzip": {"compress": {}},
    "limit": {"rateLimit": {"average": 1, "period": "1h", "burst": 2}},
    "few": {"inFlightReq": {"amount": 1}},
    "auth": {"forwardAuth": {"address": "http://auth.test/x"}},
    "away": {"rateLimit": {"average": 1, "redis": {"endpoints": ["127.0.0.1:1"]}}},
}
SERVICES = {
    "shop": {"weighted": {"services": [{"name": "v1"}]}},
    "v1": {"loadBalancer": {"servers": [{"url": "http://one"}, {"url": "http://two"}]}},
    "guarded": {"loadBalancer": {"servers": [{"url": "http://one"}]}, "middlewares": ["basic", "gzip"]},
}
LAYER_4: dict[str, Any] = {
    "tcp": {
        "routers": {
            "db": {"rule": "HostSNI(`db.test`)", "service": "db", "tls": {}, "middlewares": ["office"]},
            "low": {"rule": "HostSNI(`db.test`)", "service": "db", "tls": {}, "priority": 1},
            "any": {"rule": "HostSNI(`*`)", "service": "db"},
            "web": {"rule": "HostSNI(`shop.test`)", "service": "db", "tls": {}},
        },
        "middlewares": {"office": {"ipAllowList": {"sourceRange": ["192.0.2.0/24"]}}},
        "services": {"db": {"loadBalancer": {"servers": [{"address": "one:1"}]}}},
    },
    "udp": {
        "routers": {"dns": {"service": "dns", "entryPoints": ["dns"]}},
        "services": {"dns": {"loadBalancer": {"servers": [{"address": "one:53"}]}}},
    },
}


def runtime_of(**routers: Any) -> Runtime:
    config = {"http": {"routers": {**ROUTERS, **routers}, "middlewares": MIDDLEWARES, "services": SERVICES}}
    dynamic = merge({"file": dynamic_of(config | LAYER_4)})
    region = Region.create(1)
    runtime = Runtime(assumed_static(dynamic), region, "unix:/")
    snapshot = Publisher(region, "unix:/").publish(dynamic)
    runtime.update(snapshot.dynamic, snapshot.slots)
    return runtime


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return runtime_of(guarded={"rule": "Host(`guarded.test`)", "service": "guarded"})


def lines(runtime: Runtime, asked: str, headers: Sequence[str] = (), **more: Any) -> list[str]:
    return [line.strip() for line in explain(runtime, asked, headers, **more)]


def test_a_tree_of_routers_is_followed_by_the_path_that_middlewares_leave(runtime: Runtime) -> None:
    found = lines(runtime, "GET http://shop.test/api/cart/x")
    assert found == [
        "entry point web: no middlewares",
        "router guarded@file (priority 20): Host(`guarded.test`): does not match: Host(`guarded.test`)",
        "router limited@file (priority 20): Host(`limited.test`): does not match: Host(`limited.test`)",
        "router asked@file (priority 18): Host(`asked.test`): does not match: Host(`asked.test`)",
        "router parent@file (priority 17): Host(`shop.test`): matches",
        "router secure@file (priority 17): Host(`shop.test`): does not match: it takes requests over TLS alone",
        "middleware strip@file: stripprefix: passes; the path is /cart/x now",
        "middleware office@file: ipallowlist: passes",
        "routers below parent@file, which see /cart/x:",
        "router cart@file (priority 19): PathPrefix(`/cart`): matches",
        "router rest@file (priority 1): PathPrefix(`/`): would match, but cart@file is tried before it: "
        "priority 19 is higher",
        "middleware old@file: redirectregex: passes",
        "service shop@file (UP): weighted",
        "-> v1 (UP) weight 1 of 1",
        "service v1@file (UP): load balancer",
        "-> http://one weight 1 of 2",
        "http://two weight 1 of 2",
        "server: http://one",
    ]


def test_the_server_is_that_of_the_next_request_however_often_one_asks() -> None:
    own = runtime_of()
    asked = "GET http://shop.test/api/cart/x"
    assert [lines(own, asked)[-1] for _ in range(3)] == ["server: http://one"] * 3
    own.region.take_sequence(own.slots.services["v1@file"])  # as a request does
    assert lines(own, asked)[-1] == "server: http://two"


def test_a_middleware_that_answers_ends_the_way(runtime: Runtime) -> None:
    found = lines(runtime, "GET http://shop.test/api/cart/old")
    assert found[-2:] == [
        "middleware old@file: redirectregex: answers 302, Location: http://shop.test/new",
        "answer: 302, by middleware old@file",
    ]
    found = lines(runtime, "GET http://shop.test/api/", client="10.0.0.1")
    assert found[-1] == "answer: 403, by middleware office@file"
    assert "ipallowlist: answers 403: 10.0.0.1 is in none of its networks" in found[-2]
    found = lines(runtime, "GET http://guarded.test/")
    assert any(line.startswith("middleware basic@file: basicauth: answers 401: ") for line in found)
    assert "middleware gzip@file: compress: not reached" in found
    assert found[-1] == "answer: 401, by middleware basic@file"


def test_requests_over_tls_are_for_other_routers(runtime: Runtime) -> None:
    found = lines(runtime, "GET https://shop.test/")
    assert "router secure@file (priority 17): Host(`shop.test`): matches" in found
    other = "router parent@file (priority 17): Host(`shop.test`): does not match: it takes requests without TLS alone"
    assert other in found
    assert found[-1].startswith("server: http://")
    assert lines(runtime, "GET http://none.test/")[-1] == "answer: 404 page not found"


def test_what_would_ask_elsewhere_is_not_asked(runtime: Runtime) -> None:
    found = lines(runtime, "GET http://asked.test/")
    assert "middleware auth@file: forwardauth: asks http://auth.test/x, which is not done here; taken to pass" in found
    (away,) = [line for line in found if line.startswith("middleware away@file")]
    assert "ratelimit: counts in its store, which is not done here; taken to pass" in away
    assert found[-1].startswith("server: ")


def test_explaining_uses_nothing_up_and_shows_the_health_and_weights_of_now() -> None:
    runtime = runtime_of()
    region = runtime.region
    for _ in range(6):  # more often than the limit lets pass
        found = lines(runtime, "GET http://limited.test/")
        assert "middleware limit@file: ratelimit: passes (left: 2" in " ".join(found)
        assert any("middleware few@file: inflightreq: passes (inFlight: 0, amount: 1" in line for line in found)
        assert found[-1] == "server: http://one" or found[-1] == "server: http://two"
    assert region.sequence(runtime.slots.services["v1@file"]) == 0, "the positions of services stay, too"
    slot = runtime.slots.servers["v1@file|http://one"]
    region.set_up(slot, False, ADMIN)
    region.set_weight(runtime.slots.servers["v1@file|http://two"], 7)
    found = lines(runtime, "GET http://limited.test/")
    assert found[-1] == "server: http://two"
    assert "http://one weight 0 of 7 (configured 1, it is down)" in found
    assert "-> http://two weight 7 of 7 (configured 1)" in found
    region.set_up(slot, True, ADMIN)
    region.set_weight(runtime.slots.servers["v1@file|http://two"], None)
    assert sum("weight 1 of 2" in line for line in lines(runtime, "GET http://limited.test/")) == 2


def test_connections_of_layer_4_are_explained(runtime: Runtime) -> None:
    assert lines(runtime, "tcp://db.test:5432") == [
        "entry point web: :0",
        "TCP router web@file (priority 20): HostSNI(`shop.test`): does not match: HostSNI(`shop.test`)",
        "TCP router db@file (priority 18): HostSNI(`db.test`): matches",
        "TCP router low@file (priority 1): HostSNI(`db.test`): would match, but db@file is tried before it",
        "TCP router any@file (priority -1): HostSNI(`*`): does not match: it takes connections without TLS alone",
        "TCP middleware office@file: ipallowlist: passes",
        "service db@file (UP): load balancer",
        "-> one:1 weight 1 of 1",
        "server: one:1",
    ]
    found = lines(runtime, "tcp://db.test", client="10.0.0.1")
    assert found[-2:] == [
        "TCP middleware office@file: ipallowlist: 10.0.0.1 is in none of its networks",
        "the connection is closed",
    ]
    assert "TCP router any@file (priority -1): HostSNI(`*`): matches" in lines(runtime, "tcp://")
    assert lines(runtime, "tcp://other.test")[-2:] == [
        "no TCP router: it is HTTPS",
        "for the routers of HTTP: lbcore explain 'GET https://other.test/' --entry-point web",
    ]
    assert lines(runtime, "tcp://shop.test")[-2].startswith("router secure@file takes requests over TLS for this host")
    assert lines(runtime, "udp://") == [
        "entry point dns: :0/udp",
        "UDP router dns@file: takes all of the entry point",
        "service dns@file (UP): load balancer",
        "-> one:53 weight 1 of 1",
        "server: one:53",
    ]


@pytest.mark.parametrize(
    ("asked", "more", "said"),
    [
        ("GET /x", {}, "names no host"),
        ("GET http://a/", {"client": "nobody"}, "is no IP address"),
        ("GET http://a/", {"entry_point": "other"}, "there is no entry point other; there is web"),
        ("ftp://a/", {}, "is no URL of HTTP"),
        ("GET http://a:x/", {}, "status 400"),
        ("GET http://a/", {"headers": ["nonsense"]}, "is no header"),
        ("udp://", {"entry_point": "web"}, "there is no entry point web of UDP"),
        ("tcp://a b", {}, "is no name of a host"),
        ("tcp://a", {"client": "nobody"}, "is no IP address"),
    ],
)
def test_what_is_no_request_is_refused(runtime: Runtime, asked: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ExplainError, match=said):
        lines(runtime, asked, **more)


def test_the_entry_point_is_the_one_that_a_client_would_reach() -> None:
    points: dict[str, Any] = {
        "plain": {"address": ":8000"},
        "other": {"address": "127.0.0.1:8001/tcp"},
        "secure": {"address": ":8443", "http": {"tls": {}}},
        "socket": {"address": "unix:/run/x"},
    }
    on = {
        "a": {"rule": "Host(`a`)", "entryPoints": ["plain"], "service": "s"},
        "b": {"rule": "Host(`b`)", "entryPoints": ["other", "socket"], "service": "s"},
        "c": {"rule": "Host(`c`)", "entryPoints": ["secure"], "service": "s"},
    }
    services = {"s": {"loadBalancer": {"servers": [{"url": "http://one"}]}}}

    def reached(asked: str, routers: dict[str, Any] = on, **changed: str) -> str:
        addresses = {name: {**point, "address": changed.get(name, point["address"])} for name, point in points.items()}
        region, static = Region.create(1), StaticConfig.model_validate({"entryPoints": addresses})
        runtime = Runtime(static, region, "unix:/")
        dynamic = merge({"file": dynamic_of({"http": {"routers": routers, "services": services}})})
        snapshot = Publisher(region, "unix:/").publish(dynamic)
        runtime.update(snapshot.dynamic, snapshot.slots)
        return lines(runtime, asked)[0].split()[2].rstrip(":")

    assert [reached(url) for url in ("http://a/", "https://c/")] == ["plain", "secure"]
    assert [reached(f"http://b:{port}/") for port in (8000, 8001, 8002)] == ["plain", "other", "plain"]
    assert [reached("https://c:8001/"), reached("https://c/", other=":443")] == ["other", "other"]
    assert [reached("http://b/", {"b": on["b"]}), reached("https://b/", {"b": on["b"]})] == ["other", "other"]
    assert reached("http://a/", {"c": on["c"]}) == "secure"


def test_a_router_that_cannot_run_and_keeps_its_place_says_so() -> None:
    runtime = runtime_of(bad={"rule": "Host(`bad.test`)", "service": "shop", "middlewares": ["none"]})
    found = lines(runtime, "GET http://bad.test/")
    (line,) = [line for line in found if line.startswith("router bad@file")]
    assert line.endswith('"none@file" does not exist; it keeps its place, and answers 404: no other router takes its '
                         "requests")  # fmt: skip
    assert found[-1] == "answer: 404, by middleware closed@internal"
