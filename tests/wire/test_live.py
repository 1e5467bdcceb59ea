"""What the API tells those who watch: stream, structure, the last hour, searches, actions. Over its entry point."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from lbcore.api import history as history_module
from lbcore.api import live as live_module
from lbcore.dashboard import files
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import config, recorders
from tests.support.stream import Stream
from tests.support.wire import Edge, edge
from tests.wire.test_health import check, patients
from tests.wire.test_observability import TOKEN, api, watched

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def port_of(lb: Edge) -> int:
    return lb.proxy.addresses["traefik"][1]


@contextlib.contextmanager
def watching(lb: Edge) -> Iterator[Stream]:
    stream = Stream(port_of(lb))
    try:
        yield stream
    finally:
        stream.close()


@contextlib.contextmanager
def traffic(lb: Edge) -> Iterator[None]:
    """Requests, again and again, while the block lasts."""
    stop = threading.Event()

    def run() -> None:
        client = lb.client()
        while not stop.wait(0.002):
            client.ask(GET)
        client.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def post(lb: Edge, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(lb), timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text


def act(lb: Edge, member: str, action: str, token: str = TOKEN, **more: Any) -> tuple[int, Any]:
    path = "/api/http/services/all@file/members"
    return post(lb, path, {"member": member, "action": action, **more}, Authorization=f"Bearer {token}")


def test_who_watches_sees_all_parts_of_the_way_of_requests() -> None:
    with patients("a", "b") as (a, b):
        balancer = {"servers": [{"url": a.url, "weight": 3}, {"url": b.url}], **check()}
        dynamic = config({"all": {"loadBalancer": balancer}})
        dynamic["http"]["middlewares"] = {"name": {"headers": {"customRequestHeaders": {"X-A": "1"}}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["name"]
        with watched(dynamic) as lb, watching(lb) as stream, traffic(lb):
            assert stream.answer.headers["content-type"].startswith("text/event-stream")
            hello = stream.event("hello")
            assert (hello["interval"], hello["writable"]) == (1000, True)
            nodes = {node["id"]: node for node in api(lb, "/api/structure")[1]["nodes"]}
            assert nodes["http/routers/all@file"]["entryPoints"] == ["entrypoints/web"]
            assert nodes["http/routers/all@file"]["middlewares"] == ["http/middlewares/name@file"]
            assert nodes["http/routers/all@file"]["service"] == "http/services/all@file"
            members = [f"http/members/all@file|{url}" for url in (a.url, b.url)]
            assert nodes["http/services/all@file"]["members"] == members
            ids = ["entrypoints/web", "http/routers/all@file", "http/middlewares/name@file", "http/services/all@file"]
            stream.until(lambda: all("rate" in stream.nodes.get(id, {}) for id in [*ids, *members]), "all have a rate")
            for id in [*ids, *members]:
                if "/middlewares/" not in id:
                    view = stream.nodes[id]
                    assert 0 < view["p50"] <= view["p95"] <= view["p99"] < 60_000, id
            assert stream.totals["rate"] > 0
            share = stream.until(
                lambda: stream.nodes[members[0]]["requests"] > 200 and stream.nodes[members[0]], "many requests"
            )
            assert share["wanted"] == 0.75
            assert share["share"] == pytest.approx(0.75, abs=0.05)
            assert "errors" not in stream.nodes[ids[1]]
            a.failing = True
            found = stream.until(lambda: stream.nodes[ids[1]].get("errors") and stream.nodes[ids[1]], "failures")
            assert found["classes"][5] == pytest.approx(found["errors"], abs=0.01)
            stream.until(lambda: stream.nodes[members[0]].get("errors"), "the server's failures")


def end_connections(listener: socket.socket) -> None:
    """Read what comes, and close without an answer."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(65536)


