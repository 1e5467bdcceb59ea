"""What static and dynamic configuration make of a request: entry points, redirections, ping, shares, other servers."""

from __future__ import annotations

from collections import Counter

from tests.support.wire import Peer, Script, Server, config_for, edge, serving
from tests.wire.test_answers import refused_port

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
        urls = [f"http://127.0.0.1:{refused_port()}", server.url, "http://no-such-host.invalid"]
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
