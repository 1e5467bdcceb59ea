"""Requests whose server or service fails: others that are asked, and what they get. Real sockets at every end."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import pytest

from lbcore.state.cells import EJECTED
from tests.support.instance import Backend, eventually
from tests.support.native import with_steps
from tests.support.ports import free_port
from tests.support.recorder import (
    GET,
    config,
    counters,
    post,
    recorders,
    two_servers,
    value,
)
from tests.support.wire import TIMEOUT_S, Peer, Server, deaf, edge
from tests.wire.test_queue import counting, queue_of


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
        with contextlib.suppress(OSError):
            peer.to_the_end()

    main = Server(reject)
    with recorders("spare") as (spare,), edge(config(failing_over("500"), main=main.url, spare=spare.url)) as lb:
        body = os.urandom(400_000)
        client = lb.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n" + body[:100])
        eventually(lambda: spare.connections, "the fallback is asked")
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


def refusing(count: int) -> list[dict[str, str]]:
    """Unreachable servers."""
    return [{"url": f"http://127.0.0.1:{free_port()}"} for _ in range(count)]


def with_session(service: str) -> bytes:
    return b"GET /x HTTP/1.1\r\nHost: a\r\nCookie: s=%s\r\n\r\n" % value(service).encode()


def sticky(*names: str) -> dict[str, Any]:
    return {"weighted": {"services": [{"name": name} for name in names], "sticky": {"cookie": {"name": "s"}}}}


@pytest.mark.parametrize("statuses", [{}, {"errors": {"status": ["503"]}}])
def test_the_fallback_is_asked_while_all_servers_of_the_main_service_are_ejected(statuses: dict[str, Any]) -> None:
    with recorders("spare") as (spare,):
        passive = {"maxFailedAttempts": 1, "failureWindow": "10s"}
        services = {
            "all": {"failover": {"service": "main", "fallback": "spare", **statuses}},
            "main": {"loadBalancer": {"servers": refusing(3), "passiveHealthCheck": passive}},
        }
        with edge(config(services, spare=spare.url)) as lb:
            assert [lb.ask(post(b"x"))[2] for _ in range(6)] == [b"spare"] * 6


def test_tries_at_one_service_are_not_held_against_another_one() -> None:
    with recorders("b", "sorry") as (b, sorry):
        services = {
            "all": sticky("first", "second"),
            "first": {"loadBalancer": {"servers": refusing(5)}},
            "second": {"failover": {"service": "b", "fallback": "sorry"}},
        }
        with edge(config(services, b=b.url, sorry=sorry.url)) as lb:
            for _ in range(4):
                _, headers, body = lb.ask(with_session("first"))
                assert (body, headers["set-cookie"]) == (b"b", f"s={value('second')}; Path=/")


def test_an_answer_without_a_reachable_server_has_the_headers_of_the_last_attempt() -> None:
    services = {
        "all": sticky("first", "second"),
        "first": {"loadBalancer": {"servers": refusing(1)}, "middlewares": ["first"]},
        "second": {"loadBalancer": {"servers": refusing(1)}, "middlewares": ["second"]},
    }
    dynamic = config(services)
    dynamic["http"]["middlewares"] = {
        name: {"headers": {"customResponseHeaders": {"X-Service": name}}} for name in ("first", "second")
    }
    with edge(dynamic) as lb:
        for _ in range(4):
            first, headers, _ = lb.ask(GET)
            assert (first.split()[1], headers["set-cookie"]) == ("502", f"s={value(headers['x-service'])}; Path=/")


def test_requests_that_wait_for_a_server_which_is_dead_go_to_the_fallback() -> None:
    with deaf() as port, recorders("spare") as (spare,):
        servers = [{"url": f"http://127.0.0.1:{port}", "maxConnections": 1}]
        services = {
            "all": {"failover": {"service": "main", "fallback": "spare"}},
            "main": {
                "loadBalancer": {"servers": servers, "queue": {"timeout": "20s"}, "serversTransport": "quick"},
            },
        }
        dynamic = config(services, spare=spare.url)
        dynamic["http"]["serversTransports"] = {"quick": {"forwardingTimeouts": {"dialTimeout": "200ms"}}}
        with edge(dynamic) as lb:
            clients = [lb.client() for _ in range(4)]
            for client in clients:
                client.send(GET)
            assert [client.message()[2] for client in clients] == [b"spare"] * 4


def test_a_body_that_is_refused_leaves_the_trial_to_others() -> None:
    with recorders("main", "spare") as (main, spare):
        passive = {"maxFailedAttempts": 1, "failureWindow": "100ms"}
        services = failing_over("501", maxRequestBodyBytes=3)
        services["main"] = {"loadBalancer": {"servers": [{"url": main.url}], "passiveHealthCheck": passive}}
        with edge(config(services, spare=spare.url)) as lb:
            slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
            region, slot = lb.proxy._region, slots.servers[f"main@file|{main.url}"]
            region.set_up(slot, False, EJECTED)
            assert lb.ask(GET)[2] == b"spare"
            eventually(lambda: region.is_up(slot), "it may be tried again")
            for _ in range(2):
                assert lb.ask(post(b"1234"))[0].split()[1] == "413"
            assert lb.ask(GET)[2] == b"main"


def test_a_main_service_without_servers_is_a_503_to_its_failover() -> None:
    with recorders("spare") as (spare,):
        services = failing_over("503") | {"main": {"loadBalancer": {"servers": []}}}
        with edge(config(services, spare=spare.url)) as lb:
            assert lb.ask(post(b"x"))[2] == b"spare"


def guarded(*statuses: str) -> dict[str, Any]:
    """A service with a middleware in front of a failover, whose main service the caller adds."""
    return {
        "all": {"weighted": {"services": [{"name": "inner"}]}, "middlewares": ["mark"]},
        "inner": {"failover": {"service": "main", "fallback": "spare", "errors": {"status": list(statuses)}}},
    }


MARK = {"mark": {"headers": {"customRequestHeaders": {"X-Mark": "yes"}}}}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_kept_for_the_fallback_before_any_service_has_taken_the_request(chunked: bool) -> None:
    with recorders("spare") as (spare,):
        dynamic = config(guarded("503") | {"main": {"loadBalancer": {"servers": []}}}, spare=spare.url)
        dynamic["http"]["middlewares"] = MARK
        with edge(dynamic) as lb:
            client = lb.client()
            for body in (b"x", b"y" * 70_000):
                assert client.ask(post(body, chunked))[2] == b"spare"
            assert [(headers["x-mark"], body) for _, headers, body in spare.requests] == [
                ("yes", b"x"),
                ("yes", b"y" * 70_000),
            ]


@pytest.mark.parametrize("room", [0, 5])
def test_a_body_that_has_waited_in_vain_for_a_server_goes_to_the_fallback(room: int) -> None:
    with counting() as (main,), recorders("spare") as (spare,):
        queue = {"maxRequests": room, "timeout": "100ms"}
        balancer = {"servers": [{"url": main.url, "maxConnections": 1}], "queue": queue}
        dynamic = config(guarded("503") | {"main": {"loadBalancer": balancer}}, spare=spare.url)
        dynamic["http"]["middlewares"] = MARK
        with edge(dynamic) as lb:
            first = lb.client()
            first.send(GET)
            eventually(lambda: main.now == 1, "the server is full")
            assert lb.ask(post(b"hello"))[2] == b"spare"
            assert [(headers["x-mark"], body) for _, headers, body in spare.requests] == [("yes", b"hello")]
            main.go.release()
            assert first.message()[2] == b"."


def nested(limit: int, mirror_limit: int, good: str, shadow: str, last: str) -> dict[str, Any]:
    """A main service that makes copies and cannot be reached; its fallback is a failover with a limit of its own."""
    errors = {"status": ["503"], "maxRequestBodyBytes": limit}
    services = {
        "all": {"failover": {"service": "copied", "fallback": "inner"}},
        "copied": {
            "mirroring": {
                "service": "gone", "mirrors": [{"name": "shadow", "percent": 100}], "maxBodySize": mirror_limit,
            }
        },
        "gone": {"loadBalancer": {"servers": refusing(1)}},
        "inner": {"failover": {"service": "good", "fallback": "last", "errors": errors}},
    }  # fmt: skip
    return config(services, good=good, shadow=shadow, last=last)


@pytest.mark.parametrize("chunked", [False, True])
def test_how_much_of_a_body_is_kept_depends_on_who_may_want_it_in_the_end(chunked: bool) -> None:
    body = os.urandom(20_000)
    with recorders("good", "shadow", "last") as (good, shadow, last):
        urls = {"good": good.url, "shadow": shadow.url, "last": last.url}
        with edge(nested(-1, 10_000, **urls)) as lb:
            assert lb.ask(post(body, chunked))[2] == b"good"
            good.answer = lambda first, headers, body: (503, b"no")
            assert lb.ask(post(body, chunked))[2] == b"last"
            assert [request[2] for request in good.requests + last.requests] == [body] * 3
            assert not shadow.requests
            lb.apply(nested(1000, 100_000, **urls))
            assert lb.ask(post(body, chunked))[0].split()[1] == "413"
            lb.apply(nested(-1, 100_000, **urls))
            assert lb.ask(post(body, chunked))[2] == b"last"
            eventually(lambda: shadow.requests, "the copy is there")
            assert shadow.requests[-1][2] == body


def test_a_copy_whose_service_answers_badly_goes_to_its_fallback_body_and_all() -> None:
    body = os.urandom(50_000)
    with recorders("main", "bad", "spare") as (main, bad, spare):
        bad.answer = lambda first, headers, body: (503, b"no")
        services = {
            "all": {"mirroring": {"service": "main", "mirrors": [{"name": "both", "percent": 100}]}},
            "both": {"failover": {"service": "bad", "fallback": "spare", "errors": {"status": ["503"]}}},
        }
        with edge(config(services, main=main.url, bad=bad.url, spare=spare.url)) as lb:
            assert lb.ask(post(body))[2] == b"main"
            eventually(lambda: spare.requests, "the copy went to the fallback", 10)
            assert [request[2] for request in bad.requests + spare.requests] == [body] * 2


def test_what_goes_wrong_inside_another_try_is_seen_by_the_client_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with_steps(monkeypatch)
    with recorders("spare") as (spare,):
        services = {
            "all": {"failover": {"service": "main", "fallback": "spare"}},
            "main": {"loadBalancer": {"servers": refusing(1)}},
            "spare": {"loadBalancer": {"servers": [{"url": spare.url}]}, "middlewares": ["one"]},
        }
        dynamic = config(services)
        dynamic["http"]["middlewares"] = {"one": {"addPrefix": {"prefix": "/unused"}}}
        with edge(dynamic) as lb:
            client = lb.client()
            client.sock.settimeout(5)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Step: one=break\r\n\r\n")
            with pytest.raises(EOFError):
                client.message()
            assert lb.ask(GET)[2] == b"spare"


def test_the_fallback_is_asked_before_all_servers_of_many_services_were_tried() -> None:
    with recorders("spare") as (spare,):
        services = {
            "all": {"failover": {"service": "main", "fallback": "spare"}},
            "main": {"weighted": {"services": [{"name": f"part{number}"} for number in range(5)]}},
        }
        services |= {f"part{number}": {"loadBalancer": {"servers": refusing(4)}} for number in range(5)}
        with edge(config(services, spare=spare.url)) as lb:
            assert [lb.ask(post(b"x"))[2] for _ in range(6)] == [b"spare"] * 6
            tried = [counters(lb, f"part{n}@file|{s['url']}").connect_errors for n in range(5)
                     for s in services[f"part{n}"]["loadBalancer"]["servers"]]  # fmt: skip
            assert sum(tried) == 6 * 6


@pytest.mark.parametrize("limit", [-1, 1000])
def test_an_answer_that_comes_before_its_request_is_complete_comes_whole(limit: int) -> None:
    body = os.urandom(3_000_000)
    received = []
    answered = threading.Event()

    def early(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"a" * 1000)
        answered.set()
        received.append(len(peer.chunks()[0]))
        peer.send(b"b" * 4000)

    main = Server(early)
    with recorders("spare") as (spare,):
        services = failing_over("503", maxRequestBodyBytes=limit)
        with edge(config(services, main=main.url, spare=spare.url)) as lb:
            client = lb.client()
            request = post(body, chunked=True)
            client.send(request[:900])
            assert answered.wait(TIMEOUT_S)
            lb.settle()
            sender = threading.Thread(target=client.send, args=(request[900:],))
            sender.start()
            assert client.message()[2] == b"a" * 1000 + b"b" * 4000
            sender.join(10)
            assert received == [len(body)]
    main.close()


def test_an_error_in_the_next_request_of_a_connection_ends_only_that_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_steps(monkeypatch)
    with recorders("main") as (main,):
        dynamic = config({}, all=main.url)
        dynamic["http"]["middlewares"] = {"one": {"addPrefix": {"prefix": "/unused"}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["one"]
        with edge(dynamic) as lb:
            client = lb.client()
            client.sock.settimeout(5)
            client.send(GET + b"GET / HTTP/1.1\r\nHost: a\r\nX-Step: one=break\r\n\r\n")
            assert client.message()[2] == b"main"
            with pytest.raises(EOFError):
                client.message()
            assert lb.ask(GET)[2] == b"main"
            assert main.connections == 1


def test_a_request_that_excludes_servers_delays_no_other_in_the_queue() -> None:
    port = free_port()
    servers = [{"url": f"http://127.0.0.1:{port}", "maxConnections": 1}]
    with counting(1) as (busy,):
        servers.append({"url": busy.url, "maxConnections": 1})
        balancer = {"servers": servers, "queue": {"timeout": "20s"}}
        with edge(config({"all": {"loadBalancer": balancer}})) as lb:
            first = lb.client()
            first.send(GET)
            eventually(lambda: busy.now == 1, "one is full, whether or not the other one was tried before")
            waits = lb.client()
            waits.send(GET)  # the other one cannot be reached
            eventually(lambda: queue_of(lb).waiting == 1, "it waits for the one that is full")
            back = Backend("back", port=port)
            try:
                assert [lb.ask(GET)[2] for _ in range(3)] == [b"back"] * 3
            finally:
                back.close()
            busy.go.release(2)
            assert [first.message()[2], waits.message()[2]] == [b"."] * 2


def test_no_request_waits_for_a_server_on_trial_while_a_sibling_is_free() -> None:
    with counting(1) as (tried,), recorders("free") as (free,):
        services = {
            "all": {"weighted": {"services": [{"name": "first", "weight": 3}, {"name": "second"}]}},
            "first": {
                "loadBalancer": {
                    "servers": [{"url": tried.url, "maxConnections": 5}],
                    "queue": {"timeout": "20s"},
                    "passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "100ms"},
                }
            },
            "second": {"loadBalancer": {"servers": [{"url": free.url}]}},
        }
        with edge(config(services)) as lb:
            slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
            region, slot = lb.proxy._region, slots.servers[f"first@file|{tried.url}"]
            region.set_up(slot, False, EJECTED)
            eventually(lambda: region.is_up(slot), "it may be tried again")
            clients = [lb.client() for _ in range(2)]
            for client in clients:
                client.send(GET)
            eventually(lambda: tried.now == 1, "one tries")
            assert [lb.ask(GET)[2] for _ in range(8)] == [b"free"] * 8
            tried.go.release(9)


def test_what_an_inner_failover_lets_pass_is_the_outer_ones_to_drop() -> None:
    with recorders("a", "b", "c") as (a, b, c):
        services = {
            "all": {"failover": {"service": "inner", "fallback": "c", "errors": {"status": ["500-504"]}}},
            "inner": {"failover": {"service": "a", "fallback": "b", "errors": {"status": ["503"]}}},
        }
        with edge(config(services, a=a.url, b=b.url, c=c.url)) as lb:
            for status, asked in ((502, [1, 0, 1]), (503, [1, 1, 0]), (404, [1, 0, 0])):
                for server in (a, b, c):
                    server.requests.clear()
                a.answer = lambda *request, status=status: (status, b"a")
                text = lb.ask(post(b"x" * 70_000, chunked=True))[2]
                assert text == (b"c" if asked[2] else b"b" if asked[1] else b"a")
                assert [len(server.requests) for server in (a, b, c)] == asked
                assert all(body == b"x" * 70_000 for server in (a, b, c) for _, _, body in server.requests)
