"""Services that send a request to more than one place: mirrors, fallbacks, sessions. Real sockets at every end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.wire import Edge, Peer, Server, edge

GET = b"GET /x HTTP/1.1\r\nHost: shop.test\r\n\r\n"
Answer = Callable[[str, Mapping[str, str], bytes], tuple[int, bytes]]


class Recorder(Server):
    """Answers with its name, or as `answer` says, and keeps every request."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Answer = lambda first, headers, body: (200, self.name)
        self.delay_s = 0.0
        super().__init__(self.serve)

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                request = peer.message()
                self.requests.append(request)
                time.sleep(self.delay_s)
                status, text = self.answer(*request)
                peer.send(
                    b"HTTP/1.1 %d X\r\nX-From: %s\r\nContent-Length: %d\r\n\r\n%s"
                    % (status, self.name, len(text), text)
                )


@contextlib.contextmanager
def recorders(*names: str) -> Iterator[list[Recorder]]:
    servers = [Recorder(name) for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def config(services: Mapping[str, Any], **urls: str) -> dict[str, Any]:
    """Everything to the service `all`; each of `urls` is a service of one server."""
    single = {name: {"loadBalancer": {"servers": [{"url": url}]}} for name, url in urls.items()}
    routers = {"all": {"rule": "PathPrefix(`/`)", "service": "all"}}
    return {"http": {"routers": routers, "services": {**single, **services}}}


def counters(lb: Edge, member: str) -> Any:
    slots = lb.proxy._publisher.current.slots.servers  # type: ignore[union-attr]
    return lb.proxy._region.server_counters(slots[member])


def post(body: bytes, chunked: bool = False) -> bytes:
    if not chunked:
        return b"POST /x HTTP/1.1\r\nHost: shop.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[at : at + 5000] for at in range(0, len(body), 5000)]
    wire = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"POST /x HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n" + wire + b"0\r\n\r\n"


# Mirroring


def mirrored(*mirrors: tuple[str, int], **more: Any) -> dict[str, Any]:
    listed = [{"name": name, "percent": percent} for name, percent in mirrors]
    return {"all": {"mirroring": {"service": "main", "mirrors": listed, **more}}}


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
def test_a_body_beyond_the_limit_is_not_copied_and_that_is_counted(chunked: bool) -> None:
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100), maxBodySize=10_000), main=main.url, a=a.url)) as lb:
            assert lb.ask(post(b"x" * 10_001, chunked))[2] == b"main"
            assert lb.ask(post(b"x" * 10_000, chunked))[2] == b"main"
            eventually(lambda: a.requests, "the copy of the shorter one")
            time.sleep(0.1)
            assert [len(body) for _, _, body in a.requests] == [10_000]
            assert len(main.requests[0][2]) == 10_001
            assert counters(lb, "all@file|a").oversized == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_without_bodies_the_copy_is_a_whole_request_defect_c(chunked: bool) -> None:
    """Traefik announces the length of a body that it does not send."""
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100), mirrorBody=False), main=main.url, a=a.url)) as lb:
            lb.ask(post(b"hello", chunked))
            eventually(lambda: a.requests, "the copy")
            first, headers, body = a.requests[0]
            assert (first, body) == ("POST /x HTTP/1.1", b"")
            assert not {"content-length", "transfer-encoding"} & set(headers)


def test_only_the_methods_named_are_copied() -> None:
    with recorders("main", "a") as (main, a):
        with edge(config(mirrored(("a", 100), methods=["GET"]), main=main.url, a=a.url)) as lb:
            lb.ask(post(b"x"))
            lb.ask(GET)
            eventually(lambda: a.requests, "the copy")
            time.sleep(0.05)
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
            assert time.monotonic() - started < 2
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
            time.sleep(0.1)
            client.close()
            eventually(lambda: counters(lb, "all@file|a").shed == 1, "the copy is dropped")
            assert a.requests == []


# Failover


def failing_over(*statuses: str, **more: Any) -> dict[str, Any]:
    errors = {"status": list(statuses), **more}
    return {"all": {"failover": {"service": "main", "fallback": "spare", "errors": errors}}}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 5, 100_000, 2_000_000])