def test_a_server_that_cannot_be_reached_or_ends_without_an_answer_has_errors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=end_connections, args=(listener,), daemon=True).start()
        urls = {"all": f"http://127.0.0.1:{free_port()}", "end": f"http://127.0.0.1:{listener.getsockname()[1]}"}
        dynamic = config({name: {"loadBalancer": {"servers": [{"url": url}]}} for name, url in urls.items()})
        dynamic["http"]["routers"]["end"] = {"rule": "Path(`/end`)", "service": "end", "priority": 1000}
        with watched(dynamic, metrics={"prometheus": {}}) as lb, watching(lb) as stream:
            for path in (b"/x", b"/end"):
                assert lb.ask(GET.replace(b"/x", path))[0].split()[1] == "502"
            ids = {f"http/members/{name}@file|{url}" for name, url in urls.items()}
            ids |= {f"http/services/{name}@file" for name in urls}
            seen = set()

            def all_have_errors() -> bool:
                seen.update(id for id in ids if stream.nodes.get(id, {}).get("errors"))
                return seen == ids

            stream.until(all_have_errors, "all have had errors")
            text = api(lb, "/metrics")[1]
            for name, url in urls.items():
                line = f'lbcore_server_responses_total{{class="none",service="{name}@file",url="{url}"}} 1.0'
                assert line in text, [each for each in text.splitlines() if "server_responses_total" in each]
        listener.shutdown(socket.SHUT_RDWR)


def test_what_is_over_is_idle_again_and_no_part_of_an_event() -> None:
    with patients("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with watched(dynamic) as lb, watching(lb) as stream:
            lb.client().ask(GET)
            stream.until(lambda: "http/routers/all@file" in stream.nodes, "the router had a request")
            stream.until(lambda: "http/routers/all@file" not in stream.nodes, "it is idle")
            assert not [id for id in stream.nodes if id.startswith(("http/services/all", "http/members/all"))]


def test_down_servers_have_a_cause_and_so_have_what_leads_to_them() -> None:
    with patients("a", "b") as (a, b):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}, {"url": b.url}], **check()}}})
        with watched(dynamic) as lb, watching(lb) as stream:
            first, service = f"http/members/all@file|{a.url}", "http/services/all@file"
            a.status = 500
            view = stream.until(lambda: stream.nodes.get(first, {}).get("down") and stream.nodes[first], "a is down")
            assert view["states"] == ["down"]
            assert view["cause"] == "health check failed: received error status code: 500"
            assert view["since"] == pytest.approx(stream.events[-1][1]["time"], abs=60_000)
            assert not stream.nodes.get(service, {}).get("down")
            b.status = 500
            view = stream.until(lambda: stream.nodes.get(service, {}).get("down") and stream.nodes[service], "all is")
            assert view["cause"] == "2 of 2 servers are down"
            router = "http/routers/all@file"
            view = stream.until(lambda: stream.nodes.get(router, {}).get("down") and stream.nodes[router], "its router")
            assert view["cause"] == "2 of 2 servers are down"
            a.status = b.status = 200
            stream.until(lambda: not stream.nodes.get(router, {}).get("down"), "all is well")
            # Who comes later is told, too, how often and for how long a server was down that is idle and well now.
            view = stream.until(lambda: not stream.nodes[first].get("down") and stream.nodes[first], "a is up")
            assert view["downs"] == 1 and view["downMs"] > 0
        with watched(dynamic) as lb:
            with watching(lb) as stream:
                a.status = 500
                stream.until(lambda: stream.nodes.get(first, {}).get("downs"), "a is down")
                assert stream.nodes[first]["downMs"] == 0, "of an outage that lasts `since` tells"
            a.status = 200
            with watching(lb) as stream:
                stream.until(lambda: stream.nodes.get(first, {}).get("downMs"), "it ends")
                assert stream.nodes[first]["downs"] == 1


def test_members_are_drained_taken_out_and_reset_with_the_token_alone(caplog: pytest.LogCaptureFixture) -> None:
    with recorders("a", "b") as (a, b):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}, {"url": b.url}]}}})
        with watched(dynamic) as lb, watching(lb) as stream:
            assert act(lb, a.url, "eject", token="no")[0] == 403
            assert api(lb, "/api/token")[0] == 403
            assert api(lb, "/api/token", token=TOKEN)[0] == 200
            status, answer = act(lb, a.url, "drain")
            assert (status, answer["id"]) == (200, f"http/members/all@file|{a.url}")
            assert answer["live"]["states"] == ["overridden", "drained"]
            assert (answer["live"]["weight"], answer["live"]["wanted"], answer["live"]["override"]) == (0, 0, 0)
            stream.until(lambda: "drained" in stream.nodes.get(answer["id"], {}).get("states", ()), "a drains")
            client = lb.client()
            assert {client.ask(GET)[2] for _ in range(4)} == {b"b"}
            status, answer = act(lb, b.url, "eject")
            assert (status, answer["needsForce"]) == (409, True)
            assert "states" not in act(lb, a.url, "undrain")[1]["live"]
            status, answer = act(lb, b.url, "eject")
            assert (status, answer["live"]["states"]) == (200, ["taken-out"])
            assert answer["live"]["cause"] == "taken out by hand"
            assert {client.ask(GET)[2] for _ in range(4)} == {b"a"}
            assert act(lb, a.url, "eject", force=True)[0] == 200
            assert client.ask(GET)[0].split()[1] == "503"
            assert [act(lb, url, "reset")[1]["live"].get("states") for url in (a.url, b.url)] == [None, None]
            assert {client.ask(GET)[2] for _ in range(4)} == {b"a", b"b"}
            assert act(lb, "http://no", "drain")[0] == 404
            assert act(lb, a.url, "explode")[0] == 400
            assert post(lb, "/api/http/services/no@file/members", {}, Authorization=f"Bearer {TOKEN}")[0] == 404
    lines = [record.getMessage() for record in caplog.records if record.name == "lbcore.audit"]
    assert f"service all@file: {a.url} drains: it gets no new clients, and keeps its sessions (by 127.0.0.1)" in lines


