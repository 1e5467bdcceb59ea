"""What is open, listed over the API, and the end of some of it: what clients and servers see of that."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.certificates import certificate
from tests.support.http2 import Http2Client
from tests.support.http3 import http3
from tests.support.instance import eventually
from tests.support.recorder import Held, config, recorders
from tests.support.udp import UdpClient, servers, udp
from tests.support.wire import TIMEOUT_S, Edge, Peer, edge, serving
from tests.wire.test_http2 import switching, websocket
from tests.wire.test_observability import TOKEN, api, metric
from tests.wire.test_tcp import address, echoes

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
API = {"api": {"insecure": True, "token": TOKEN}, "metrics": {"prometheus": {}}}
POINTS = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}
ID = re.compile(r"0-[0-9a-z]{8,}\.[0-9]+(\.[0-9]+)?")
INTERNAL_ERROR = 2
FILTERS = "kind, entrypoint, router, service, server, client"


@contextlib.contextmanager
def sessions_edge(dynamic: dict[str, Any], points: dict[str, Any] | None = None, **more: Any) -> Iterator[Edge]:
    for layer in ("http", "tcp"):
        for router in dynamic.get(layer, {}).get("routers", {}).values():
            router.setdefault("entryPoints", ["web"])
    with edge(dynamic, {**POINTS, **(points or {})}, {**API, **more}) as lb:
        yield lb


def listed(lb: Edge, **asked: Any) -> list[dict[str, Any]]:
    """Those of the entry point `web`, unless another one is asked for."""
    status, found, _ = api(lb, f"/api/sessions?{urlencode({'entrypoint': 'web', **asked})}")
    assert status == 200, found
    assert found["silent"] == []
    assert found["found"] >= len(found["sessions"])
    for session in found["sessions"]:
        assert ID.fullmatch(session["id"])
    return list(found["sessions"])


def one(lb: Edge, kind: str, **asked: Any) -> dict[str, Any]:
    (found,) = eventually(lambda: listed(lb, kind=kind, **asked), f"a session of kind {kind}")
    assert found["kind"] == kind
    return found


def close(lb: Edge, token: str = TOKEN, **body: Any) -> tuple[int, Any]:
    status, answer, _ = api(lb, "/api/sessions/close", "POST", body, token)
    return status, answer


def closed(lb: Edge, **body: Any) -> int:
    status, answer = close(lb, **body)
    assert status == 200, answer
    return int(answer["closed"])


def counted(lb: Edge) -> float:
    return metric(lb, "lbcore_entrypoint_errors_total", entrypoint="web", cause="closed")


# HTTP/1


def test_a_request_under_way_ends_as_if_its_server_had_failed_without_a_repetition() -> None:
    with recorders("a", "b") as (a, b):
        held = Held(a)
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": a.url}]}}}, other=b.url)
        dynamic["http"]["middlewares"] = {"again": {"retry": {"attempts": 3}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["again"]
        with sessions_edge(dynamic) as lb:
            client = lb.client()
            client.send(GET)
            assert held.asked.wait(TIMEOUT_S)
            found = one(lb, "http1")
            assert (found["router"], found["service"], found["server"]) == ("all@file", "all@file", a.url)
            assert found["client"] == f"127.0.0.1:{client.sock.getsockname()[1]}"
            assert (found["entryPoint"], found["tls"], found["requests"]) == ("web", False, 1)
            assert found["bytesIn"] == len(GET) and found["ageMs"] >= 0 and found["idleMs"] >= 0
            assert closed(lb, ids=[found["id"]]) == 1
            first, headers, body = client.message()
            assert (first.split()[1], headers["connection"], body) == ("502", "close", b"Bad Gateway")
            assert client.to_the_end() == b""
            assert closed(lb, ids=[found["id"]]) == 0, "it was over already"
            assert counted(lb) == 1
            held.opened.set()
        assert len(a.requests) == 1


def test_an_answer_that_has_begun_is_broken_off_and_an_idle_connection_closes() -> None:
    def begin(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                peer.message()
                peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")

    with serving(begin) as server, sessions_edge(config({}, all=server.url)) as lb:
        client = lb.client()
        client.send(GET)
        client.until(b"abc\r\n")
        found = one(lb, "http1", server=server.url)
        assert found["bytesOut"] > 0
        assert closed(lb, server=server.url) == 1
        assert client.to_the_end() == b"", "neither an end nor an error that looks like one"
        idle = lb.client()
        waiting = eventually(lambda: listed(lb), "a connection without a request")[0]
        assert waiting["kind"] in ("http1", "handshake") and "router" not in waiting
        assert closed(lb, ids=[waiting["id"]]) == 1
        assert idle.to_the_end() == b""
        assert counted(lb) == 2


def test_a_request_in_a_queue_and_a_body_that_is_coming_end_too() -> None:
    with recorders("a") as (a,):
        held = Held(a)
        balancer = {"servers": [{"url": a.url}], "maxConnections": 1, "queue": {"timeout": "1h"}}
        passive = {"passiveHealthCheck": {"failureWindow": "1h", "maxFailedAttempts": 1}}
        with sessions_edge(config({"all": {"loadBalancer": {**balancer, **passive}}})) as lb:
            under_way, waiting = lb.client(), lb.client()
            under_way.send(b"POST /x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 10\r\n\r\nabc")
            one(lb, "http1", server=a.url)
            waiting.send(GET)
            queued = eventually(
                lambda: [each for each in listed(lb, router="all") if "server" not in each], "one is in the queue"
            )
            assert closed(lb, ids=[queued[0]["id"]]) == 1
            assert waiting.message()[0].split()[1] == "502"
            assert closed(lb, server=a.url) == 1
            assert under_way.message()[0].split()[1] == "502"
            assert under_way.to_the_end() == b""
            held.opened.set()
            fresh = lb.client()
            assert fresh.ask(GET)[0].split()[1] == "200", "nothing is in flight any more, and the server has not failed"


def test_a_tunnel_is_closed_both_ways() -> None:
    ended = []

    def switch(peer: Peer) -> None:
        peer.until(b"\r\n\r\n")
        peer.send(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        ended.append(peer.to_the_end())

    with serving(switch) as server, sessions_edge(config({}, all=server.url)) as lb:
        client = lb.client()
        client.send(UPGRADE)
        client.until(b"hello")
        client.send(b"abc")
        found = one(lb, "upgrade")
        assert (found["server"], found["router"]) == (server.url, "all@file")
        assert eventually(lambda: one(lb, "upgrade")["bytesIn"] == len(UPGRADE) + 3, "the bytes of the client")
        assert closed(lb, server=server.url.removeprefix("http://")) == 1
        assert client.to_the_end() == b""
        eventually(lambda: ended, "the server sees the end")
        assert ended == [b"abc"]
        assert (counted(lb), listed(lb)) == (1, [])


# HTTP/2 and HTTP/3


def http2_to(lb: Edge) -> Http2Client:
    return Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S))


def begin_of_two(peer: Peer) -> None:
    """Answers /begun with a part, and nothing else."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            if "/begun" in peer.message()[0]:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")