def test_a_bad_answer_sends_the_request_to_the_fallback_body_and_all(size: int, chunked: bool) -> None:
    body = os.urandom(size)
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda first, headers, body: (503 if body else 429, b"no")
        with edge(config(failing_over("500-504", "429"), main=main.url, spare=spare.url)) as lb:
            client = lb.client()
            for _ in range(3):
                first, headers, text = client.ask(post(body, chunked))
                assert (first.split()[1], headers["x-from"], text) == ("200", "spare", b"spare")
            assert [request[2] for request in spare.requests] == [body] * 3
            main.answer = lambda first, headers, body: (404, b"mine")
            assert client.ask(GET)[2] == b"mine"


def test_an_early_bad_answer_sends_what_came_and_what_comes() -> None:
    def reject(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nno")
        time.sleep(0.3)

    main = Server(reject)
    with recorders("spare") as (spare,), edge(config(failing_over("500"), main=main.url, spare=spare.url)) as lb:
        body = os.urandom(400_000)
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + body[:100])
        eventually(lambda: main.connections, "the main service is asked")
        time.sleep(0.2)
        client.send(body[100:])
        assert client.message()[2] == b"spare"
        assert spare.requests[0][2] == body
    main.close()


def test_a_main_service_that_cannot_be_reached_fails_over_and_the_fallbacks_word_is_final() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with recorders("spare") as (spare,), edge(config(failing_over("500-599"), main=dead, spare=spare.url)) as lb:
        assert lb.ask(post(b"x"))[2] == b"spare"
        spare.answer = lambda first, headers, body: (500, b"sorry")
        assert lb.ask(post(b"x"))[2] == b"sorry"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_long_to_be_sent_again_is_refused(chunked: bool) -> None:
    with recorders("main", "spare") as (main, spare):
        services = failing_over("500", maxRequestBodyBytes=1000)
        with edge(config(services, main=main.url, spare=spare.url)) as lb:
            assert lb.ask(post(b"x" * 1000, chunked))[2] == b"main"
            first, _, text = lb.ask(post(b"x" * 1001, chunked))
            assert (first.split()[1], text) == ("413", b"Request body too large\n")
            assert lb.ask(GET)[2] == b"main"


def two_servers(main: str, other: str) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": main}, {"url": other}]}}


def test_the_fallback_is_for_a_main_service_of_which_no_server_can_be_reached() -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with recorders("main", "spare") as (main, spare):
        services = {
            "all": {"failover": {"service": "pool", "fallback": "spare"}},
            "pool": two_servers(dead[0], main.url),
        }
        with edge(config(services, spare=spare.url)) as lb:
            assert [lb.ask(post(b"x"))[2] for _ in range(4)] == [b"main"] * 4
            lb.apply(config({**services, "pool": two_servers(*dead)}, spare=spare.url))
            assert [lb.ask(post(b"x"))[2] for _ in range(4)] == [b"spare"] * 4


def test_a_fallback_runs_its_own_middlewares_and_sends_its_own_copies() -> None:
    body = os.urandom(100_000)
    with recorders("main", "spare", "shadow") as (main, spare, shadow):
        main.answer = lambda first, headers, body: (503, b"no")
        services = failing_over("503")
        services["main"] = {"loadBalancer": {"servers": [{"url": main.url}]}, "middlewares": ["main"]}
        services["spare"] = {
            "mirroring": {"service": "real", "mirrors": [{"name": "shadow", "percent": 100}]},
            "middlewares": ["spare", "prefix"],
        }
        dynamic = config(services, real=spare.url, shadow=shadow.url)
        dynamic["http"]["middlewares"] = {
            name: {"headers": {"customResponseHeaders": {f"X-{name}": "1"}}} for name in ("main", "spare")
        }
        dynamic["http"]["middlewares"]["prefix"] = {"addPrefix": {"prefix": "/spare"}}
        dynamic["http"]["middlewares"]["away"] = {"redirectScheme": {"scheme": "https"}}
        with edge(dynamic) as lb:
            _, headers, text = lb.ask(post(body))
            assert (text, headers.get("x-main"), headers.get("x-spare")) == (b"spare", None, "1")
            assert [(request[0].split()[1], request[2]) for request in spare.requests] == [("/spare/x", body)]
            eventually(lambda: shadow.requests, "the copy is there")
            assert (shadow.requests[0][0].split()[1], shadow.requests[0][2]) == ("/spare/x", body)
            services["spare"]["middlewares"] = ["away"]
            lb.apply(dynamic)
            first, headers, _ = lb.ask(post(body))
            assert (first.split()[1], headers.get("x-main")) == ("307", None)
            assert len(spare.requests) == 1