def test_the_last_check_of_a_server_is_told_also_while_it_takes_nothing_away() -> None:
    with contextlib.ExitStack() as stack:
        (a,) = stack.enter_context(patients("a"))
        balancer = {"servers": [{"url": a.url}], **check(interval="200ms", fall=1000)}
        lb = stack.enter_context(watched(config({"all": {"loadBalancer": balancer}})))
        id = quote(f"http/members/all@file|{a.url}", safe="")

        def last() -> dict[str, Any]:
            found: dict[str, Any] = api(lb, f"/api/history?id={id}")[1].get("lastCheck", {})
            tree = api(lb, "/api/http/services/all@file")[1]["health"]["servers"][0]
            assert tree["status"] == "UP" and ("lastCheck" in tree or not found)
            return found

        eventually(lambda: last().get("ms", 0) > 0 and "error" not in last(), "a check that passes")
        first = last()
        a.status = 503
        eventually(lambda: "503" in last().get("error", ""), "a check that fails")
        assert last()["at"] >= first["at"] and abs(last()["at"] / 1000 - time.time()) < 60
        assert "lastCheck" not in api(lb, "/api/history?id=http/services/all%40file")[1]


def test_paths_that_change_something_take_their_own_methods_alone() -> None:
    """They are not looked for among the objects of which lists are: `weights` is no service."""
    own = {
        "/api/http/services/all@file/weights": "DELETE, PUT",
        "/api/http/services/all@file/members": "POST",
        "/api/certificates/renew": "POST",
        "/api/reload": "POST",
        "/api/explain": "POST",
    }
    with recorders("a") as (a,), watched(config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})) as lb:
        for path, methods in own.items():
            for method in ("GET", "HEAD", "PATCH"):
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port_of(lb), timeout=30)) as connection:
                    connection.request(method, path)
                    answer = connection.getresponse()
                    assert (answer.status, answer.headers["Allow"]) == (405, methods), (method, path)


def test_a_page_of_another_origin_changes_and_reads_nothing() -> None:
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with watched(dynamic) as lb:
            body = {"request": "GET http://shop.test/"}
            assert post(lb, "/api/explain", body)[0] == 200
            assert post(lb, "/api/explain", body, Origin="http://evil.test")[0] == 403
            own = f"http://127.0.0.1:{port_of(lb)}"
            assert post(lb, "/api/explain", body, Origin=own)[0] == 200
            stream = Stream(port_of(lb), headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"})
            assert stream.answer.status == 403
            stream = Stream(port_of(lb), "/dashboard/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
            assert stream.answer.status == 200


def test_explanations_know_the_present_state_and_move_nothing() -> None:
    with recorders("a", "b") as (a, b):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}, {"url": b.url}]}}})
        with watched(dynamic) as lb:
            asked = {"request": "GET http://shop.test/x", "headers": ["X-A: 1"], "entryPoint": "web"}
            lines = post(lb, "/api/explain", asked)[1]["lines"]
            assert lines[-1] in (f"server: {a.url}", f"server: {b.url}")
            assert act(lb, a.url, "eject")[0] == 200
            assert {post(lb, "/api/explain", asked)[1]["lines"][-1] for _ in range(4)} == {f"server: {b.url}"}
            assert api(lb, "/api/tree")[1][0]["servers"][1]["requests"] == 0
            assert post(lb, "/api/explain", {"request": "nonsense"})[0] == 400
            assert post(lb, "/api/explain", {"request": 7})[0] == 400
            assert post(lb, "/api/explain", asked, **{"Content-Type": "text/plain"})[0] == 415