def test_a_stream_ends_alone_and_a_connection_with_all_of_its_streams() -> None:
    with serving(begin_of_two) as server, sessions_edge(config({}, all=server.url)) as lb:
        h2 = http2_to(lb)
        streams = [h2.send(path=path) for path in ("/a", "/begun", "/b")]
        h2.until(lambda: h2.answers.get(streams[1]) and h2.answers[streams[1]].body == b"abc")
        connection = one(lb, "http2")
        found = {session["id"]: session for session in eventually(lambda: is_three(lb), "three streams")}
        assert connection["streams"] == 3 and "server" not in connection
        assert found.keys() == {f"{connection['id']}.{stream}" for stream in streams}
        assert {session["connection"] for session in found.values()} == {connection["id"]}
        assert closed(lb, ids=[f"{connection['id']}.{streams[0]}"]) == 1
        answer = h2.answer(streams[0])
        assert (answer.status, answer.body, answer.reset) == (502, b"Bad Gateway", None)
        assert closed(lb, ids=[f"{connection['id']}.{streams[1]}"]) == 1
        assert h2.answer(streams[1]).reset == INTERNAL_ERROR
        h2.ping()
        assert not h2.goaways
        assert closed(lb, ids=[connection["id"]]) == 1
        h2.to_the_end()
        assert h2.answers[streams[2]].reset == INTERNAL_ERROR
        assert [frame.error_code for frame in h2.goaways] == [0]
        assert listed(lb) == []
        assert counted(lb) == 4  # three streams, and the connection
        h2.close()


