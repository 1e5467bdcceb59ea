"""The highest numbers since the start, over the API: of all layers, kept over reloads, reset with the token."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.instance import eventually
from tests.support.recorder import GET, Held, config, recorders, two_servers
from tests.support.udp import UdpClient, servers, udp
from tests.support.wire import Edge, edge
from tests.wire.test_live import port_of
from tests.wire.test_observability import TOKEN, api, watched
from tests.wire.test_tcp import address, echoes, tcp


def maxima(lb: Edge, query: str = "") -> dict[str, dict[str, Any]]:
    """By id of an object: what is highest, by name."""
    items = api(lb, f"/api/maxima?per_page=1000{query}")[1]["items"]
    return {item["id"]: {name: found["most"] for name, found in item["maxima"].items()} for item in items}


def reset(lb: Edge, token: str = TOKEN) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(lb), timeout=30)
    with contextlib.closing(connection):
        connection.request("DELETE", "/api/maxima", headers={"X-Lbcore-Token": token})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_what_was_in_flight_and_waited_stays_known_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lbcore.audit")
    with recorders("a", "b") as (a, b):
        dynamic = config({"all": {**two_servers(a.url, b.url)}})
        balancer = dynamic["http"]["services"]["all"]["loadBalancer"]
        balancer |= {"maxConnections": 2, "queue": {"maxRequests": 10, "timeout": "60s"}}
        with watched(dynamic) as lb:
            started = api(lb, "/api/maxima")[1]["since"]
            assert started <= time.time() * 1000 and not any(name.startswith("http/members") for name in maxima(lb))
            held = [Held(server) for server in (a, b)]
            before = time.time() * 1000
            clients = [lb.client() for _ in range(7)]
            for client in clients:
                client.send(GET)
            service, router = "http/services/all@file", "http/routers/all@file"
            members = [f"http/members/all@file|{server.url}" for server in (a, b)]

            def all_seen() -> bool:
                found = maxima(lb)
                return found.get(service, {}).get("queue") == 3 and found.get(router, {}).get("inFlight") == 7

            eventually(all_seen, "they are seen")
            for server in held:
                server.opened.set()
            assert [client.message()[0].split()[1] for client in clients] == ["200"] * 7
            eventually(lambda: maxima(lb)[router].get("rate"), "the end of a second")
            after = time.time() * 1000
            found = maxima(lb)
            assert found[service]["inFlight"] == 4 and found[service]["queue"] == 3
            assert [found[id]["inFlight"] for id in members] == [2, 2]
            assert found[router]["inFlight"] == found["entrypoints/web"]["inFlight"] == 7
            assert found["entrypoints/web"]["connections"] == 7
            assert "queue" not in found[router] and "queue" not in found[members[0]]
            whole = {item["id"]: item for item in api(lb, "/api/maxima")[1]["items"]}
            assert before - 1 <= whole[service]["maxima"]["queue"]["at"] <= after
            one = api(lb, f"/api/history?id={quote(service, safe='')}")[1]
            assert (one["maxima"], one["maximaSince"]) == (whole[service]["maxima"], started)
            # Reloads keep them; another server begins with nothing.
            dynamic["http"]["services"]["all"]["loadBalancer"]["servers"][1] = {"url": f"{b.url}/"}
            lb.apply(dynamic)
            again = maxima(lb)
            assert again[service]["queue"] == 3 and again[members[0]]["inFlight"] == 2
            assert again[router]["inFlight"] == again["entrypoints/web"]["inFlight"] == 7
            assert f"http/members/all@file|{b.url}/" not in again
            assert reset(lb, "not the token, but long")[0] == 403 and maxima(lb)[service]["queue"] == 3

            def is_reset() -> bool:
                status, answer = reset(lb)
                assert status == 200 and started < answer["since"] == api(lb, "/api/maxima")[1]["since"]
                return service not in maxima(lb)  # once the second in which the last requests came has ended

            eventually(is_reset, "nothing is left")
    lines = {record.getMessage() for record in caplog.records if record.name == "lbcore.audit"}
    assert lines == {"the maxima are reset by 127.0.0.1"}


def test_rates_are_of_one_second_and_nobody_has_to_watch() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb:
        begun = time.monotonic()
        client = lb.client()
        count = 0
        while time.monotonic() < begun + 2.5:
            client.ask(GET)
            count += 1
        ids = ["http/routers/all@file", "http/services/all@file", f"http/members/all@file|{a.url}", "entrypoints/web"]
        eventually(lambda: all(maxima(lb).get(id, {}).get("rate") for id in ids), "all have a rate")
        found = maxima(lb)
        # The mean of the fastest second is no less than that of all of them, but for the parts at both ends.
        for id in ids:
            assert count / 2.5 / 4 < found[id]["rate"] <= count, id
        assert found["entrypoints/web"]["connectionRate"] >= 0.2
        time.sleep(1.1)  # what is idle is no lower maximum
        assert {id: maxima(lb)[id]["rate"] for id in ids} == {id: found[id]["rate"] for id in ids}


def test_connections_of_layer_4_and_sessions_of_udp() -> None:
    with echoes("a") as (a,), servers("u") as (u,):
        dynamic = {**tcp([address(a)]), **udp([u.address])}
        points = {
            "web": {"address": "127.0.0.1:0"},
            "datagrams": {"address": "127.0.0.1:0/udp", "transport": {"lifeCycle": {"graceTimeOut": 0}}},
            "traefik": {"address": "127.0.0.1:0"},
        }
        dynamic["tcp"]["routers"]["all"]["entryPoints"] = ["web"]
        with edge(dynamic, points, {"api": {"insecure": True}}) as lb, contextlib.ExitStack() as stack:
            clients = [lb.client() for _ in range(3)]
            assert [client.until(b"\n") for client in clients] == [b"a\n"] * 3
            port = lb.proxy.addresses["datagrams"][1]
            for _ in range(2):
                client = stack.enter_context(contextlib.closing(UdpClient(int(port))))
                client.ask(b"x")
            tcp_ids = ["tcp/routers/all@file", "tcp/services/all@file", f"tcp/members/all@file|{address(a)}"]
            udp_ids = ["udp/routers/all@file", "udp/services/all@file", f"udp/members/all@file|{u.address}"]

            def seen() -> bool:
                found = maxima(lb)
                each = [(found.get(id, {}), count) for ids, count in ((tcp_ids, 3), (udp_ids, 2)) for id in ids]
                return all(of.get("inFlight") == count and of.get("rate") for of, count in each)

            eventually(seen, "all are seen")
            found = maxima(lb)
            assert found["entrypoints/web"]["connections"] == 3
            assert found["entrypoints/datagrams"]["connections"] == 2
            assert found["entrypoints/datagrams"]["connectionRate"] > 0
            assert set(maxima(lb, "&layer=udp")) == set(udp_ids)


def test_lists_are_searched_sorted_and_in_pages() -> None:
    with recorders("a") as (a,):
        names = [f"s{number}" for number in range(12)]
        dynamic = config({}, **dict.fromkeys(names, a.url))
        routers = {name: {"rule": f"Path(`/{name}`)", "service": name} for name in names}
        dynamic["http"]["routers"] = routers
        with watched(dynamic) as lb:
            client = lb.client()
            for number, name in enumerate(names):
                for _ in range(number + 1):
                    client.ask(GET.replace(b"/x", f"/{name}".encode()))
            eventually(lambda: len(maxima(lb, "&kind=router&q=s1")) == 3, "s1, s10 and s11 are seen")
            eventually(lambda: len(maxima(lb, "&kind=router&q=file")) == 12, "all are seen")
            page = api(lb, "/api/maxima?kind=routers&q=file&per_page=5&page=3&sort=inFlight")[1]
            assert (page["total"], page["pages"], page["page"], len(page["items"])) == (12, 3, 3, 2)
            eventually(lambda: len(maxima(lb, "&kind=service&sort=rate")) == 12, "the services, too")
            found = api(lb, "/api/maxima?kind=service&sort=rate")[1]["items"]
            rates = [item["maxima"]["rate"]["most"] for item in found]
            assert rates == sorted(rates, reverse=True)
            assert {item["kind"] for item in api(lb, "/api/maxima?kind=member")[1]["items"]} == {"member"}
            for query in ("sort=x", "kind=middleware", "page=0", "per_page=1001", "color=1", "page=-1"):
                status, answer, _ = api(lb, f"/api/maxima?{query}")
                assert status == 400 and answer["message"], query
            assert api(lb, "/api/maxima", "POST")[0] == 405
