"""Middlewares of routers and services that have an answer wait, or replace it; and the end that each of them sees."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.native import with_filters, with_steps
from tests.support.recorder import GET, config, counters, post, recorders
from tests.support.wire import TIMEOUT_S, Peer, edge, serving
from tests.wire.test_filters import flipped
from tests.wire.test_waiting import PLACES, Steps, asks, held, idle, in_flight, in_loop, limited, sent, stepped

HEAD = GET.replace(b"GET", b"HEAD", 1)
LARGE = 40_000_000  # more than the sockets on the way hold


def large(*request: Any) -> tuple[int, bytes]:
    return 200, bytes(LARGE)


def three(outer: list[str], inner: list[str], url: str) -> dict[str, Any]:
    """Middlewares of the router and of the service."""
    dynamic = stepped("router", limited(url, 100))
    dynamic["http"]["middlewares"]["tap"] = {"addPrefix": {"prefix": "/unused"}}
    dynamic["http"]["routers"]["all"]["middlewares"] = outer
    dynamic["http"]["services"]["all"]["middlewares"] = inner
    return dynamic


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_an_answer_that_waited_goes_out_as_it_came(known: Steps, place: str, size: int) -> None:
    body = os.urandom(size)
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        a.answer = lambda *request: (200, body)
        client = lb.client()
        for count in range(1, 4):
            client.send(asks("one=back-wait"))
            held(lb, known["one"], 1)
            assert len(a.requests) == count
            in_loop(lb, known["one"].release)
            first, headers, text = client.message()
            assert (first.split()[1], headers["x-one"], text) == ("200", "3", body)
        assert a.connections == 1
        idle(lb, a)
    assert known["one"].statuses == [200] * 3


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wish", ["back-answer", "back-late-answer", "back-discard"])
def test_an_answer_that_is_replaced_leaves_nothing_of_itself(known: Steps, place: str, wish: str) -> None:
    def ask(client: Peer, request: bytes, *, body: bool = True) -> tuple[str, dict[str, str], bytes]:
        client.send(asks(f"one={wish}", request))
        if wish != "back-answer":
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
        return client.message(body=body)

    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        client = lb.client()
        for request in (GET, post(b"x" * 100_000), post(b"x" * 100_000, chunked=True)):
            first, headers, text = ask(client, request)
            assert (first, headers["content-length"], text) == ("HTTP/1.1 418 I'm a teapot", "7", b"another")
            assert "x-from" not in headers
        assert a.connections == 1  # what was short was read past
        a.answer = large
        assert ask(client, GET)[2] == b"another"
        a.answer = lambda *request: (200, b"")
        assert client.ask(GET)[2] == b""
        assert a.connections == 2  # what was long was not
        first, headers, _ = ask(client, HEAD, body=False)
        assert (first.split()[1], headers["content-length"]) == ("418", "7")
        first, _, text = client.ask(GET)
        assert (first, text) == ("HTTP/1.1 200 X", b"")
        idle(lb, a)


def test_a_body_that_comes_late_is_read_past_for_a_second(known: Steps) -> None:
    again, closed = threading.Event(), threading.Event()

    def late(peer: Peer) -> None:
        if server.connections > 1:
            peer.message()
            peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            return
        peer.message()
        peer.send(b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")
        eventually(lambda: known["one"].statuses, "the client is answered")
        peer.send(b"0\r\nX-End: yes\r\n\r\n")
        peer.message()
        again.set()
        peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\n")
        assert peer.to_the_end() == b""  # the rest never comes
        closed.set()

    with serving(late) as server, edge(stepped("router", limited(server.url, 9))) as lb:
        assert lb.ask(asks("one=back-answer"))[2] == b"another"
        eventually(lambda: lb.ask(asks("one=back-answer")) and again.is_set(), "the connection is used again")
        assert closed.wait(TIMEOUT_S)


@pytest.mark.parametrize("place", PLACES)
def test_an_answer_that_is_not_wanted_holds_no_slot(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        first = sent(lb, asks("one=back-discard"))
        held(lb, known["one"], 1)
        assert lb.ask(GET)[2] == b"a"  # one at a time may be there
        idle(lb, a)
        in_loop(lb, known["one"].release)
        assert first.message()[2] == b"another"


@pytest.mark.parametrize("place", PLACES)
def test_an_answer_that_waits_holds_up_its_server(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        a.answer = large
        client = sent(lb, asks("one=back-wait"))
        held(lb, known["one"], 1)
        for _ in range(20):
            lb.settle()  # nothing may be read of the server meanwhile
        assert counters(lb, f"all@file|{a.url}").bytes_in == 0
        assert in_flight(lb, f"all@file|{a.url}") == 1
        in_loop(lb, known["one"].release)
        assert client.message()[2] == bytes(LARGE)


def test_middlewares_on_the_way_back_keep_their_order(known: Steps) -> None:
    with recorders("a") as (a,), edge(three(["one"], ["two", "three"], a.url)) as lb:
        client = sent(lb, asks("three=back-wait,two=back-wait,one=back-wait"))
        for name in ("three", "two", "one"):
            held(lb, known[name], 1)
            assert sum(len(step.held) for step in known.values()) == 1
            in_loop(lb, known[name].release)
        first, headers, text = client.message()
        assert (first.split()[1], text) == ("200", b"a")
        assert [headers[f"x-{name}"] for name in ("one", "two", "three")] == ["3"] * 3
        for wish in ("two=back-answer", "two=back-late-answer", "two=back-answer,one=back-wait"):
            client.send(asks(wish))
            name = wish.rpartition("=")[0].rpartition(",")[2]
            if wish != "two=back-answer":
                held(lb, known[name], 1)
                in_loop(lb, known[name].release)
            first, headers, text = client.message()
            assert (first.split()[1], text) == ("418", b"another")
            # The outer one has seen the other answer, what the inner one did is gone with the first.
            assert ("x-one" in headers, "x-two" in headers, "x-three" in headers) == (True, False, False)
        client.send(asks("two=back-answer,one=back-late-answer"))
        held(lb, known["one"], 1)
        in_loop(lb, known["one"].release)
        assert "x-one" not in client.message()[1]
        idle(lb, a)


@pytest.mark.parametrize(("outer", "inner", "text"), [("one", "tap", b"another"), ("tap", "one", flipped(b"another"))])
@pytest.mark.parametrize("wish", ["back-answer", "back-late-answer"])
def test_filters_of_a_discarded_answer_go_with_it(
    known: Steps, monkeypatch: pytest.MonkeyPatch, outer: str, inner: str, text: bytes, wish: str
) -> None:
    tap = with_filters(monkeypatch)
    with recorders("a") as (a,), edge(three([outer], [inner], a.url)) as lb:
        a.answer = large
        client = sent(lb, asks(f"one={wish}"))
        if wish == "back-late-answer":
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
        assert client.message()[2] == text
        assert tap.down.pushed == 0
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
def test_a_client_that_goes_away_ends_the_wait_of_its_answer(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        for request in (GET, post(b"x" * 1000)):
            client = sent(lb, asks("one=back-wait", request))
            held(lb, known["one"], 1)
            client.close()
            held(lb, known["one"], 0)
            idle(lb, a)
        assert known["one"].cancelled == 2
        assert lb.ask(GET)[2] == b"a"
    assert known["one"].statuses == [499, 499, 200]


@pytest.mark.parametrize("place", PLACES)
def test_the_wait_of_an_answer_has_an_end(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        lb.ask(GET)
        known["one"].timeout_ms = 200
        assert lb.ask(asks("one=back-wait"))[2] == b"another"
        assert known["one"].expired == 1
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
def test_the_deadline_of_the_entry_point_ends_the_wait_of_an_answer(known: Steps, place: str) -> None:
    limits = {"transport": {"respondingTimeouts": {"writeTimeout": "300ms"}}}
    with recorders("a") as (a,), edge(stepped(place, limited(a.url)), **limits) as lb:
        first, headers, _ = lb.ask(asks("one=back-wait"))
        assert first.split()[1] == "504" and "x-one" not in headers  # which had its turn
        idle(lb, a)
    assert known["one"].cancelled == 1
    assert known["one"].statuses == [504]


@pytest.mark.parametrize("place", PLACES)
def test_reload_and_drain_wait_for_answers_that_wait(known: Steps, place: str) -> None:
    with recorders("a", "b") as (a, b):
        with edge(stepped(place, limited(a.url))) as lb:
            client = sent(lb, asks("one=back-wait"), stays=True)
            held(lb, known["one"], 1)
            lb.apply(stepped(place, limited(b.url)))
            assert lb.ask(GET)[2] == b"b"
            lb._loop.call_soon_threadsafe(lb._loop.call_later, 0.3, known["one"].release)
        assert client.message()[2] == b"a"
        with edge(stepped(place, limited(a.url)), transport={"lifeCycle": {"graceTimeOut": "300ms"}}) as lb:
            client = sent(lb, asks("one=back-wait"), stays=True)
            held(lb, known["one"], 1)
        assert client.to_the_end() == b""


def test_informational_answers_are_not_seen(known: Steps) -> None:
    def hints(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with serving(hints) as server, edge(stepped("router", limited(server.url))) as lb:
        client = sent(lb, asks("one=back-wait"))
        held(lb, known["one"], 1)
        in_loop(lb, known["one"].release)
        assert [client.head()[0].split()[1] for _ in range(2)] == ["103", "103"]
        first, headers, text = client.message()
        assert (first.split()[1], headers["x-one"], text) == ("200", "3", b"ok")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wish", ["back-wait", "back-answer", "back-discard", "back-late-break", "none"])
def test_a_switch_of_protocols_waits_and_is_replaced_like_other_answers(known: Steps, place: str, wish: str) -> None:
    def switches(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello")
        while data := peer.sock.recv(1000):
            peer.send(data)

    request = GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    with serving(switches) as server, edge(stepped(place, limited(server.url))) as lb:
        client = sent(lb, asks(f"one={wish}" if wish != "none" else "three=wait", request))
        if wish not in ("back-answer", "none"):
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
        if wish == "back-late-break":
            assert client.to_the_end() == b""
        elif wish in ("back-answer", "back-discard"):
            assert client.message()[2] == b"another"
        else:
            assert client.head()[0].split()[1] == "101"
            client.send(b"to and fro")
            assert client.exactly(15) == b"helloto and fro"
            assert in_flight(lb, f"all@file|{server.url}") == 1
            assert known["one"].statuses == []
        client.close()
        eventually(lambda: in_flight(lb, f"all@file|{server.url}") == 0, "no slot is taken")
        eventually(lambda: len(known["one"].statuses) == 1, "the end was seen")


@pytest.mark.parametrize("place", PLACES)
def test_a_wait_that_is_settled_before_it_has_begun_is_none(known: Steps, place: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        client = lb.client()
        assert client.ask(asks("one=early"))[1]["x-one"] == "2"
        assert client.ask(asks("one=back-early"))[1]["x-one"] == "3"
        assert client.ask(asks("one=back-early", post(b"x" * 100_000)))[2] == b"a"
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wish", ["lost", "back-lost", "back-late-break", "back-break"])
def test_what_goes_wrong_on_the_way_ends_that_exchange_alone(known: Steps, place: str, wish: str) -> None:
    with recorders("a") as (a,), edge(stepped(place, limited(a.url))) as lb:
        lb.ask(GET)
        client = sent(lb, asks(f"one={wish}"))
        if wish == "back-late-break":
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
        if wish in ("back-break", "back-lost"):
            assert client.message()[0].split()[1] == "500"  # by the middlewares that are left
        else:
            assert client.to_the_end() == b""
        assert lb.ask(GET)[2] == b"a"
        idle(lb, a)


@pytest.mark.parametrize("place", PLACES)
def test_answers_of_lbcores_own_wait_too(known: Steps, place: str) -> None:
    with edge(stepped(place, {"all": {"loadBalancer": {"servers": []}}})) as lb:
        for wish, text in (("back-wait", b"no available server\n"), ("back-late-answer", b"another")):
            client = sent(lb, asks(f"one={wish}"))
            held(lb, known["one"], 1)
            in_loop(lb, known["one"].release)
            assert client.message()[2] == text
        assert lb.ask(asks("one=back-answer"))[2] == b"another"


def test_a_server_that_breaks_off_while_its_answer_waits(known: Steps) -> None:
    def breaks(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    with serving(breaks) as server, edge(stepped("service", limited(server.url))) as lb:
        for wish in ("back-wait", "back-discard"):
            client = sent(lb, asks(f"one={wish}"))
            held(lb, known["one"], 1)
            eventually(lambda: server.connections, "it was asked")
            in_loop(lb, known["one"].release)
            if wish == "back-wait":
                assert client.head()[0].split()[1] == "200"
                assert client.to_the_end() == b"half"
            else:
                assert client.message()[2] == b"another"
        eventually(lambda: in_flight(lb, f"all@file|{server.url}") == 0, "no slot is taken")


def test_a_service_that_is_left_for_a_fallback_has_ended(known: Steps) -> None:
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda *request: (503, b"no")
        failover = {"service": "m", "fallback": "s", "errors": {"status": ["503"]}}
        services = {
            "all": {"failover": failover, "middlewares": ["one"]},
            "m": {"loadBalancer": {"servers": [{"url": main.url}]}, "middlewares": ["two"]},
            "s": {"loadBalancer": {"servers": [{"url": spare.url}]}, "middlewares": ["three"]},
        }
        with edge(stepped("service", services)) as lb:
            client = sent(lb, asks("three=back-wait", post(b"x" * 10_000)))
            held(lb, known["three"], 1)
            assert (known["one"].statuses, known["two"].statuses) == ([], [0])
            in_loop(lb, known["three"].release)
            assert client.message()[2] == b"spare"
            assert client.ask(GET)[2] == b"spare"
            assert main.connections == 1  # what it had answered was read past
        assert known["two"].statuses == [0, 0]
        assert known["one"].statuses == known["three"].statuses == [200, 200]


def test_many_middlewares_keep_something_each(known: Steps) -> None:
    """More than an exchange has room for of its own, at routers and services; some wait, one answers."""
    names = ["one", "two", "three"]
    with recorders("a") as (a,), edge(three(names * 4, names * 3, a.url)) as lb:
        for wish in ("", "two=back-wait", "three=wait", ""):
            client = sent(lb, asks(wish) if wish else GET)
            waits = 7 if wish else 0
            for _ in range(waits):
                held(lb, known[wish.partition("=")[0]], 1)
                in_loop(lb, known[wish.partition("=")[0]].release)
            first, headers, text = client.message()
            assert (first.split()[1], text) == ("200", b"a")
            counts = {"one": "1", "two": "3" if "two" in wish else "1", "three": "2" if "three" in wish else "1"}
            assert {name: headers[f"x-{name}"] for name in names} == counts
        assert lb.ask(asks("three=answer"))[0].split()[1] == "403"
        idle(lb, a)
    assert [len(known[name].statuses) for name in names] == [4 * 7 + 1, 4 * 7 + 1, 4 * 7]


def test_what_is_kept_on_the_way_back_stands_in_front_of_what_was_kept_before(known: Steps) -> None:
    """`errors` keeps the page when the middlewares behind it have kept theirs."""
    dynamic = three(["one", "pages", "few", "two"], ["three"], "")
    dynamic["http"]["middlewares"] |= {
        "pages": {"errors": {"status": ["500-599"], "service": "pages"}},
        "few": {"inFlightReq": {"amount": 1}},
    }
    with recorders("a", "page") as (a, page):
        for name, server in (("all", a), ("pages", page)):
            dynamic["http"]["services"].setdefault(name, {}).update(limited(server.url, 100)["all"])
        with edge(dynamic) as lb:
            a.answer = lambda *request: (503, b"down")
            for _ in range(3):
                first, _, text = lb.ask(GET)
                assert (first.split()[1], text) == ("503", b"page")
            idle(lb, a)
    assert known["one"].statuses == known["two"].statuses == known["three"].statuses == [503] * 3


def test_an_error_after_an_answer_was_discarded_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page in its place is asked of a service whose middleware breaks."""
    with recorders("a", "page") as (a, page):
        a.answer = lambda *request: (503, bytes(100_000))
        services = {
            "all": {"loadBalancer": {"servers": [{"url": a.url}]}},
            "pages": {"loadBalancer": {"servers": [{"url": page.url}]}, "middlewares": ["one"]},
        }
        dynamic = config(services)
        errors = {"errors": {"status": ["503"], "service": "pages", "query": "/{status}"}}
        dynamic["http"]["middlewares"] = {"one": {"addPrefix": {"prefix": "/x"}}, "errors": errors}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["errors"]
        with_steps(monkeypatch)
        with edge(dynamic) as lb:
            client = lb.client()
            client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Step: one=break\r\n\r\n"))
            assert client.to_the_end() == b""
            assert lb.ask(GET)[2] == b"page"
            eventually(lambda: lb.open_connections == 0, "nothing waits any more")


def test_a_client_that_takes_more_again_while_its_answer_waits_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was full when a filter was put in front of it, and has room when the wait is over."""

    def script(peer: Peer) -> None:
        peer.head()
        for _ in range(60):
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: <%s>\r\n\r\n" % (b"x" * 7000))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHELLO")
        peer.to_the_end()

    steps = with_steps(monkeypatch)
    with_filters(monkeypatch)
    with serving(script) as server:
        dynamic = config({"all": {"loadBalancer": {"servers": [{"url": server.url}]}}})
        dynamic["http"]["middlewares"] = {name: {"addPrefix": {"prefix": "/x"}} for name in ("one", "tap")}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["one", "tap"]
        with edge(dynamic) as lb, socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            sock.connect(lb.address)
            client = Peer(sock)
            client.send(GET.replace(b"\r\n\r\n", b"\r\nX-Step: one=back-wait\r\n\r\n"))
            eventually(lambda: steps["one"].held, "the answer waits")
            assert all(client.head()[0].split()[1] == "103" for _ in range(60))
            lb.settle()
            lb._loop.call_soon_threadsafe(steps["one"].release)
            assert client.message()[2] == b"hello"