def test_a_failover_outlives_another_try_behind_middlewares() -> None:
    body = os.urandom(1000)
    dead = f"http://127.0.0.1:{free_port()}"
    with recorders("main", "spare") as (main, spare):
        main.answer = lambda first, headers, body: (503, b"no")
        services = failing_over("503")
        services["main"] = {**two_servers(dead, main.url), "middlewares": ["prefix"]}
        dynamic = config(services, spare=spare.url)
        dynamic["http"]["middlewares"] = {"prefix": {"addPrefix": {"prefix": "/main"}}}
        with edge(dynamic) as lb:
            assert [lb.ask(post(body))[2] for _ in range(20)] == [b"spare"] * 20
            assert {(request[0].split()[1], request[2]) for request in main.requests} == {("/main/x", body)}
            assert len(main.requests) == 20
            assert {(request[0].split()[1], request[2]) for request in spare.requests} == {("/x", body)}


def test_the_fallback_of_a_fallback_is_asked_in_the_end() -> None:
    body = os.urandom(50_000)
    with recorders("main", "spare", "last") as (main, spare, last):
        main.answer = spare.answer = lambda first, headers, body: (503, b"no")
        errors = {"status": ["503"]}
        services = {
            "all": {"failover": {"service": "inner", "fallback": "last", "errors": errors}},
            "inner": {"failover": {"service": "main", "fallback": "spare", "errors": errors}},
        }
        with edge(config(services, main=main.url, spare=spare.url, last=last.url)) as lb:
            assert lb.ask(post(body))[2] == b"last"
            assert [each.requests[0][2] for each in (main, spare, last)] == [body] * 3


def test_another_try_gets_the_request_as_it_came_and_runs_the_middlewares_that_it_passes() -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with recorders("a", "b") as (a, b):
        services = {
            "all": {
                "weighted": {"services": [{"name": "first"}, {"name": "second"}], "sticky": {"cookie": {"name": "s"}}}
            },
            "first": {**two_servers(dead[0], a.url), "middlewares": ["one"]},
            "second": {**two_servers(dead[1], b.url), "middlewares": ["two"]},
        }
        dynamic = config(services)
        dynamic["http"]["middlewares"] = {
            "one": {"addPrefix": {"prefix": "/one"}},
            "two": {"addPrefix": {"prefix": "/two"}},
            "away": {"redirectScheme": {"scheme": "https"}},
        }
        with edge(dynamic) as lb:
            for _ in range(8):
                assert "set-cookie" in lb.ask(GET)[1]
            assert {request[0].split()[1] for request in a.requests} == {"/one/x"}
            assert {request[0].split()[1] for request in b.requests} == {"/two/x"}
            assert len(a.requests) + len(b.requests) == 8
            served = len(b.requests)
            services["second"]["middlewares"] = ["away"]
            dynamic["http"]["services"]["first"] = {**two_servers(*dead), "middlewares": ["one"]}
            lb.apply(dynamic)
            assert [lb.ask(GET)[0].split()[1] for _ in range(4)] == ["302"] * 4
            assert len(b.requests) == served


def test_a_service_none_of_whose_servers_can_be_reached_leaves_the_request_to_a_sibling() -> None:
    dead = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with recorders("b") as (b,):
        services = {
            "all": {
                "weighted": {
                    "services": [{"name": "first", "weight": 9}, {"name": "second"}],
                    "sticky": {"cookie": {"name": "s"}},
                }
            },
            "first": {**two_servers(*dead), "middlewares": ["one"]},
            "second": {"loadBalancer": {"servers": [{"url": b.url}]}},
        }
        dynamic = config(services)
        dynamic["http"]["middlewares"] = {"one": {"addPrefix": {"prefix": "/one"}}}
        with edge(dynamic) as lb:
            for _ in range(20):
                first, headers, body = lb.ask(
                    b"GET /x HTTP/1.1\r\nHost: a\r\nCookie: s=%s\r\n\r\n" % value("first").encode()
                )
                assert (first.split()[1], body, headers["set-cookie"]) == ("200", b"b", f"s={value('second')}; Path=/")
            assert {request[0].split()[1] for request in b.requests} == {"/x"}


