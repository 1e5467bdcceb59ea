"""Bodies kept for fallbacks and mirrors: bounded per request, per service and over the instance, and counted."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.recorder import GET, Recorder, config, counters, post, recorders
from tests.support.wire import Edge, Peer, edge, serving

MIB = 1 << 20
FAILOVER: dict[str, Any] = {"failover": {"service": "main", "fallback": "spare", "errors": {"status": ["503"]}}}


def mirrored(**more: Any) -> dict[str, Any]:
    return {"all": {"mirroring": {"service": "main", "mirrors": [{"name": "shadow", "percent": 100}], **more}}}


def memory(budget: int) -> dict[str, Any]:
    return {"bodyMemoryBytes": budget}


def shed(lb: Edge) -> int:
    return counters(lb, "all@file|shadow").shed  # type: ignore[no-any-return]


def is_empty(lb: Edge) -> None:
    eventually(lambda: lb.proxy._region.body_memory == 0, "all memory is given back")


def chunked(total: int, piece: int = 65536) -> list[bytes]:
    """A chunked request, in pieces."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *[b"%x\r\n%s\r\n" % (piece, bytes(piece))] * (total // piece), b"0\r\n\r\n"]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_beyond_the_budget_passes_without_a_fallback_and_is_counted(is_chunked: bool) -> None:
    body = os.urandom(6 * MIB)
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda first, headers, body: (503, b"main")
        dynamic = config({"all": FAILOVER}, main=main.url, spare=spare.url)
        with edge(dynamic, static=memory(8 * MIB)) as lb:
            # A body whose limit is that of the budget may have a quarter of it.
            assert lb.ask(post(body[: 3 * MIB // 2], is_chunked))[2] == b"spare"
            assert spare.requests[0][2] == body[: 3 * MIB // 2]
            assert lb.proxy._region.bodies_shed == 0
            first, _, text = lb.ask(post(body, is_chunked))
            assert (first.split()[1], text) == ("503", b"main")
            assert main.requests[1][2] == body
            assert lb.proxy._region.bodies_shed == 1
            is_empty(lb)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_limit_of_its_own_may_have_all_of_the_budget_and_no_more(is_chunked: bool) -> None:
    body = os.urandom(6 * MIB)
    errors = {"status": ["503"], "maxRequestBodyBytes": 100 * MIB}
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda first, headers, body: (503, b"main")
        services = {"all": {"failover": {**FAILOVER["failover"], "errors": errors}}}
        dynamic = config(services, main=main.url, spare=spare.url)
        with edge(dynamic, static=memory(10 * MIB)) as lb:
            assert lb.ask(post(body, is_chunked))[2] == b"spare"
            assert lb.ask(post(body * 2, is_chunked))[2] == b"main"
            assert [len(request[2]) for request in main.requests] == [6 * MIB, 12 * MIB]
            assert lb.proxy._region.bodies_shed == 1
            is_empty(lb)


def test_the_budget_is_one_for_all_requests() -> None:
    def silent(peer: Peer) -> None:
        peer.to_the_end()

    with serving(silent) as main, recorders("spare") as (spare,):
        dynamic = config({"all": FAILOVER}, main=main.url, spare=spare.url)
        with edge(dynamic, static=memory(8 * MIB)) as lb:
            clients = [lb.client() for _ in range(12)]
            for client in clients:
                client.send(b"".join(chunked(MIB)[:-1]))
            eventually(lambda: lb.proxy._region.bodies_shed >= 4, "some are not kept")
            assert 4 * MIB <= lb.proxy._region.body_memory <= 8 * MIB
            for client in clients:
                client.close()
            is_empty(lb)


def test_chunked_bodies_count_for_a_mirror_while_they_come() -> None:
    with recorders("main", "shadow") as (main, shadow):
        dynamic = config(mirrored(maxBufferedBytes=2 * MIB), main=main.url, shadow=shadow.url)
        with edge(dynamic) as lb:
            clients = [lb.client() for _ in range(6)]
            for client in clients:
                client.send(b"".join(chunked(MIB)[:-1]))
            # All bodies are under way: no more than two of them fit.
            eventually(lambda: shed(lb) == 4, "those beyond the limit are shed")
            assert lb.proxy._region.body_memory <= 4 * MIB
            for client in clients:
                client.send(b"0\r\n\r\n")
                assert client.message()[2] == b"main"
            eventually(lambda: len(shadow.requests) == 2, "two copies have come")
            assert [len(request[2]) for request in main.requests] == [MIB] * 6
            is_empty(lb)
            assert lb.ask(post(bytes(2 * MIB)))[2] == b"main"
            eventually(lambda: len(shadow.requests) == 3, "the room is there again")
            assert shed(lb) == 4


def test_a_length_that_is_out_of_this_world_takes_no_room_of_a_mirror() -> None:
    with recorders("main", "shadow") as (main, shadow):
        dynamic = config(mirrored(maxBufferedBytes=MIB), main=main.url, shadow=shadow.url)
        with edge(dynamic) as lb:
            held = []
            for length in (MIB, (1 << 63) - 1, (1 << 63) - 1):
                held.append(lb.client())
                held[-1].send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
            eventually(lambda: shed(lb) == 2, "what can never fit is shed at once")
            for _ in range(3):
                assert lb.ask(post(bytes(2 * MIB)))[2] == b"main"
            assert shed(lb) == 5
            assert lb.ask(post(b"small"))[2] == b"main"
            eventually(lambda: len(shadow.requests) == 1, "a small one has room")
            for client in held:
                client.close()
            is_empty(lb)


def test_fallbacks_and_mirrors_have_limits_of_their_own_for_one_body() -> None:
    """The limit of the one that comes last is not that of the others."""
    errors = {"status": ["503"], "maxRequestBodyBytes": 300_000}
    body = os.urandom(200_000)
    with recorders("main", "spare", "shadow", "small") as (main, spare, shadow, small):
        main.answer = lambda first, headers, body: (503, b"main")
        services = {
            "all": {"mirroring": {"service": "inner", "mirrors": [{"name": "shadow", "percent": 100}]}},
            "inner": {
                "mirroring": {
                    "service": "safe",
                    "mirrors": [{"name": "small", "percent": 100}],
                    "maxBodySize": 100_000,
                }
            },
            "safe": {"failover": {"service": "main", "fallback": "spare", "errors": errors}},
        }
        dynamic = config(services, main=main.url, spare=spare.url, shadow=shadow.url, small=small.url)
        with edge(dynamic) as lb:
            assert lb.ask(post(body, chunked=True))[2] == b"spare"
            assert spare.requests[0][2] == body
            eventually(lambda: len(shadow.requests) == 1, "the copy with room has come")
            assert shadow.requests[0][2] == body
            assert counters(lb, "inner@file|small").oversized == 1 and not small.requests
            assert lb.ask(post(body * 2, chunked=True))[0].split()[1] == "413"
            is_empty(lb)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"GET"])
@pytest.mark.parametrize("with_body", [True, False])
def test_a_copy_says_its_length_as_the_request_does(method: bytes, with_body: bool) -> None:
    def lengths(recorder: Recorder) -> list[str | None]:
        return [request[1].get("content-length") for request in recorder.requests]

    with recorders("main", "shadow") as (main, shadow):
        dynamic = config(mirrored(mirrorBody=with_body), main=main.url, shadow=shadow.url)
        with edge(dynamic) as lb:
            assert lb.ask(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")[2] == b"main"
            eventually(lambda: len(shadow.requests) == 1, "the copy has come")
            assert lengths(shadow) == lengths(main) == ["0"]
            assert lb.ask(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")[2] == b"main"
            eventually(lambda: len(shadow.requests) == 2, "the copy has come")
            empty = None if method == b"GET" else "0"
            assert lengths(shadow)[1] == ("2" if with_body else empty)


def test_headers_of_copies_are_set_and_not_added() -> None:
    with recorders("main", "shadow") as (main, shadow):
        dynamic = config(mirrored(headers={"X-Env": "mirror"}), main=main.url, shadow=shadow.url)
        with edge(dynamic) as lb:
            client = lb.client()
            assert client.ask(GET.replace(b"\r\n\r\n", b"\r\nx-env: prod\r\nX-ENV: two\r\n\r\n"))[2] == b"main"
            eventually(lambda: len(shadow.requests) == 1, "the copy has come")
            assert shadow.requests[0][1]["x-env"] == "mirror"


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"Content-Length": "3"}, "belongs to the connection"),
        ({"X-A": "b\r\nX-B: c"}, "control characters"),
        ({"X A": "b"}, "not the name of a header"),
    ],
)
def test_headers_of_copies_that_cannot_be_set_disable_the_service(headers: dict[str, str], problem: str) -> None:
    with recorders("main", "shadow") as (main, shadow):
        dynamic = config(mirrored(headers=headers), main=main.url, shadow=shadow.url)
        with edge(dynamic) as lb:
            assert any(problem in error for entry in lb.proxy.disabled for error in entry.errors)


def test_a_copy_that_cannot_be_sent_leaves_no_count() -> None:
    """A mirror that is gone: its copies end, and so do their counts and bytes."""
    with recorders("main") as (main,), socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        dynamic = config(mirrored(timeout="300ms"), main=main.url, shadow=url)
        with edge(dynamic) as lb:
            for _ in range(3):
                assert lb.ask(post(bytes(MIB)))[2] == b"main"
            eventually(lambda: counters(lb, "all@file|shadow").in_flight == 0, "the deadline ends the copies")
            is_empty(lb)