def is_three(lb: Edge) -> list[dict[str, Any]]:
    found = listed(lb, kind="stream")
    return found if len(found) == 3 else []


def test_the_streams_to_a_server_end_and_those_to_others_go_on() -> None:
    with recorders("a", "b") as (a, b):
        held = [Held(a), Held(b)]
        dynamic = config({}, all=a.url, b=b.url)
        dynamic["http"]["routers"]["b"] = {"rule": "Path(`/b`)", "service": "b", "priority": 1000}
        with sessions_edge(dynamic) as lb:
            h2 = http2_to(lb)
            one_, other = h2.send(path="/a"), h2.send(path="/b")
            assert all(each.asked.wait(TIMEOUT_S) for each in held)
            assert closed(lb, server=a.url) == 1
            assert h2.answer(one_).status == 502
            held[1].opened.set()
            assert h2.answer(other).body == b"b"
            assert not h2.goaways
            held[0].opened.set()
            h2.close()


def test_a_tunnel_in_a_stream_is_reset() -> None:
    with serving(switching) as server, sessions_edge(config({}, all=server.url)) as lb:
        h2 = http2_to(lb)
        stream = websocket(h2)
        assert h2.head_of(stream).status == 200
        found = one(lb, "upgrade")
        assert found["server"] == server.url and "connection" in found
        assert closed(lb, ids=[found["id"]]) == 1
        assert h2.answer(stream).reset is not None
        assert one(lb, "http2")["streams"] == 0
        h2.close()


def test_http3(tmp_path: Path) -> None:
    files = certificate(tmp_path, "a", "a.test")
    with serving(begin_of_two) as server:
        dynamic = config({}, all=server.url)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        dynamic["tls"] = {"certificates": [files.entry]}
        with sessions_edge(dynamic, {"web": {"address": "127.0.0.1:0", "http3": {}}}) as lb, http3(lb.address) as h3:
            streams = [h3.open(path=path) for path in ("/a", "/begun", "/b")]
            h3.until(lambda: h3.answer_of(streams[1]).body == b"abc")
            found = eventually(lambda: is_three(lb), "three streams")
            connection = one(lb, "http3")
            assert connection["tls"] and connection["streams"] == 3
            assert all(session["connection"] == connection["id"] for session in found)
            assert closed(lb, ids=[f"{connection['id']}.{streams[0]}"]) == 1
            assert h3.answer(streams[0]).status == 502
            assert closed(lb, ids=[connection["id"]]) == 1
            h3.until(lambda: h3.terminated is not None)
            assert not h3.answer_of(streams[2]).head
            eventually(lambda: not listed(lb), "nothing is open")


# Layer 4