@pytest.mark.parametrize("statuses", [None, "502"])
@pytest.mark.parametrize("servers", [1, 2, 5])
def test_a_fallback_is_asked_whatever_stands_in_front_of_the_servers_that_cannot_be_reached(
    servers: int, statuses: str | None
) -> None:
    body = os.urandom(10_000)
    dead = [{"url": f"http://127.0.0.1:{free_port()}"} for _ in range(servers)]
    with recorders("spare", "shadow", "shade") as (spare, shadow, shade):
        failover: dict[str, Any] = {"service": "main", "fallback": "pool"}
        services = {
            "all": {"failover": failover | ({"errors": {"status": [statuses]}} if statuses else {})},
            "main": {
                "mirroring": {"service": "gone", "mirrors": [{"name": "shadow", "percent": 50}]},
                "middlewares": ["main"],
            },
            "gone": {"loadBalancer": {"servers": dead}},
            "pool": {"mirroring": {"service": "spares", "mirrors": [{"name": "shade", "percent": 50}]}},
            "spares": {"loadBalancer": {"servers": [*dead[:2], {"url": spare.url}]}},
        }
        dynamic = config(services, shadow=shadow.url, shade=shade.url)
        dynamic["http"]["middlewares"] = {
            "main": {"headers": {"customRequestHeaders": {"X-Main": "1"}, "customResponseHeaders": {"X-Main": "1"}}}
        }
        with edge(dynamic) as lb:
            for _ in range(10):
                _, headers, text = lb.ask(post(body))
                assert (text, headers.get("x-main")) == (b"spare", None)
            assert [("x-main" in request[1], request[2]) for request in spare.requests] == [(False, body)] * 10
            for mirror in (shadow, shade):  # each request counts once, however many servers were tried
                eventually(lambda mirror=mirror: len(mirror.requests) == 5, "half of the copies")  # type: ignore[misc]
                assert [("x-main" in request[1], request[2]) for request in mirror.requests] == [
                    (mirror is shadow, body)
                ] * 5


# Sessions


