"""What middlewares have denied, by middleware, router and entry point, apart from what servers answer."""

from __future__ import annotations

import mmap
import socket
import struct
from typing import Any

import pytest

from lbcore.middleware_api import Request, Response
from lbcore.state.counters import denial_key
from lbcore.state.region import Region
from tests.support.instance import eventually
from tests.support.recorder import GET, Held, config, post, recorders, through
from tests.support.wire import Edge, Peer, config_for, edge, serving
from tests.wire.test_live import watching
from tests.wire.test_observability import api, metric, watched
from tests.wire.test_tcp import address, echoes, first_line, limited, tcp

NOBODY = {"ipAllowList": {"sourceRange": ["10.0.0.1"]}}
PASSWORDS = {"users": ["ann:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/"]}
ID = "http/middlewares/m0@file"


def denied(lb: Edge, *names: str, layer: str = "http") -> tuple[int, ...]:
    """What middlewares have denied; then what they have at the router `all`, and at the entry point."""
    region = lb.proxy._region
    slots = lb.proxy._publication.current.snapshot.slots.services  # type: ignore[union-attr]
    found = region.denials()
    identity = "router:all@file" if layer == "http" else "tcpRouter:all@file"
    of_middlewares = [found.get(denial_key(layer, f"{name}@file"), 0) for name in names]
    at_router = region.routers_denied().get(slots[identity], 0)
    return (*of_middlewares, at_router, region.entry_point_counters(0).denied)


def guarded(url: str, place: str, middleware: dict[str, Any]) -> dict[str, Any]:
    dynamic = through(url, middleware)
    if place == "service":
        del dynamic["http"]["routers"]["all"]["middlewares"]
        dynamic["http"]["services"]["all"]["middlewares"] = ["m0"]
    return dynamic