def test_connections_of_tcp_close_at_both_ends() -> None:
    with echoes("a", "b") as (a, b):
        dynamic: dict[str, Any] = {
            "http": {},
            "tcp": {
                "routers": {"all": {"rule": "HostSNI(`*`)", "service": "all"}},
                "services": {"all": {"loadBalancer": {"servers": [{"address": address(each)} for each in (a, b)]}}},
            },
        }
        with sessions_edge(dynamic) as lb:
            clients = [lb.client() for _ in range(4)]
            names = [client.until(b"\n").strip().decode() for client in clients]
            assert sorted(names) == ["a", "a", "b", "b"]
            clients[0].send(b"hello")
            assert clients[0].exactly(5) == b"hello"
            found = listed(lb, server=address(a))
            assert {(each["kind"], each["router"], each["service"]) for each in found} == {
                ("tcp", "all@file", "all@file")
            }
            assert closed(lb, server=address(a)) == 2
            for client, name in zip(clients, names, strict=True):
                if name == "a":
                    assert client.to_the_end() == b""
                else:
                    client.send(b"still")
                    assert client.exactly(5) == b"still"
            assert (counted(lb), len(listed(lb, service="all"))) == (2, 2)
            assert not a.errors


def test_sessions_of_udp_end_and_a_client_that_sends_again_has_another_one() -> None:
    with contextlib.ExitStack() as stack:
        (a,) = stack.enter_context(servers("a"))
        point = {"address": "127.0.0.1:0/udp", "udp": {"timeout": "1h"}}
        point["transport"] = {"lifeCycle": {"graceTimeOut": 0}}
        lb = stack.enter_context(sessions_edge({"http": {}, **udp({a.address: 1})}, {"udp": point}))
        client = UdpClient(lb.proxy.addresses["udp"][1])
        stack.callback(client.close)
        answer = client.ask(b"hello")
        (found,) = listed(lb, entrypoint="udp")
        assert (found["kind"], found["server"], found["bytesIn"]) == ("udp", a.address, 5)
        assert found["bytesOut"] == len(answer) and found["idleMs"] >= 0
        assert closed(lb, client="127.0.0.1", kind="udp") == 1
        assert listed(lb, entrypoint="udp") == []
        client.ask(b"again")
        assert one(lb, "udp", entrypoint="udp")["id"] != found["id"]


# What is asked for


def test_lists_are_bounded_in_order_and_filtered() -> None:
    with recorders("a") as (a,), sessions_edge(config({}, all=a.url)) as lb:
        clients = []
        for _ in range(5):
            clients.append(lb.client())
            clients[-1].ask(GET)
        ids = [each["id"] for each in listed(lb, order="oldest")]
        assert ids == sorted(ids, key=lambda id: int(id.rpartition(".")[2])) and len(set(ids)) == 5
        assert [each["id"] for each in listed(lb)] == ids[::-1]
        status, found, _ = api(lb, "/api/sessions?entrypoint=web&limit=2")
        assert (found["found"], [each["id"] for each in found["sessions"]]) == (5, ids[:2:-1])
        assert listed(lb, client="192.0.2.0/24") == listed(lb, kind="http2") == listed(lb, server=a.url) == []
        assert len(listed(lb, client="127.0.0.0/8")) == 5
        # The connection over which this is asked for is listed, too, and is not closed by a filter.
        own = api(lb, "/api/sessions?entrypoint=traefik")[1]["sessions"]
        assert any(each.get("router") == "api@internal" for each in own)
        assert closed(lb, client="127.0.0.1") >= 5
        assert all(client.to_the_end() == b"" for client in clients)
        for query, status, message in (
            ("limit=0", 400, "limit: '0' is no number between 1 and 1000"),
            ("order=any", 400, "no such order: any; known: newest, oldest"),
            ("kind=ftp", 400, "no such kind: ftp; known: http1, http2, http3, stream, upgrade, tcp, udp, handshake"),
            ("entrypoint=wob", 404, "entry point not found: wob; known: web, traefik"),
            ("client=x", 400, "client: 'x' is neither an address nor a network"),
            ("what=1", 400, f"no such filter: what; there are {FILTERS}, and limit and order"),
        ):
            assert api(lb, f"/api/sessions?{query}")[:2] == (status, {"message": message})


