"""What static and dynamic configuration make of a request: entry points, redirections, ping, shares, other servers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.wire import Peer, Script, Server, config_for, edge, serving

GET = b"GET /x HTTP/1.1\r\nHost: shop.test:81\r\n\r\n"


def named(name: str) -> Script:
    def script(peer: Peer) -> None:
        try:
            while True:
                peer.message()
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name.encode()))
        except (EOFError, ConnectionError):
            pass

    return script


def test_shares_follow_the_weights_through_both_levels() -> None:
    servers = [Server(named(name)) for name in ("a", "b", "c")]
    service = {
        "top": {"weighted": {"services": [{"name": "old", "weight": 3}, {"name": "new"}]}},
        "old": {"loadBalancer": {"servers": [{"url": servers[0].url, "weight": 2}, {"url": servers[1].url}]}},
        "new": {"loadBalancer": {"servers": [{"url": servers[2].url}]}},
    }
    routers = {"all": {"rule": "PathPrefix(`/`)", "service": "top"}}
    try:
        with edge({"http": {"routers": routers, "services": service}}) as lb:
            client = lb.client()
            assert Counter(client.ask(GET)[2] for _ in range(24)) == {b"a": 12, b"b": 6, b"c": 6}
    finally:
        for server in servers:
            server.close()


def test_server_that_cannot_be_reached_is_passed_over() -> None:
    with serving(named("alive")) as server:
        urls = [f"http://127.0.0.1:{free_port()}", server.url, "http://no-such-host.invalid"]
        with edge(config_for(*urls)) as lb:
            client = lb.client()
            body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            assert [client.ask(request)[2] for request in (GET, body) * 6] == [b"alive"] * 12


def test_entry_point_may_redirect_everything() -> None:
    redirection = {"entryPoint": {"to": ":8443", "scheme": "https"}}
    with serving() as server, edge(config_for(server.url), http={"redirections": redirection}) as lb:
        first, headers, _ = lb.ask(GET)
        assert (first.split()[1], headers["location"]) == ("301", "https://shop.test:8443/x")


def test_middlewares_of_an_entry_point_come_first() -> None:
    with serving() as server:
        config = config_for(server.url)
        config["http"]["middlewares"] = {
            "add": {"addPrefix": {"prefix": "/p"}},
            "strip": {"stripPrefix": {"prefixes": ["/p"]}},
        }
        config["http"]["routers"]["all"]["middlewares"] = ["strip"]
        with edge(config, http={"middlewares": ["add@file"]}) as lb:
            assert lb.ask(GET)[2] == b"GET /x HTTP/1.1\n"


def test_headers_that_connection_lists_are_not_seen_by_rules() -> None:
    with serving() as server:
        config = config_for(server.url)
        config["http"]["routers"]["all"]["rule"] = "Header(`X-A`, `1`)"
        request = b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: X-A\r\n\r\n"
        with edge(config) as lb:
            assert lb.ask(request)[0].split()[1] == "404"
        with edge(config, forwardedHeaders={"connection": ["X-A"]}) as lb:
            assert lb.ask(request)[0].split()[1] == "200"


def test_trusted_clients_alone_may_set_forwarding_headers() -> None:
    def forwarded(peer: Peer) -> None:
        _, headers = peer.head()
        text = f"{headers['x-forwarded-for']} {headers['x-real-ip']} {headers['x-forwarded-proto']}".encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    headers = b"X-Forwarded-For: 1.1.1.1\r\nX-Real-Ip: 2.2.2.2\r\nX-Forwarded-Proto: https\r\n"
    request = b"GET / HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n"
    with serving(forwarded) as server:
        with edge(config_for(server.url)) as lb:
            assert lb.ask(request)[2] == b"127.0.0.1 127.0.0.1 http"
        with edge(config_for(server.url), forwardedHeaders={"trustedIPs": ["127.0.0.0/8"]}) as lb:
            assert lb.ask(request)[2] == b"1.1.1.1, 127.0.0.1 2.2.2.2 https"
        with edge(config_for(server.url), forwardedHeaders={"insecure": True, "notAppendXForwardedFor": True}) as lb:
            assert lb.ask(request)[2] == b"1.1.1.1 2.2.2.2 https"


def seen(target: str, http: dict[str, Any], *headers: str, **balancer: Any) -> tuple[str, str, str]:
    """Status, and the first line and headers as the server saw them."""
    lines = [f"GET {target} HTTP/1.1", "Host: shop.test:81", *headers, "", ""]
    with serving(told) as server, edge(config_for(server.url, **balancer), http=http) as lb:
        first, _, body = lb.ask("\r\n".join(lines).encode())
    asked, _, rest = body.decode().partition("\n")
    return first.split()[1], asked.removesuffix(" HTTP/1.1"), rest


def told(peer: Peer) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        first, headers = peer.head()
        text = "\n".join([first, *(f"{name}: {value}" for name, value in headers.items())]).encode()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def test_paths_are_sanitised_unless_told_otherwise() -> None:
    assert seen("/a/../b", {})[1] == "GET /b"
    assert seen("/a/../b", {"sanitizePath": False})[1] == "GET /a/../b"


def test_semicolons_in_queries_become_what_is_asked_for() -> None:
    assert seen("/?a=1;b=2", {})[1] == "GET /?a=1&b=2"
    assert seen("/?a=1;b=2", {"encodeQuerySemicolons": True})[1] == "GET /?a=1%3Bb=2"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("Slash", "/a%2Fb"),
        ("BackSlash", "/a%5Cb"),
        ("BackSlash", "/a\\b"),
        ("NullCharacter", "/a%00b"),
        ("Semicolon", "/a%3Bb"),
        ("Percent", "/a%25b"),
        ("QuestionMark", "/a%3Fb"),
        ("Hash", "/a%23b"),
    ],
)
def test_encoded_character_is_refused_when_it_is_not_allowed(key: str, path: str) -> None:
    assert seen(path, {})[0] == "200"
    assert seen(path, {"encodedCharacters": {f"allowEncoded{key}": False}})[0] == "400"


def test_underscores_in_names_are_treated_as_asked_for() -> None:
    for strategy, status, kept in (("keep", "200", True), ("delete", "200", False), ("reject", "400", False)):
        got, _, headers = seen("/", {"underscoreHeadersStrategy": strategy}, "X_Mine: 1")
        assert (got, "x_mine: 1" in headers) == (status, kept)


def test_aliases_of_names_are_treated_as_asked_for() -> None:
    for name in ("X_Mine", "X.Mine", "X!Mine", "X~Mine"):
        for strategy, status, kept in (("keep", "200", True), ("delete", "200", False), ("reject", "400", False)):
            for http in ({}, {"underscoreHeadersStrategy": "keep"}):
                got, _, headers = seen("/", {"aliasHeadersStrategy": strategy, **http}, f"{name}: 1")
                assert (got, f"{name.lower()}: 1" in headers) == (status, kept)
    assert "x.mine: 1" in seen("/", {"underscoreHeadersStrategy": "delete"}, "X.Mine: 1")[2]
    assert seen("/", {"aliasHeadersStrategy": "reject"}, "X-Mine-2: 1")[0] == "200"


def test_host_is_passed_or_not() -> None:
    assert "host: shop.test:81" in seen("/", {})[2]
    assert "host: 127.0.0.1:" in seen("/", {}, passHostHeader=False)[2]


def test_path_of_a_server_counts_only_when_it_is_to_be_kept() -> None:
    with serving() as server:
        for keep, path in ((False, b"/x"), (True, b"/base/x")):
            config = config_for(server.url + "/base/")
            config["http"]["services"]["all"]["loadBalancer"]["servers"][0]["preservePath"] = keep
            with edge(config) as lb:
                assert lb.ask(GET)[2] == b"GET %s HTTP/1.1\n" % path


def test_path_of_a_server_goes_into_the_request_as_a_path() -> None:
    with serving() as server:
        config = config_for(server.url + "/b c/caf\xe9/%2F%20/")
        config["http"]["services"]["all"]["loadBalancer"]["servers"][0]["preservePath"] = True
        with edge(config) as lb:
            assert lb.ask(GET)[2] == b"GET /b%20c/caf%C3%A9/%2F%20/x HTTP/1.1\n"


def test_higher_priority_wins_over_the_longer_rule() -> None:
    with serving(named("long")) as long, serving(named("first")) as first:
        config = config_for(long.url)
        config["http"]["services"]["first"] = {"loadBalancer": {"servers": [{"url": first.url}]}}
        config["http"]["routers"]["first"] = {"rule": "Path(`/x`)", "service": "first", "priority": 0}
        config["http"]["routers"]["all"]["rule"] = "PathPrefix(`/`) && Method(`GET`)"
        for priority, answer in ((0, b"long"), (1000, b"first")):
            config["http"]["routers"]["first"]["priority"] = priority
            with edge(config) as lb:
                assert lb.ask(GET)[2] == answer


def test_connection_closes_at_its_greatest_age() -> None:
    with serving() as server, edge(config_for(server.url), transport={"keepAliveMaxTime": "200ms"}) as lb:
        client = lb.client()
        assert "connection" not in client.ask(GET)[1]
        began = time.monotonic()
        while "connection" not in client.ask(GET)[1]:
            assert time.monotonic() - began < 20
        assert client.to_the_end() == b""


def test_answer_that_takes_too_long_is_broken_off() -> None:
    def drip(peer: Peer) -> None:
        peer.message()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        peer.to_the_end()

    timeouts = {"respondingTimeouts": {"writeTimeout": "200ms"}}
    with serving(drip) as server, edge(config_for(server.url), transport=timeouts) as lb:
        client = lb.client()
        client.send(GET)
        client.head()
        assert client.to_the_end() == b"hello"


@pytest.mark.parametrize(("limit", "kept"), [(-1, 0), (1, 1), (3, 3)])
def test_no_more_idle_connections_are_kept_than_asked_for(limit: int, kept: int) -> None:
    gate = threading.Barrier(5)
    ended: list[None] = []

    def together(peer: Peer) -> None:
        peer.message()
        gate.wait(10)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        peer.to_the_end()
        ended.append(None)

    with serving(together) as server, edge(config_for(server.url, transport={"maxIdleConnsPerHost": limit})) as lb:
        clients = [lb.client() for _ in range(5)]
        for client in clients:
            client.send(GET)
        assert [client.message()[2] for client in clients] == [b"ok"] * 5
        eventually(lambda: len(ended) == 5 - kept, f"{kept} connections are left")


def test_client_that_ends_its_side_cancels_its_request() -> None:
    cancelled = threading.Event()

    def hang(peer: Peer) -> None:
        peer.to_the_end()
        cancelled.set()

    bodies = (b"", b"Content-Length: 2\r\n")
    for body in bodies:
        cancelled.clear()
        with serving(hang) as server, edge(config_for(server.url)) as lb:
            client = lb.client()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + body + b"\r\n" + (b"hi" if body else b""))
            client.sock.shutdown(socket.SHUT_WR)
            assert client.to_the_end() == b""
            assert cancelled.wait(5)


def test_large_upload_goes_on_after_a_slow_server_and_both_ends_are_used_again() -> None:
    size = 20_000_000

    def slowly(peer: Peer) -> None:
        for _ in range(2):
            peer.head()
            got = 0
            while got < size:
                got += len(peer.rest) or len(peer.sock.recv(min(1 << 20, size - got)))
                peer.rest = b""
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n%d" % got)

    with serving(slowly) as server, edge(config_for(server.url)) as lb:
        client = lb.client()
        for _ in range(2):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
            assert client.message()[2] == b"20000000"
        assert server.connections == 1


def test_routers_without_entry_points_listen_on_the_default_ones() -> None:
    with serving() as server:
        config = config_for(server.url)
        config["http"]["routers"]["all"]["ruleSyntax"] = "v3"
        with edge(config, asDefault=True) as lb:
            assert lb.ask(GET)[0] == "HTTP/1.1 200 OK"
        static = {"web": {"address": "127.0.0.1:0"}, "main": {"address": "127.0.0.1:0", "asDefault": True}}
        with edge(config, entry_points=static) as lb:
            assert lb.ask(GET)[0] == "HTTP/1.1 404 Not Found"
            assert lb.client("main").ask(GET)[0] == "HTTP/1.1 200 OK"