def test_searches_say_how_many_there_are() -> None:
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    dynamic["http"]["routers"] = {f"r{n}": {"rule": f"Path(`/{n}`)", "service": "all"} for n in range(120)}
    dynamic["http"]["routers"]["bad"] = {"rule": "Hst(`x`)", "service": "all"}
    with watched(dynamic) as lb:
        found = api(lb, "/api/search?kind=router&per_page=50&page=3")[1]
        assert (found["total"], found["all"], found["pages"], len(found["items"])) == (123, 123, 3, 23)
        found = api(lb, "/api/search?kind=router&q=%2F11+r1")[1]
        assert [item["node"]["name"] for item in found["items"]] == [f"r{n}@file" for n in (11, *range(110, 120))]
        found = api(lb, "/api/search?state=disabled")[1]
        assert [(item["node"]["id"], item["live"]["states"]) for item in found["items"]] == [
            ("http/routers/bad@file", ["disabled"])
        ]
        assert api(lb, "/api/search?page=99&kind=router")[1]["items"] == []
        for query in ("page=0", "per_page=9999", "sort=color", "nonsense=1"):
            assert api(lb, f"/api/search?{query}")[0] == 400, query


def test_a_server_that_is_left_out_has_no_weight_of_another_one() -> None:
    servers = [{"url": "ftp://x", "weight": 7}, {"url": "http://127.0.0.1:1", "weight": 3}, {"url": "http://127.0.0.1:2"}]
    with watched(config({"all": {"loadBalancer": {"servers": servers}}})) as lb:
        nodes = {node["key"]: node for node in api(lb, "/api/structure")[1]["nodes"] if node["kind"] == "member"}
    weights = {"ftp://x": None, "http://127.0.0.1:1": 3, "http://127.0.0.1:2": 1}
    assert {key: node.get("weight") for key, node in nodes.items()} == weights


def test_the_structure_is_compressed_and_known_by_its_version() -> None:
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    with watched(dynamic) as lb:
        connection = http.client.HTTPConnection("127.0.0.1", port_of(lb), timeout=30)
        connection.request("GET", "/api/structure", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
        answer.read()
        tag = answer.headers["etag"]
        connection.request("GET", "/api/structure", headers={"If-None-Match": tag})
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (304, b"")
        connection.close()
        with watching(lb) as stream:
            assert f'"{stream.event("hello")["structure"]}"' == tag


def test_the_last_hour_of_what_has_traffic_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (live_module, history_module):
        monkeypatch.setattr(module, "INTERVAL_S", 1)
    with recorders("a") as (a,):
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}})
        with watched(dynamic) as lb:
            ids = ["totals", "entrypoints/web", "http/routers/all@file", "http/services/all@file"]
            ids.append(f"http/members/all@file|{a.url}")

            def history(id: str) -> Any:
                return api(lb, f"/api/history?id={quote(id, safe='')}")[1]

            with traffic(lb):
                for id in ids:
                    eventually(lambda id=id: any(history(id)["rate"]), f"a curve of {id}")  # type: ignore[misc]
            for id in ids:
                found = history(id)
                assert found["kept"]
                assert {len(found[column]) for column in ("times", *history_module.COLUMNS)} == {len(found["times"])}
                assert any(value and value > 0 for value in found["p95"])
            eventually(lambda: history(ids[2])["rate"][-1] == 0, "it is idle")
            assert history("http/routers/api@internal")["kept"] in (True, False)
            assert api(lb, "/api/history?id=http/routers/no@file")[0] == 404


def test_watchers_are_limited_and_the_slow_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST_WATCHERS", 2)
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    with watched(dynamic) as lb, watching(lb) as first, watching(lb) as second:
        first.event("hello")
        assert second.event("hello")["watchers"] == 2
        assert api(lb, "/api/live")[:2] == (503, {"message": "2 watch already"})
        first.until(lambda: first.totals.get("watchers") == 2, "two watch")
        second.close()
        first.until(lambda: first.totals.get("watchers") == 1, "one has left")
        with watching(lb) as third:
            third.event("state")
            monkeypatch.setattr(live_module, "MOST_QUEUED", 0)
            while third.next() is not None:
                pass
        assert first.next() is None or first.next() is None
        monkeypatch.setattr(live_module, "MOST_QUEUED", 8)
        with watching(lb) as fourth:
            fourth.until(lambda: fourth.totals.get("watchersDropped") == 2, "two were dropped")


