"""Single requests as they pass, for those who watch them: what fits, what is shown of it, how many a second."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from lbcore.api import tap as tap_module
from lbcore.state.cells import most_taps
from tests.support.instance import eventually
from tests.support.recorder import Recorder, config, recorders
from tests.support.stream import Stream
from tests.support.wire import Edge
from tests.wire.test_observability import api, watched

GET = b"GET /cart/7?token=secret HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Bearer very-secret\r\n\r\n"


def request(path: str = "/x", host: str = "shop.test", method: str = "GET", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode()


@contextlib.contextmanager
def tapping(lb: Edge, **asked: Any) -> Iterator[Stream]:
    """A stream, after the data plane has heard of it."""
    stream = Stream(lb.proxy.addresses["traefik"][1], f"/api/tap?{urlencode(asked)}")
    try:
        assert stream.answer.status == 200, stream.answer.read()
        stream.event("hello")
        stream.event("counts")  # of the first poll, behind which requests are shown
        yield stream
    finally:
        stream.close()


def shown(stream: Stream) -> dict[str, Any]:
    return stream.event("request")


def two_services(a: Recorder, b: Recorder) -> dict[str, Any]:
    dynamic = config({}, all=a.url, api=b.url)
    dynamic["http"]["routers"]["api"] = {"rule": "PathPrefix(`/api`)", "service": "api", "priority": 1000}
    return dynamic


def test_a_request_is_shown_with_what_the_access_log_would_have() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb, tapping(lb) as stream:
        client = lb.client()
        headers = "Cookie: id=very-secret\r\nContent-Length: 3\r\n"
        posted = request("/cart/7?token=secret", method="POST", headers=headers) + b"abc"
        assert client.ask(posted)[0].split()[1] == "200"
        found = shown(stream)
        assert found.pop("time") == pytest.approx(time.time() * 1000, abs=600_000)
        assert 0 < found["firstByteMs"] <= found["ms"] + 1
        assert "secret" not in json.dumps(found)
        assert found == {
            "client": "127.0.0.1",
            "method": "POST",
            "host": "shop.test",
            "path": "/cart/7",
            "protocol": "HTTP/1.1",
            "tls": False,
            "status": 200,
            "entryPoint": "web",
            "router": "all@file",
            "service": "all@file",
            "server": a.url,
            "ms": found["ms"],
            "firstByteMs": found["firstByteMs"],
            "bytesIn": 3,
            "bytesOut": 1,
            "retries": 0,
        }


def test_what_the_access_log_drops_is_neither_shown_nor_asked_for() -> None:
    log = {
        "filePath": "/dev/null",
        "fields": {"names": {"ClientHost": "drop", "RouterName": "drop"}, "queryParameters": {"defaultMode": "keep"}},
    }
    with recorders("a") as (a,), watched(config({}, all=a.url), accessLog=log) as lb:
        with tapping(lb) as stream:
            lb.ask(GET)
            found = shown(stream)
            assert (found["path"], found["query"]) == ("/cart/7", "token=secret")
            assert not {"client", "router"} & found.keys()
            assert found["service"] == "all@file"
            assert "very-secret" not in json.dumps(found)
        status, answer, _ = api(lb, "/api/tap?client=127.0.0.1")
        assert (status, answer["message"]) == (
            400,
            "client: accessLog.fields drops ClientHost, so that it cannot be asked for",
        )
    log["fields"]["queryParameters"]["defaultMode"] = "drop"  # type: ignore[index]
    with recorders("a") as (a,), watched(config({}, all=a.url), accessLog=log) as lb, tapping(lb) as stream:
        lb.ask(GET)
        assert "secret" not in json.dumps(shown(stream))
        lb.ask(b"GET /x?secret=1 HTTP/1.1\r\n\r\n")  # a head that is refused: its target is told as it came
        found = shown(stream)
        assert (found["status"], "secret" not in json.dumps(found)) == (400, True)


def test_requests_that_are_not_logged_are_not_shown() -> None:
    with recorders("a", "b") as (a, b):
        dynamic = two_services(a, b)
        dynamic["http"]["routers"]["api"]["observability"] = {"accessLogs": False}
        with watched(dynamic) as lb, tapping(lb) as stream:
            api(lb, "/api/overview")  # lbcore's own
            lb.ask(request("/api/1"))
            lb.ask(request("/last"))
            assert shown(stream)["path"] == "/last"


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        ({"router": "api"}, ["/api/1", "/api/bad"]),
        ({"router": "api@file"}, ["/api/1", "/api/bad"]),
        ({"service": "all"}, ["/x", "/gone"]),
        ({"status": "5xx"}, ["/api/bad"]),
        ({"status": "404,500-503"}, ["/api/bad"]),
        ({"method": "delete"}, ["/gone"]),
        ({"path": "/api/b"}, ["/api/bad"]),
        ({"path": "/api", "status": "2xx"}, ["/api/1"]),
    ],
)
def test_only_what_fits_is_shown(asked: dict[str, str], paths: list[str]) -> None:
    with recorders("a", "b") as (a, b):
        b.answer = lambda first, headers, body: (503 if "bad" in first else 200, b"b")
        with watched(two_services(a, b)) as lb, tapping(lb, **asked) as stream:
            for method, each in (("GET", "/x"), ("GET", "/api/1"), ("GET", "/api/bad"), ("DELETE", "/gone")):
                lb.ask(request(each, method=method))
            assert [shown(stream)["path"] for _ in paths] == paths
            for _ in range(2):  # the second one tells of all that came before the first
                counts = stream.event("counts")
            assert counts == {"shown": len(paths), "skipped": 0, "lost": 0}


def test_a_server_is_asked_for_by_its_url() -> None:
    with recorders("a", "b") as (a, b), watched(two_services(a, b)) as lb, tapping(lb, server=b.url) as stream:
        for path in ("/x", "/api/1"):
            lb.ask(request(path))
        assert shown(stream)["path"] == "/api/1"


def test_the_client_is_the_one_that_a_trusted_proxy_names() -> None:
    with recorders("a") as (a,):
        dynamic = config({}, all=a.url)
        for client, asked in (("10.1.2.3", "10.0.0.0/8"), ("2001:db8::7", "2001:db8::/32")):
            with watched_by_proxies(dynamic) as lb, tapping(lb, client=asked) as stream:
                for each in ("192.0.2.1", client, "no address"):
                    lb.ask(request(headers=f"X-Forwarded-For: {each}, 192.0.2.9\r\n"))
                assert shown(stream)["client"] == f"{client}, 192.0.2.9"
                counts = stream.event("counts")
                assert (counts["shown"], counts["skipped"]) == (1, 0)


@contextlib.contextmanager
def watched_by_proxies(dynamic: dict[str, Any]) -> Iterator[Edge]:
    from tests.support.wire import edge

    points = {
        "web": {"address": "127.0.0.1:0", "forwardedHeaders": {"insecure": True}},
        "traefik": {"address": "127.0.0.1:0"},
    }
    for router in dynamic["http"]["routers"].values():
        router.setdefault("entryPoints", ["web"])
    with edge(dynamic, points, {"api": {"insecure": True}}) as lb:
        yield lb


def test_a_server_that_cannot_be_reached_and_a_wait_for_a_router_are_shown() -> None:
    from tests.support.ports import free_port

    dynamic = config({}, all=f"http://127.0.0.1:{free_port()}")
    dynamic["http"]["routers"]["all"]["rule"] = "Host(`shop.test`)"
    with watched(dynamic) as lb, tapping(lb) as stream:
        lb.ask(request())
        found = shown(stream)
        assert (found["status"], found["service"], "firstByteMs" in found) == (502, "all@file", False)
        lb.ask(request(host="other.test"))
        found = shown(stream)
        assert (found["status"], "router" in found, "service" in found) == (404, False, False)


def test_the_rate_holds_and_what_is_not_shown_is_counted() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb:
        with tapping(lb, rate=5) as slow, tapping(lb, rate=100, path="/other") as other:
            client = lb.client()
            began = time.monotonic()
            for _ in range(300):
                client.ask(request())
            took = time.monotonic() - began
            client.ask(request("/other"))
            assert shown(other)["path"] == "/other"

            def complete() -> dict[str, int] | None:
                counts = slow.event("counts")
                return counts if counts["shown"] + counts["skipped"] == 301 else None

            counts = eventually(complete, "all are counted")
            assert counts["lost"] == 0
            assert counts["shown"] <= 5 * (took + 2) + 5
            assert counts["shown"] == sum(name == "request" for name, _ in slow.events)


def test_the_watch_ends_with_the_last_one_who_watches_or_after_its_time() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb:
        region = lb.proxy._region
        until = "lbcore nobody watches"
        with tapping(lb, **{"for": "300ms"}) as stream:
            lb.ask(request())
            names = []
            while (found := stream.next()) is not None:
                names.append(found[0])
            assert names[-1] == "end"
            assert stream.events[-1][1]["shown"] == 1
        taps = taps_of(lb)
        eventually(lambda: taps._running is None, until)
        lb.ask(request())
        with tapping(lb) as stream:
            lb.ask(request("/second"))
            assert shown(stream)["path"] == "/second", "what was over before is not shown"
        eventually(lambda: taps._running is None, until)
        assert len(taps._free) == most_taps
        assert region.taps_lost == 0


def taps_of(lb: Edge) -> Any:
    return lb.proxy._admin._taps  # type: ignore[union-attr]


def test_the_flag_ends_by_itself_when_nobody_renews_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "LEASE_S", 0.0)  # each poll's lease is over at once
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb, tapping(lb) as stream:
        lb.ask(request())
        counts = stream.event("counts")
        assert (counts["shown"], counts["skipped"]) == (0, 0)


def test_watchers_are_bounded_and_each_has_a_reason_to_be_refused() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb, contextlib.ExitStack() as stack:
        for _ in range(most_taps):
            stack.enter_context(tapping(lb))
        status, answer, headers = api(lb, "/api/tap")
        assert (status, answer["message"]) == (503, f"{most_taps} watch requests already")
        assert headers["retry-after"] == "5"
        stack.close()
        eventually(lambda: len(taps_of(lb)._free) == most_taps, "all have gone")
        with tapping(lb):
            pass
        for query, status, message in (
            ("rate=0", 400, "rate: '0' is no number between 1 and 100 a second"),
            ("rate=1e3", 400, "rate: '1e3' is no number between 1 and 100 a second"),
            ("for=soon", 400, "for: 'soon' is not a duration: write 10s, 250ms or 1m30s; a bare number is seconds"),
            ("for=0s", 400, "for: 0s is not between 1ms and 24h"),
            ("status=6xx", 400, "status: '6xx' is none of 404, 500-504, 5xx and none (no answer)"),
            ("client=10.0.0.0/40", 400, "client: '10.0.0.0/40' is neither an address nor a network"),
            ("router=shopp", 404, "router not found: shopp"),
            ("service=all@nowhere", 404, "service not found: all@nowhere"),
            ("path=%2F&path=%2Fx", 400, "path is given twice"),
            ("what=1", 400, f"no such filter: what; there are {', '.join(tap_module.FILTERS)}, and rate and for"),
            ("path=" + "x" * 3000, 400, "path: more than 2048 letters"),
            ("path=" + "%F0%9F%98%80" * 1025, 400, "the filters have more than 4096 bytes"),
        ):  # fmt: skip
            found = api(lb, f"/api/tap?{query}")
            assert found[:2] == (status, {"message": message})


def test_pages_of_other_origins_are_refused_and_a_head_watches_nothing() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb:
        connection = http.client.HTTPConnection("127.0.0.1", lb.proxy.addresses["traefik"][1], timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/api/tap", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"})
            assert connection.getresponse().status == 403
            connection.close()
            connection.request("HEAD", "/api/tap")
            assert connection.getresponse().status == 200
        assert not taps_of(lb)._watchers


def test_paths_and_hosts_are_shown_up_to_a_length_and_as_text() -> None:
    with recorders("a") as (a,), watched(config({}, all=a.url)) as lb, tapping(lb) as stream:
        lb.ask(request("/" + "x" * 5000))
        assert len(shown(stream)["path"]) == 2048
        lb.ask(b"GET /\xc3\xa4\xff HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        assert shown(stream)["status"] in (200, 400)