def test_closing_needs_the_token_and_force_for_many_and_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    from lbcore.api import sessions as sessions_module

    with pytest.MonkeyPatch.context() as patch, recorders("a") as (a,), sessions_edge(config({}, all=a.url)) as lb:
        patch.setattr(sessions_module, "ALARMING", 2)
        clients = [lb.client() for _ in range(3)]
        for client in clients:
            client.ask(GET)
        (one_, *_) = [each["id"] for each in listed(lb)]
        assert close(lb, token="no", ids=[one_])[0] == 403
        assert api(lb, "/api/sessions/close")[0] == 405
        status, answer = close(lb, entrypoint="web")
        assert (status, answer) == (
            409,
            {"message": "3 sessions would be closed: entrypoint web", "needsForce": True},
        )
        assert len(listed(lb)) == 3
        assert closed(lb, entrypoint="web", force=True) == 3
        for body, message in (
            ({}, "needs ids of sessions, or one of kind, entrypoint, router, service, server, client"),
            ({"ids": []}, "between 1 and 1000 ids can be given"),
            ({"ids": "0-a.1"}, "ids is a list of texts"),
            ({"ids": ["0-a"]}, "'0-a' is not the id of a session"),
            ({"ids": ["0-a.1.2.3"]}, "'0-a.1.2.3' is not the id of a session"),
            ({"client": 7}, "client is no text"),
            ({"router": "\ud800", "force": True}, "router is no text"),
            ({"ids": ["\ud800.1"]}, r"'\ud800.1' is not the id of a session"),
            ({"\ud800": "x"}, f"no such filter: ?; there are ids and {FILTERS}, and force"),
            ({"clients": "x"}, f"no such filter: clients; there are ids and {FILTERS}, and force"),
        ):
            assert close(lb, **body) == (400, {"message": message})
        assert closed(lb, ids=["0-a.1", "7-zzzz.5.1"]) == 0
    lines = [record.getMessage() for record in caplog.records if record.name == "lbcore.audit"]
    assert "sessions: 3 sessions closed: entrypoint web (by 127.0.0.1)" in lines


def test_many_are_closed_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from lbcore.process import sessions as worker_module

    monkeypatch.setattr(worker_module, "CLOSED_AT_ONCE", 3)
    with recorders("a") as (a,), sessions_edge(config({}, all=a.url)) as lb:
        clients = [lb.client() for _ in range(10)]
        for client in clients:
            client.ask(GET)
        assert closed(lb, entrypoint="web") == 10
        assert all(client.to_the_end() == b"" for client in clients)


def test_each_is_ended_once_also_where_a_middleware_holds_the_answer_to_that(monkeypatch: pytest.MonkeyPatch) -> None:
    from lbcore.process import sessions as worker_module

    released = threading.Event()

    class Late:
        async def on_response(self, request: object, response: object) -> None:
            while not released.is_set():
                await asyncio.sleep(0.01)

    def hold(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            peer.message()
            peer.message()

    monkeypatch.setattr(worker_module, "CLOSED_AT_ONCE", 3)
    with serving(hold) as server:
        dynamic = config({}, all=server.url)
        dynamic["http"]["routers"]["all"] |= {"middlewares": ["late"], "entryPoints": ["web"]}
        with edge(dynamic, POINTS, API, middlewares={"late": Late()}) as lb:
            clients = [lb.client() for _ in range(10)]
            for client in clients:
                client.send(GET)
            eventually(lambda: len(listed(lb, server=server.url)) == 10, "all are under way")
            assert closed(lb, server=server.url) == 10
            assert len(listed(lb, entrypoint="web")) == 10, "their answers wait"
            released.set()
            for client in clients:
                assert client.message()[0].split()[1] == "502"
            assert counted(lb) == 10


def test_a_listing_keeps_nothing() -> None:
    """What was listed ends as it would have, and can be listed again and again."""
    with recorders("a") as (a,), sessions_edge(config({}, all=a.url)) as lb:
        for _ in range(50):
            client = lb.client()
            client.ask(GET)
            assert len(listed(lb)) == 1
            client.close()
            eventually(lambda: not listed(lb), "it has gone")
        assert lb.open_connections <= 1  # that of the API