@pytest.mark.parametrize("place", ["router", "service"])
@pytest.mark.parametrize(
    ("middleware", "request_", "status"),
    [
        (NOBODY, GET, 403),
        ({"ipAllowList": {"sourceRange": ["10.0.0.1"], "rejectStatusCode": 204}}, GET, 204),
        ({"rateLimit": {"average": 1, "period": "1h", "burst": 0}}, GET, 429),
        ({"inFlightReq": {"amount": 0}}, GET, 429),
        ({"basicAuth": PASSWORDS}, GET, 401),
        ({"digestAuth": {"users": ["ann:traefik:a2688e031edb4be6a3797f3882655c05"]}}, GET, 401),
        ({"apiKey": {"keys": ["ann:a-key-of-some-length"]}}, GET, 401),
        ({"encodedCharacters": {}}, GET.replace(b"/x", b"/a%2Fb"), 400),
        ({"buffering": {"maxRequestBodyBytes": 3}}, post(b"12345"), 413),
        ({"buffering": {"maxRequestBodyBytes": 3}}, post(b"12345", chunked=True), 413),
        ({"buffering": {"maxResponseBodyBytes": 3}}, GET, 500),
        ({"forwardAuth": {"address": "http://127.0.0.1:1"}}, GET, 500),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_refusal_counts_once(middleware: dict[str, Any], request_: bytes, status: int, place: str) -> None:
    with serving() as server, edge(guarded(server.url, place, middleware)) as lb:
        found = [lb.ask(request_)[0].split()[1] for _ in range(3)]
        count = found.count(str(status))
        assert count >= 2, found  # a limit lets the first one pass
        assert denied(lb, "m0") == (count, count, count)


@pytest.mark.parametrize(
    ("middleware", "status"),
    [
        ({"redirectRegex": {"regex": "^(.*)/x$", "replacement": "${1}/y"}}, "302"),
        ({"headers": {"customRequestHeaders": {"X-A": "1"}}}, "404"),
        ({"errors": {"status": ["404"], "service": "all", "query": "/page"}}, "404"),
        ({"ipAllowList": {"sourceRange": ["127.0.0.1"]}}, "404"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_redirections_and_answers_of_servers_are_no_refusals(middleware: dict[str, Any], status: str) -> None:
    with recorders("a") as (a,), edge(through(a.url, middleware)) as lb:
        a.answer = lambda first, headers, body: (404, b"none")
        assert [lb.ask(GET)[0].split()[1] for _ in range(3)] == [status] * 3
        assert denied(lb, "m0") == (0, 0, 0)


def test_what_the_authority_of_forward_auth_answers_instead_is_a_refusal_also_if_it_redirects() -> None:
    def to_the_login(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with serving(to_the_login) as authority, serving() as server:
        with edge(through(server.url, {"forwardAuth": {"address": authority.url}})) as lb:
            assert lb.ask(GET)[0].split()[1] == "302"
            assert denied(lb, "m0") == (1, 1, 1)
        assert server.connections == 0


def test_an_open_circuit_breaker_refuses() -> None:
    breaker = {"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.5", "checkPeriod": "10ms"}}
    with recorders("a") as (a,), edge(through(a.url, breaker)) as lb:
        a.answer = lambda first, headers, body: (500, b"")
        eventually(lambda: lb.ask(GET)[0].split()[1] == "503", "it is open")
        refused, at_router, at_point = denied(lb, "m0")
        assert refused == at_router == at_point >= 1
        assert len(a.requests) >= 1


def test_a_refusal_whose_page_is_of_errors_counts_once() -> None:
    errors = {"errors": {"status": ["401"], "service": "all", "query": "/page"}}
    with recorders("a") as (a,), edge(through(a.url, errors, {"basicAuth": PASSWORDS})) as lb:
        first, _, body = lb.ask(GET)
        assert (first.split()[1], body) == ("401", b"a")
        assert denied(lb, "m0", "m1") == (0, 1, 1, 1)


class Judge:
    """Lets requests and answers pass, unless the header `X-Refuse` says which of them it does not."""

    def on_request(self, request: Request) -> Response | None:
        return self.refuse(request, "in")

    def on_response(self, request: Request, response: Response) -> Response | None:
        return self.refuse(request, "back")

    def refuse(self, request: Request, way: str) -> Response | None:
        return Response(451, body=b"no") if request.headers.get("X-Refuse") == way else None


def test_a_class_may_refuse_a_request_and_an_answer() -> None:
    with recorders("a") as (a,):
        dynamic = config({}, all=a.url)
        dynamic["http"]["routers"]["all"]["middlewares"] = ["m0"]
        with edge(dynamic, middlewares={"m0": Judge()}) as lb:
            for way, count in (("in", 1), ("back", 2), ("none", 2)):
                status = lb.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Refuse: %s\r\n\r\n" % way.encode()))[0].split()[1]
                assert status == ("200" if way == "none" else "451")
                assert denied(lb, "m0") == (count, count, count)
            # An answer that is a failure already is the server's.
            a.answer = lambda first, headers, body: (503, b"")
            assert lb.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Refuse: back\r\n\r\n"))[0].split()[1] == "451"
            assert denied(lb, "m0") == (2, 2, 2)
            assert len(a.requests) == 3


def test_a_copy_for_a_mirror_is_no_request_of_a_client() -> None:
    with recorders("a", "b") as (a, b):
        services = {"all": {"mirroring": {"service": "main", "mirrors": [{"name": "other", "percent": 100}]}}}
        dynamic = config(services, main=a.url, other=b.url)
        dynamic["http"]["middlewares"] = {"m0": NOBODY}
        dynamic["http"]["services"]["other"]["middlewares"] = ["m0"]
        with edge(dynamic) as lb:
            assert lb.ask(GET)[0].split()[1] == "200"
            assert denied(lb, "m0") == (0, 0, 0)
        assert b.requests == []


def test_a_router_above_has_what_is_refused_below() -> None:
    with recorders("a") as (a,):
        dynamic = config({}, all=a.url)
        dynamic["http"]["middlewares"] = {"m0": NOBODY}
        dynamic["http"]["routers"] = {
            "all": {"rule": "PathPrefix(`/`)"},
            "child": {"rule": "Path(`/x`)", "parentRefs": ["all"], "service": "all", "middlewares": ["m0"]},
        }
        with edge(dynamic) as lb:
            assert lb.ask(GET)[0].split()[1] == "403"
            slots = lb.proxy._publication.current.snapshot.slots.services  # type: ignore[union-attr]
            assert lb.proxy._region.routers_denied()[slots["router:child@file"]] == 1
            assert denied(lb, "m0") == (1, 1, 1)


def test_a_reload_keeps_the_numbers_of_what_stays() -> None:
    with serving() as server, edge(through(server.url, NOBODY)) as lb:
        lb.ask(GET)
        for network in ("10.0.0.2", "10.0.0.3"):  # the middleware is made anew
            dynamic = through(server.url, {"ipAllowList": {"sourceRange": [network]}})
            dynamic["http"]["routers"]["more"] = {"rule": f"Host(`{network}`)", "service": "all"}
            lb.apply(dynamic)
            lb.ask(GET)
        assert denied(lb, "m0") == (3, 3, 3)
        lb.apply(through(server.url, {"addPrefix": {"prefix": "/"}}))
        assert lb.ask(GET)[0].split()[1] == "200"
        assert denied(lb, "m0") == (3, 3, 3)


def test_a_router_that_cannot_run_denies_nothing() -> None:
    with serving() as server:
        dynamic = through(server.url, NOBODY)
        dynamic["http"]["routers"]["all"]["middlewares"].append("forgotten")
        with edge(dynamic) as lb:
            assert lb.ask(GET)[0].split()[1] == "404"
            assert lb.proxy._region.entry_point_counters(0).denied == 0


def test_connections_of_layer_4_are_refused_by_address_and_by_number() -> None:
    with echoes("a") as (a,):
        dynamic = limited(1, a)
        with edge(dynamic) as lb:
            client = lb.client()
            assert client.until(b"\n") == b"a\n"
            assert denied(lb, "few", layer="tcp") == (0, 0, 0)
            assert [first_line(lb) for _ in range(2)] == [""] * 2
            eventually(lambda: denied(lb, "few", layer="tcp") == (2, 2, 2), "both are counted")
            dynamic["tcp"]["middlewares"]["own"] = {"ipAllowList": {"sourceRange": ["127.0.0.1"]}}
            dynamic["tcp"]["routers"]["all"]["middlewares"] = ["few", "own"]
            lb.apply(dynamic)
            host, port = lb.address
            other = Peer(socket.create_connection((host, int(port)), timeout=30, source_address=("127.0.0.2", 0)))
            assert other.to_the_end() == b""
            other.close()
            eventually(lambda: denied(lb, "few", "own", layer="tcp") == (2, 1, 3, 3), "the other address")
            client.close()


def test_names_of_both_layers_are_told_apart() -> None:
    with echoes("a") as (a,), serving() as server:
        dynamic = {**config_for(server.url), **tcp([address(a)])}
        for layer in ("http", "tcp"):
            dynamic[layer]["middlewares"] = {"same": NOBODY}
            dynamic[layer]["routers"]["all"] |= {"middlewares": ["same"], "entryPoints": [layer]}
        points = {name: {"address": "127.0.0.1:0"} for name in ("http", "tcp")}
        with edge(dynamic, points) as lb:
            client = lb.client("http")
            assert client.ask(GET)[0].split()[1] == "403"
            client.close()
            assert lb.client("tcp").to_the_end() == b""
            region = lb.proxy._region
            eventually(lambda: region.entry_point_counters(1).denied == 1, "the connection is counted")
            assert region.denials() == {denial_key(layer, "same@file"): 1 for layer in ("http", "tcp")}


def test_metrics_api_and_stream_have_them() -> None:
    with recorders("a") as (a,):
        dynamic = through(a.url, NOBODY)
        dynamic["http"]["routers"]["open"] = {"rule": "Path(`/open`)", "service": "all", "priority": 1000}
        with watched(dynamic, metrics={"prometheus": {}}) as lb, watching(lb) as stream:
            lb.ask(GET.replace(b"/x", b"/open"))
            assert metric(lb, "lbcore_entrypoint_denied_total", entrypoint="web") == 0
            for path in ("middlewares/m0@file", "routers/all@file"):
                assert "denied" not in api(lb, f"/api/http/{path}")[1]
            stream.event("hello")
            client = lb.client()

            def shown() -> bool:
                client.ask(GET)
                ids = ("entrypoints/web", "http/routers/all@file", ID)
                return all(stream.nodes.get(id, {}).get("denied", 0) > 0 for id in ids)

            stream.until(shown, "all show refusals per second")
            stream.until(lambda: "denied" not in stream.nodes.get(ID, {}), "none any more")
            count = denied(lb, "m0")[0]
            for name, labels in {
                "entrypoint": {"entrypoint": "web"},
                "router": {"router": "all@file", "layer": "http"},
                "middleware": {"middleware": "m0@file", "layer": "http"},
            }.items():
                assert metric(lb, f"lbcore_{name}_denied_total", **labels) == count
                assert metric(lb, f"lbcore_{name}_denied_total") == count
            for path in ("http/middlewares/m0@file", "http/routers/all@file", "entrypoints/web"):
                assert api(lb, f"/api/{path}")[1]["denied"] == count
                assert api(lb, f"/api/history?id={path}")[1]["denied"] == count
            assert "denied" not in api(lb, "/api/http/routers/open@file")[1]
            assert api(lb, "/api/state")[1]["denied"] == count
            assert a.requests[0][0].startswith("GET /open") and len(a.requests) == 1


def test_requests_that_wait_for_a_verdict_are_counted_when_it_has_come() -> None:
    with recorders("authority", "a") as (authority, a):
        held = Held(authority, status=403)
        with edge(through(a.url, {"forwardAuth": {"address": authority.url}})) as lb:
            client = lb.client()
            client.send(GET)
            assert held.asked.wait(30)
            assert denied(lb, "m0") == (0, 0, 0)
            held.opened.set()
            assert client.message()[0].split()[1] == "403"
            assert denied(lb, "m0") == (1, 1, 1)


def of_worker(region: Region, worker: int = 0) -> int:
    """Where in the region the number of rows of a worker is, behind which that of refusals without a row stands."""
    return 4096 + 64 * region.services + 192 * region.servers + 36992 * worker + 11 * 8


def rows_of(region: Region, worker: int = 0) -> int:
    """Where the rows themselves are: behind all other ones of middlewares and routers, in front of the keyed ones."""
    of_slots = region.workers * (384 * region.servers + 320 * region.services + 65536 * 256 + 8192 * 1024)
    return 4096 + 64 * region.services + 192 * region.servers + 36992 * region.workers + of_slots + worker * 16384 * 16


def test_refusals_add_up_over_workers_and_their_middlewares_are_bounded() -> None:
    region = Region.create(2, services=8, servers=8)
    with mmap.mmap(region.fd, 0) as raw:
        for worker, rows in enumerate(([(5, 2), (6, 3)], [(6, 4)])):
            struct.pack_into("<QQ", raw, of_worker(region, worker), len(rows), worker)
            for at, row in enumerate(rows):
                struct.pack_into("<QQ", raw, rows_of(region, worker) + 16 * at, *row)
    assert region.denials() == {5: 2, 6: 7, 0: 1}
    region.clear_worker(1)  # it has died: what it has counted stays
    assert region.denials() == {5: 2, 6: 7, 0: 1}


def test_a_middleware_without_a_row_is_counted_at_its_router_alone() -> None:
    with serving() as server:
        dynamic = through(server.url, NOBODY)
        other = {"rule": "Path(`/y`)", "priority": 1000, "service": "all", "middlewares": ["m1"]}
        dynamic["http"]["routers"]["other"] = other
        dynamic["http"]["middlewares"]["m1"] = NOBODY
        with watched(dynamic, metrics={"prometheus": {}}) as lb:
            lb.ask(GET)
            region = lb.proxy._region
            with mmap.mmap(region.fd, 0) as raw:
                assert struct.unpack_from("<QQ", raw, of_worker(region)) == (1, 0)
                struct.pack_into("<Q", raw, of_worker(region), 16384)
            lb.ask(GET)
            for _ in range(2):
                lb.ask(GET.replace(b"/x", b"/y"))
            assert denied(lb, "m0", "m1") == (2, 0, 2, 4)
            assert metric(lb, "lbcore_denials_shed_total") == 2
            assert region.keys_refused == 0  # the rows behind are untouched
