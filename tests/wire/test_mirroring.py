"""Copies of requests for mirrors. Real sockets at every end."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import (
    GET,
    config,
    counters,
    mirrored,
    post,
    recorders,
)
from tests.support.wire import TIMEOUT_S, Peer, Server, edge, serving
from tests.wire.test_http2_servers import Call, Http2Server


def test_mirrors_get_their_share_exactly_and_the_client_its_answer() -> None:
    with recorders("main", "a", "b") as (main, a, b):
        services = mirrored(("a", 10), ("b", 50))
        with edge(config(services, main=main.url, a=a.url, b=b.url)) as lb:
            client = lb.client()
            for number in range(40):
                assert client.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)[2] == b"main"
            eventually(lambda: len(a.requests) == 4 and len(b.requests) == 20, "all copies")
            assert {first for first, _, _ in a.requests} == {f"GET /{n} HTTP/1.1" for n in (0, 10, 20, 30)}
            assert len(main.requests) == 40
            eventually(lambda: counters(lb, "all@file|b").responses[2] == 20, "the copies are counted")


def test_a_copy_is_the_request_with_the_headers_of_copies() -> None:
    with recorders("main", "a") as (main, a):
        services = mirrored(("a", 100), headers={"X-Lbcore-Mirror": "1"})
        with edge(config(services, main=main.url, a=a.url)) as lb:
            lb.ask(b"GET /x?y=1 HTTP/1.1\r\nHost: shop.test\r\nX-One: 1\r\nCookie: a=b\r\n\r\n")
            eventually(lambda: a.requests, "the copy")
            first, headers, _ = a.requests[0]
            assert (first, headers.pop("x-lbcore-mirror")) == ("GET /x?y=1 HTTP/1.1", "1")
            assert headers == main.requests[0][1]


def test_a_copy_announces_no_trailers() -> None:
    with recorders("main", "a") as (main, a), edge(config(mirrored(("a", 100)), main=main.url, a=a.url)) as lb:
        head = b"POST / HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        assert lb.ask(head + b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")[2] == b"main"
        eventually(lambda: a.requests, "the copy")
        assert main.requests[0][1]["trailer"] == "X-Sum"
        assert "trailer" not in a.requests[0][1]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, 100, 70_000, 3_000_000])
def test_bodies_are_copied_while_they_pass(size: int, chunked: bool) -> None:
    body = os.urandom(size)
    with recorders("main", "a", "b") as (main, a, b):
        with edge(config(mirrored(("a", 100), ("b", 100)), main=main.url, a=a.url, b=b.url)) as lb:
            for _ in range(2):
                assert lb.ask(post(body, chunked))[2] == b"main"
            eventually(lambda: len(a.requests) == len(b.requests) == 2, "the copies")
            assert all(request[2] == body for server in (main, a, b) for request in server.requests)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_copy_that_a_server_has_refused_is_sent_once_more_with_its_body(size: int, chunked: bool) -> None:
    bodies: list[bytes] = []
    calls: list[Call] = []

    def refuse_once(call: Call) -> None:
        calls.append(call)
        if len(calls) == 1:
            call.break_off(7)  # REFUSED_STREAM
        elif call.ended.wait(TIMEOUT_S):
            bodies.append(bytes(call.body))
            call.answer(200, b"")

    server = Http2Server(refuse_once)
    with contextlib.closing(server.listener), recorders("main") as (main,):
        with edge(config(mirrored(("a", 100)), main=main.url, a=server.url)) as lb:
            lb.ask(post(b"y" * size, chunked))
            eventually(lambda: bodies == [b"y" * size], "the copy is whole")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_not_copied_and_that_is_counted(chunked: bool) -> None:
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100), maxBodySize=10_000), main=main.url, a=a.url)) as lb:
            assert lb.ask(post(b"x" * 10_001, chunked))[2] == b"main"
            assert lb.ask(post(b"x" * 10_000, chunked))[2] == b"main"
            eventually(lambda: a.requests, "the copy of the shorter one")
            found = counters(lb, "all@file|a")
            assert (found.requests, found.oversized) == (1, 1), "what becomes of a copy is decided before its answer"
            assert [len(body) for _, _, body in a.requests] == [10_000]
            assert len(main.requests[0][2]) == 10_001


@pytest.mark.parametrize("chunked", [False, True])
def test_without_bodies_the_copy_is_a_whole_request_defect_c(chunked: bool) -> None:
    """Traefik announces the length of a body that it does not send."""
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100), mirrorBody=False), main=main.url, a=a.url)) as lb:
            lb.ask(post(b"hello", chunked))
            eventually(lambda: a.requests, "the copy")
            first, headers, body = a.requests[0]
            assert (first, body) == ("POST /x HTTP/1.1", b"")
            assert headers["content-length"] == "0" and "transfer-encoding" not in headers


def test_only_the_methods_named_are_copied() -> None:
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100), methods=["GET"]), main=main.url, a=a.url)) as lb:
            lb.ask(post(b"x"))
            lb.ask(GET)
            eventually(lambda: a.requests, "the copy")
            assert counters(lb, "all@file|a").requests == 1
            assert [first for first, _, _ in a.requests] == ["GET /x HTTP/1.1"]


def test_a_copy_goes_through_a_whole_tree_of_services() -> None:
    with recorders("main", "a", "b") as (main, a, b):
        tree = {"tree": {"weighted": {"services": [{"name": "a", "weight": 3}, {"name": "b"}]}}}
        with edge(config(mirrored(("tree", 100)) | tree, main=main.url, a=a.url, b=b.url)) as lb:
            for _ in range(8):
                lb.ask(GET)
            eventually(lambda: (len(a.requests), len(b.requests)) == (6, 2), "the shares of the copies")


def test_a_hanging_or_dead_mirror_changes_nothing_for_the_client() -> None:
    with recorders("main", "slow") as (main, slow):
        slow.delay_s = 3
        dead = f"http://127.0.0.1:{free_port()}"
        services = mirrored(("slow", 100), ("dead", 100), maxConcurrent=5, timeout="300ms")
        with edge(config(services, main=main.url, slow=slow.url, dead=dead)) as lb:
            client = lb.client()
            started = time.monotonic()
            for _ in range(200):
                assert client.ask(GET)[2] == b"main"
            assert time.monotonic() - started < 20  # 600 s, were it to wait for the slow one
            found = counters(lb, "all@file|slow")
            assert found.shed > 0
            assert found.shed + found.requests == 200
            assert counters(lb, "all@file|dead").responses[0] == counters(lb, "all@file|dead").requests == 200
            eventually(lambda: counters(lb, "all@file|slow").in_flight == 0, "copies are cut at their deadline")


def test_a_client_that_breaks_off_its_body_makes_no_half_copy() -> None:
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100)), main=main.url, a=a.url)) as lb:
            client = lb.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
            eventually(lambda: counters(lb, f"main@file|{main.url}").requests == 1, "it is on its way")
            client.close()
            eventually(lambda: counters(lb, "all@file|a").shed == 1, "the copy is dropped")
            assert a.requests == []


@pytest.mark.parametrize("chunked", [False, True])
def test_copies_of_what_middlewares_of_a_service_changed_later_are_whole(chunked: bool) -> None:
    """The copy is that of the request in front of them: its head, its body, and what kind of request it is."""
    with recorders("main", "a") as (main, a):
        services = mirrored(("a", 100)) | {
            "main": {"loadBalancer": {"servers": [{"url": main.url}]}, "middlewares": ["add"]}
        }
        dynamic = config(services, a=a.url)
        dynamic["http"]["middlewares"] = {"add": {"addPrefix": {"prefix": "/added"}}}
        with edge(dynamic) as lb:
            assert lb.ask(post(b"abc" * 1000, chunked))[2] == b"main"
            eventually(lambda: a.requests, "the copy")
            first, _, body = a.requests[0]
            assert (first, body) == ("POST /x HTTP/1.1", b"abc" * 1000)
            assert main.requests[0][0] == "POST /added/x HTTP/1.1"


def test_a_copy_of_a_head_request_waits_for_no_body() -> None:
    def answer(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        peer.sock.recv(1)

    with recorders("main") as (main,), serving(answer) as a:
        services = mirrored(("a", 100)) | {
            "main": {"loadBalancer": {"servers": [{"url": main.url}]}, "middlewares": ["add"]}
        }
        main.answer = lambda first, headers, body: (200, b"")
        dynamic = config(services, a=a.url)
        dynamic["http"]["middlewares"] = {"add": {"addPrefix": {"prefix": "/added"}}}
        with edge(dynamic) as lb:
            client = lb.client()
            client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
            client.message(body=False)
            eventually(lambda: counters(lb, "all@file|a").responses[2] == 1, "the copy has its answer")


def test_copies_that_wait_for_each_other_end_with_the_instance(tmp_path: Path) -> None:
    """Each that is cut leaves room for the next one, which finds that its server has gone."""
    path = str(tmp_path / "server")

    def hold(peer: Peer) -> None:
        peer.head()
        peer.sock.recv(1)

    server = Server(hold, socket.AF_UNIX, path)
    with recorders("main") as (main,):
        mirror = {"servers": [{"url": server.url}], "maxConnections": 1, "queue": {"timeout": "60s"}}
        services = mirrored(("a", 100)) | {"a": {"loadBalancer": mirror}}
        with edge(config(services, main=main.url)) as lb:
            for _ in range(6):
                assert lb.ask(GET)[2] == b"main"
            eventually(lambda: server.connections == 1, "one copy is under way")
            os.unlink(path)
            server.close()