def value(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def test_a_session_starts_with_a_cookie_and_stays_while_its_server_lives() -> None:
    cookie = {"name": "my cookie", "secure": True, "httpOnly": True, "sameSite": "none", "maxAge": 42, "path": "/p",
              "domain": ".d.test"}  # fmt: skip
    with recorders("a", "b", "c") as servers:
        urls = {server.name.decode(): server.url for server in servers}
        balancer = {"servers": [{"url": url} for url in urls.values()], "sticky": {"cookie": cookie}}
        with edge(config({"all": {"loadBalancer": balancer}})) as lb:
            _, headers, body = lb.ask(GET)
            session, _, attributes = headers["set-cookie"].partition("; ")
            assert session == f"my_cookie={value(urls[body.decode()])}"
            assert attributes == "Path=/p; Domain=d.test; Max-Age=42; HttpOnly; Secure; SameSite=None"
            request = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; %s\r\n\r\n" % session.encode()
            for _ in range(10):
                _, headers, again = lb.ask(request)
                assert again == body
                assert "set-cookie" not in headers


def test_a_session_whose_server_cannot_be_reached_goes_on_elsewhere_with_a_new_cookie() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with recorders("a") as (a,):
        balancer = {"servers": [{"url": dead}, {"url": a.url}], "sticky": {"cookie": {"name": "lb"}}}
        with edge(config({"all": {"loadBalancer": balancer}})) as lb:
            _, headers, body = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: lb=%s\r\n\r\n" % value(dead).encode())
            assert (body, headers["set-cookie"]) == (b"a", f"lb={value(a.url)}; Path=/")


def test_sessions_at_two_levels_set_two_cookies_the_outer_one_first() -> None:
    with recorders("a") as (a,):
        services = {
            "inner": {"loadBalancer": {"servers": [{"url": a.url}], "sticky": {"cookie": {"name": "in"}}}},
            "all": {"weighted": {"services": [{"name": "inner"}], "sticky": {"cookie": {"name": "out"}}}},
        }
        with edge(config(services)) as lb:
            client = lb.client()
            client.send(GET)
            lines = client.until(b"\r\n\r\n").decode().split("\r\n")
            cookies = [line for line in lines if line.startswith("Set-Cookie")]
            assert cookies == [f"Set-Cookie: out={value('inner')}; Path=/", f"Set-Cookie: in={value(a.url)}; Path=/"]


def test_signed_sessions_cannot_be_made_up_and_survive_a_change_of_keys() -> None:
    old, new = "an old key of some length", "a new key of some length"

    def signed(*keys: str) -> dict[str, Any]:
        sticky = {"cookie": {"name": "lb", "signed": {"keys": list(keys)}}}
        return config({"all": {"loadBalancer": {"servers": [{"url": a.url}, {"url": b.url}], "sticky": sticky}}})

    def ask(lb: Edge, cookie: str) -> tuple[str, str]:
        _, headers, body = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n" % cookie.encode())
        return body.decode(), headers.get("set-cookie", "").partition(";")[0]

    with recorders("a", "b") as (a, b), edge(signed(old)) as lb:
        sessions = [ask(lb, "none=1") for _ in range(4)]
        assert len({cookie for _, cookie in sessions}) == 4  # the same server never looks the same
        for name, cookie in sessions:
            assert ask(lb, cookie) == (name, "")
        assert Counter(ask(lb, f"lb={value(a.url)}")[0] for _ in range(4)) == {"a": 2, "b": 2}
        name, cookie = sessions[0]
        forged = cookie[:-1] + ("0" if cookie[-1] != "0" else "1")
        assert ask(lb, forged)[1] != ""
        lb.apply(signed(new, old))
        again, fresh = ask(lb, cookie)
        assert again == name
        assert fresh not in ("", cookie)
        lb.apply(signed(new))
        assert ask(lb, fresh) == (name, "")


def test_middlewares_of_a_service_run_once_wherever_it_is_reached() -> None:
    with recorders("a") as (a,):
        services = {
            "inner": {"loadBalancer": {"servers": [{"url": a.url}]}, "middlewares": ["strip", "tag"]},
            "all": {"weighted": {"services": [{"name": "inner"}]}, "middlewares": ["outer"]},
        }
        dynamic = config(services)
        dynamic["http"]["middlewares"] = {
            "strip": {"stripPrefix": {"prefixes": ["/x"]}},
            "tag": {"headers": {"customResponseHeaders": {"X-Tag": "inner", "X-Inner": "1"}}},
            "outer": {"headers": {"customResponseHeaders": {"X-Tag": "outer"}}},
            "away": {"redirectScheme": {"scheme": "https"}},
        }
        with edge(dynamic) as lb:
            _, headers, _ = lb.ask(b"GET /x/y HTTP/1.1\r\nHost: a\r\n\r\n")
            assert a.requests[0][0] == "GET /y HTTP/1.1"
            assert (headers["x-tag"], headers["x-inner"]) == ("outer", "1")
            services["inner"]["middlewares"] = ["away"]
            dynamic["http"]["services"] = services
            lb.apply(dynamic)
            first, headers, _ = lb.ask(b"GET /x/y HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (first.split()[1], headers["location"], headers["x-tag"]) == ("302", "https://a/x/y", "outer")


def test_weights_change_while_traffic_flows_without_a_failed_request() -> None:
    with recorders("old", "new") as (old, new):

        def canary(share: int) -> dict[str, Any]:
            children = [{"name": "old", "weight": 100 - share}, {"name": "new", "weight": share}]
            return config({"all": {"weighted": {"services": children}}}, old=old.url, new=new.url)

        with edge(canary(0)) as lb:
            failures: list[str] = []
            stop = threading.Event()

            def ask() -> None:
                client = lb.client()
                while not stop.is_set():
                    first = client.ask(GET)[0]
                    if " 200 " not in first:
                        failures.append(first)

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for share in (1, 5, 10, 25, 50, 75, 100):
                lb.apply(canary(share))
                time.sleep(0.05)
            stop.set()
            for thread in threads:
                thread.join()
            assert failures == []
            new.requests.clear()
            lb.apply(canary(25))
            client = lb.client()
            for _ in range(100):
                client.ask(GET)
            assert len(new.requests) == 25