def test_who_asks_for_the_head_of_the_stream_does_not_watch() -> None:
    """The stream has no end, and the answer would have none, on a connection that others would be answered on, too."""
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    with watched(dynamic) as lb:
        for _ in range(live_module.MOST_WATCHERS + 1):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port_of(lb), timeout=30)) as client:
                client.request("HEAD", "/api/live")
                answer = client.getresponse()
                assert (answer.status, answer.getheader("content-type")) == (200, "text/event-stream; charset=utf-8")
                answer.read()
                client.request("GET", "/api/version")
                assert client.getresponse().status == 200
        with watching(lb) as stream:
            assert stream.event("hello")["watchers"] == 1


def test_the_files_of_the_page_come_with_all_that_browsers_have_to_know() -> None:
    dynamic = config({"all": {"loadBalancer": {"servers": []}}})
    with watched(dynamic) as lb:
        status, text, headers = api(lb, "/dashboard/")
        assert status == 200 and "<script>" not in text and "style=" not in text and "onclick" not in text
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert (headers["content-type"], headers["cache-control"]) == ("text/html; charset=utf-8", "no-cache")
        assert headers["x-content-type-options"] == "nosniff"
        inside = ("assets", "__init__.py", "built/index.html")
        for path in ("../app.py", "%2e%2e/app.py", "..%2f..%2fapp.py", "/etc/passwd", *inside):
            assert api(lb, f"/dashboard/{path}")[0] == 404, path
        status, _, above = api(lb, "/")
        assert (status, above["location"]) == (301, "http://a/dashboard/")
        assert api(lb, "/nothing")[2]["x-content-type-options"] == "nosniff"
        tag = headers["etag"]
        stream = Stream(port_of(lb), "/dashboard/", {"If-None-Match": tag})
        assert stream.answer.status == 304
    with watched(dynamic, api={"insecure": True, "dashboard": False}) as lb:
        assert api(lb, "/dashboard/")[0] == 404
        assert api(lb, "/api/overview")[0] == 200
    with watched(dynamic, api={"insecure": True, "basePath": "/lb"}) as lb:
        assert api(lb, "/lb/dashboard/")[0] == 200
        assert api(lb, "/lb/api/structure")[0] == 200
        assert api(lb, "/dashboard/")[0] == 404


def test_a_router_to_a_part_of_the_admin_server_gives_no_way_to_the_rest() -> None:
    services = {"metrics": "prometheus@internal", "page": "dashboard@internal", "all": "api@internal"}
    routers = {
        name: {"rule": f"Host(`{name}.test`)", "service": service, "entryPoints": ["web"]}
        for name, service in services.items()
    }
    static = {"api": {}, "metrics": {"prometheus": {"manualRouting": True}}}
    asset = "/" + next(path for path in files() if path.startswith("assets/"))
    with edge({"http": {"routers": routers}}, {"web": {"address": "127.0.0.1:0"}}, static) as lb:
        answers = {}
        for name in services:
            for path in ("/metrics", "/dashboard/", "/api/rawdata", "/dashboard", asset):
                client = lb.client()
                more = "X-Lbcore-Service: api@internal\r\nConnection: X-Lbcore-Service\r\n" if name != "all" else ""
                head = f"GET {path} HTTP/1.1\r\nHost: {name}.test\r\n{more}\r\n"
                answers[name, path] = int(client.ask(head.encode())[0].split()[1])
                client.close()
        assert {key for key, status in answers.items() if status == 200} == {
            ("metrics", "/metrics"),
            ("page", "/dashboard/"),
            ("page", asset),
            *(("all", path) for path in ("/metrics", "/dashboard/", "/api/rawdata")),
        }
        assert answers.pop(("page", "/dashboard")) == 301
        assert set(answers.values()) == {200, 404}
        client = lb.client()
        redirected = {
            name: client.ask(f"GET / HTTP/1.1\r\nHost: {name}.test\r\n\r\n".encode())[0].split()[1]
            for name in ("page", "all")
        }
        client.close()
        assert redirected == {"page": "200", "all": "302"}
