"""forwardAuth over the wire: what the other server is asked, what its answers do, and what happens without one."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import authority, certificate, signed
from tests.support.instance import eventually
from tests.support.problems import errors_of, warnings_of
from tests.support.recorder import config, post, recorders
from tests.support.secure import secure_serving
from tests.support.wire import Peer, Server, config_for, edge, serving
from tests.wire.test_basic_auth import echo

GET = b"GET /a/b?c=d HTTP/1.1\r\nHost: shop.test:8080\r\n%s\r\n"


class Auth(Server):
    """The server that is asked: it keeps what it was asked, and answers as the test says."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.held = threading.Event()
        self.held.set()
        super().__init__(self.serve)

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.asked.append(peer.message())
                self.held.wait(60)
                peer.send(self.answer)


@contextlib.contextmanager
def asking(answer: bytes | None = None) -> Iterator[Auth]:
    auth = Auth() if answer is None else Auth(answer)
    try:
        yield auth
    finally:
        auth.held.set()
        auth.close()


def guarded(url: str, address: str, *, of_service: bool = False, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"auth": {"forwardAuth": {"address": address, **options}}}
    config["http"]["services" if of_service else "routers"]["all"]["middlewares"] = ["auth"]
    return config


def reply(status: str, *lines: str, body: str = "") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", body]).encode()


def seen(answer: tuple[str, dict[str, str], bytes]) -> dict[str, str]:
    """The headers that the server got."""
    assert answer[0] == "HTTP/1.1 200 OK", answer
    found: dict[str, str] = json.loads(answer[2])
    return found


@pytest.mark.parametrize("of_service", [False, True])
def test_2xx_lets_a_request_pass(of_service: bool) -> None:
    for status in ("200 OK", "204 No Content", "299 X"):
        with serving(echo) as server, asking(reply(status, body="" if "204" in status else "secret")) as auth:
            with edge(guarded(server.url, f"{auth.url}/check?x=1", of_service=of_service)) as proxy:
                for _ in range(3):
                    assert "x-auth" not in seen(proxy.ask(GET % b"X-Mine: 1\r\n"))
                assert auth.connections == 1  # which is kept
            assert len(auth.asked) == 3
            first, headers, body = auth.asked[0]
            assert (first, body) == ("GET /check?x=1 HTTP/1.1", b"")
            assert headers["host"] == auth.url.removeprefix("http://")
            assert headers["x-mine"] == "1"


@pytest.mark.parametrize("address", ["", "/", "/?", "/p", "/p?q", "?q=1"])
def test_the_path_of_the_address(address: str) -> None:
    with serving(echo) as server, asking() as auth, edge(guarded(server.url, auth.url + address)) as proxy:
        seen(proxy.ask(GET % b""))
        wanted = {"": "/", "/?": "/?", "?q=1": "/?q=1"}.get(address, address)
        assert auth.asked[0][0] == f"GET {wanted} HTTP/1.1"


FORWARDED = (
    b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Uri: /evil\r\n"
    b"X-Forwarded-Method: EVIL\r\nX-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /p\r\n"
    b"X-Real-Ip: 10.0.0.1\r\nX-Forwarded-Server: evil\r\n"
    b"Forwarded: for=10.0.0.1\r\nX_Forwarded_For: 10.0.0.1\r\n"
)
OWN = {
    "x-forwarded-method": "POST",
    "x-forwarded-proto": "http",
    "x-forwarded-host": "shop.test:8080",
    "x-forwarded-uri": "/a/b?c=d",
    "x-forwarded-for": "127.0.0.1",
}


@pytest.mark.parametrize("trust", [None, False, True])
@pytest.mark.parametrize("believed", [False, True])
def test_what_is_said_of_the_client(trust: bool | None, believed: bool) -> None:
    options = {} if trust is None else {"trustForwardHeader": trust}
    with serving(echo) as server, asking() as auth:
        with edge(guarded(server.url, auth.url, **options), forwardedHeaders={"insecure": believed}) as proxy:
            request = (GET % (FORWARDED + b"Content-Length: 2\r\n")).replace(b"GET", b"POST") + b"hi"
            seen(proxy.ask(request))
            headers = auth.asked[0][1]
    managed = {
        name: value for name, value in headers.items() if name.startswith(("x-forwarded", "x-real", "forwarded"))
    }
    managed.pop("x-forwarded-server", None)
    if not believed:
        rest = {} if trust is False else {"x-real-ip": "127.0.0.1"}
        assert managed == OWN | rest | {"x-forwarded-port": "8080"}
    elif trust is None:
        assert managed == OWN | {
            "x-real-ip": "10.0.0.1",
            "x-forwarded-port": "1",
            "x-forwarded-prefix": "/p",
            "forwarded": "for=10.0.0.1",
        }
    elif trust:
        assert managed == {
            "x-forwarded-for": "10.0.0.1, 127.0.0.1",
            "x-forwarded-proto": "https",
            "x-forwarded-host": "evil",
            "x-real-ip": "10.0.0.1",
            "x-forwarded-uri": "/evil",
            "x-forwarded-method": "EVIL",
            "x-forwarded-port": "1",
            "x-forwarded-prefix": "/p",
            "forwarded": "for=10.0.0.1",
        }
    else:
        assert managed == OWN | {"x-forwarded-port": "8080"}
    assert "evil" not in headers.get("x-forwarded-server", "")
    assert "content-length" not in headers


@pytest.mark.parametrize("proto", ["https", "wss", "http"])
@pytest.mark.parametrize("trust", [None, True])
def test_the_port_is_that_of_the_scheme_by_which_the_client_has_come(trust: bool | None, proto: str) -> None:
    options = {} if trust is None else {"trustForwardHeader": trust}
    with serving(echo) as server, asking() as auth:
        with edge(guarded(server.url, auth.url, **options), forwardedHeaders={"insecure": True}) as proxy:
            told = b"X-Forwarded-Proto: %s\r\n" % proto.encode()
            for host, port in ((b"shop.test", "80" if proto == "http" else "443"), (b"shop.test:8080", "8080")):
                at_server = seen(proxy.ask((GET % told).replace(b"shop.test:8080", host)))
                assert auth.asked[-1][1]["x-forwarded-port"] == at_server["x-forwarded-port"] == port


@pytest.mark.parametrize("told", ["https", "http", ""])
@pytest.mark.parametrize("changed", ["https", "http", ""])
def test_the_port_does_not_follow_what_headers_sets(told: str, changed: str) -> None:
    """It is that of the client's scheme, as a trusted proxy in front has said it."""
    port = "443" if told == "https" else "80"
    with serving(echo) as server, asking() as auth:
        config = guarded(server.url, auth.url)
        config["http"]["middlewares"]["says"] = {"headers": {"customRequestHeaders": {"X-Forwarded-Proto": changed}}}
        for order in (["says", "auth"], ["auth", "says"]):
            config["http"]["routers"]["all"]["middlewares"] = order
            with edge(config, forwardedHeaders={"insecure": True}) as proxy:
                lines = f"X-Forwarded-Proto: {told}\r\n".encode()
                at_server = seen(proxy.ask((GET % lines).replace(b"shop.test:8080", b"shop.test")))
                assert auth.asked[-1][1]["x-forwarded-port"] == at_server["x-forwarded-port"] == port
                assert at_server.get("x-forwarded-proto", "") == changed


def test_what_headers_has_set_about_a_proxy_goes_to_both() -> None:
    with serving(echo) as server, asking() as auth:
        config = guarded(server.url, auth.url)
        config["http"]["middlewares"]["says"] = {"headers": {"customRequestHeaders": {"X-Forwarded-Server": "edge-1"}}}
        config["http"]["routers"]["all"]["middlewares"] = ["says", "auth"]
        with edge(config, forwardedHeaders={"insecure": True}) as proxy:
            at_server = seen(proxy.ask(GET % b"X-Forwarded-Server: evil\r\n"))
            assert auth.asked[0][1]["x-forwarded-server"] == at_server["x-forwarded-server"] == "edge-1"


def test_a_header_of_its_answer_may_be_empty() -> None:
    """It still says something: that the client has none."""
    with serving(echo) as server, asking(reply("200 OK", "X-User:", "X-Role: ")) as auth:
        options = {"authResponseHeaders": ["X-User"], "authResponseHeadersRegex": "^X-Role$"}
        with edge(guarded(server.url, auth.url, **options)) as proxy:
            found = seen(proxy.ask(GET % b"X-User: root\r\nX-Role: root\r\nConnection: X-User\r\n"))
            assert (found["x-user"], found["x-role"]) == ("", "")


def test_what_headers_has_removed_is_said_of_the_request() -> None:
    """The server has to know what it is asked about."""
    removed = {f"X-Forwarded-{what}": "" for what in ("Proto", "Host", "Method", "Uri", "Port")}
    with serving(echo) as server, asking() as auth:
        config = guarded(server.url, auth.url, trustForwardHeader=True)
        config["http"]["middlewares"]["says"] = {"headers": {"customRequestHeaders": removed}}
        config["http"]["routers"]["all"]["middlewares"] = ["says", "auth"]
        with edge(config, forwardedHeaders={"insecure": True}) as proxy:
            at_server = seen(proxy.ask(GET % FORWARDED))
            asked = auth.asked[0][1]
        assert not {name.lower() for name in removed} & set(at_server)
        assert {name: value for name, value in asked.items() if name.startswith("x-forwarded-") and name[12:] in (
            "proto", "host", "method", "uri", "port")} == {
            "x-forwarded-proto": "http", "x-forwarded-host": "shop.test:8080", "x-forwarded-method": "GET",
            "x-forwarded-uri": "/a/b?c=d"}  # fmt: skip


def test_of_several_addresses_the_client_gets_the_first() -> None:
    lines = ("Location: /login", "Location: http://other.test/")
    with serving(echo) as server, asking(reply("302 Found", *lines)) as auth:
        with edge(guarded(server.url, auth.url)) as proxy:
            client = proxy.client()
            client.send(GET % b"")
            head = client.until(b"\r\n\r\n")
            assert [line for line in head.split(b"\r\n") if line.lower().startswith(b"location")] == [
                b"Location: %s/login" % auth.url.encode()
            ]


def test_which_headers_the_server_gets() -> None:
    lines = b"X-One: 1\r\nX-Two: 2\r\nCookie: a=b\r\nProxy-Authorization: p\r\nKeep-Alive: x\r\n"
    lines += b"Te: trailers\r\nConnection: X-Two\r\n"
    with serving(echo) as server, asking() as auth:
        config = guarded(server.url, auth.url)
        with edge(config) as proxy:
            seen(proxy.ask(GET % lines))
            headers = auth.asked[-1][1]
            assert headers["x-one"] == "1" and headers["cookie"] == "a=b" and headers["proxy-authorization"] == "p"
            assert not {"x-two", "keep-alive", "te", "upgrade", "expect"} & set(headers)
            proxy.apply(guarded(server.url, auth.url, authRequestHeaders=["x-ONE", "Absent"]))
            seen(proxy.ask(GET % lines))
            headers = auth.asked[-1][1]
            wanted = {"host", "x-one", *OWN}
            assert set(headers) == wanted
            proxy.apply(guarded(server.url, auth.url, authRequestHeaders=["x-ONE"], trustForwardHeader=True))
            seen(proxy.ask(GET % lines))
            assert set(auth.asked[-1][1]) == wanted | {"x-real-ip", "x-forwarded-port", "x-forwarded-server"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PURGE"])
def test_the_method(method: str) -> None:
    request = (GET % b"").replace(b"GET", method.encode(), 1)
    with serving(echo) as server, asking() as auth:
        with edge(guarded(server.url, auth.url)) as proxy:
            client = proxy.client()
            client.send(request)
            client.head()
            assert auth.asked[-1][0].startswith("GET / ")
            assert auth.asked[-1][1]["x-forwarded-method"] == method
            proxy.apply(guarded(server.url, auth.url, preserveRequestMethod=True))
            client = proxy.client()
            client.send(request)
            client.head()
            assert auth.asked[-1][0].startswith(f"{method} / ")


def test_it_is_told_who_asks_whatever_the_number_of_headers() -> None:
    """A request has room for 32 headers, and gets more by doubling it."""
    with serving(echo) as server, asking() as auth, edge(guarded(server.url, auth.url)) as proxy:
        for count in (0, *range(22, 34), 54, 62, 300):
            lines = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(count))
            seen(proxy.ask(GET % lines))
            told = auth.asked[-1][1]
            assert [told[f"x-{n}"] for n in range(count)] == [str(n) for n in range(count)]
            said = [told[f"x-forwarded-{name}"] for name in ("method", "uri", "host", "proto", "for")]
            assert said == ["GET", "/a/b?c=d", "shop.test:8080", "http", "127.0.0.1"]


def test_headers_of_its_answer_replace_those_of_the_client() -> None:
    answer = reply(
        *("200 OK", "X-User: ann", "X-Role: a", "X-Role: b", "X-Other: no", "Connection: close, X-Hop", "X-Hop: h"),
        *("Keep-Alive: 5", "Proxy-Authenticate: x", "Proxy-Authorization: x", "Upgrade: x", "Trailer: x", "TE: x"),
    )
    spoofed = b"x-user: root\r\nX_User: root\r\nX.USER: root\r\nX-Groups: root\r\nX-Mine: 1\r\n"
    with serving(echo) as server, asking(answer) as auth:
        with edge(guarded(server.url, auth.url, authResponseHeaders=["X-User", "X-Groups", "X-Role"])) as proxy:
            headers = seen(proxy.ask(GET % spoofed))
            assert headers["x-user"] == "ann"
            assert headers["x-mine"] == "1"
            assert headers["x-role"] == "b"  # the last of two lines
            assert not {"x_user", "x.user", "x-groups", "x-other"} & set(headers)
        with edge(guarded(server.url, auth.url, authResponseHeadersRegex="^X-(User|Groups)$")) as proxy:
            headers = seen(proxy.ask(GET % spoofed))
            assert headers["x-user"] == "ann" and headers["x-mine"] == "1"
            assert not {"x_user", "x.user", "x-groups", "x-other", "x-role"} & set(headers)
        with edge(guarded(server.url, auth.url, authResponseHeadersRegex=".*")) as proxy:
            # Neither the framing nor the host can be changed.
            headers = seen(proxy.ask((GET % b"Content-Length: 2\r\n").replace(b"GET", b"POST") + b"hi"))
            assert (headers["content-length"], headers["host"], headers["x-other"]) == ("2", "shop.test:8080", "no")
            # Nor what is said of the connection to the server that was asked.
            hops = {"x-hop", "keep-alive", "proxy-authenticate", "proxy-authorization", "upgrade", "trailer", "te"}
            assert not hops & set(headers)


REFUSALS = {
    "401": reply(
        "401 No",
        "WWW-Authenticate: Basic",
        "X-A: 1",
        "Set-Cookie: a=b",
        "Set-Cookie: c=d",
        "Content-Type: text/x",
        body="no!",
    ),
    "302": reply("302 Found", "Location: /login?x"),
    "302 far": reply("302 Found", "Location: https://login.test/x"),
    "304": reply("304 Not Modified"),
    "500": reply("500 X", body="oops"),
    "chunked": b"HTTP/1.1 403 X\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3\r\nno!\r\n0\r\nX-T: 1\r\n\r\n",
    "hop by hop": reply(
        "403 X", "Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Authenticate: x", "Upgrade: x"
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_another_answer_is_the_clients(case: str, method: bytes) -> None:
    with asking(REFUSALS[case]) as auth, edge(guarded("http://127.0.0.1:1", auth.url)) as proxy:
        client = proxy.client()
        for _ in range(2):  # the connection of the client can be used again
            client.send((GET % b"Content-Length: 0\r\n").replace(b"GET", method, 1))
            first, headers, body = client.message(body=method != b"HEAD")
            text = {"401": b"no!", "500": b"oops", "chunked": b"no!"}.get(case, b"")
            assert first.split()[1] == REFUSALS[case].split()[1].decode()
            assert body == (text if method != b"HEAD" else b"")
            assert not {
                "x-hop",
                "keep-alive",
                "proxy-authenticate",
                "upgrade",
                "trailer",
                "x-t",
                "transfer-encoding",
            } & set(headers)
            if case == "302":
                assert headers["location"] == f"{auth.url}/login?x"
            if case == "302 far":
                assert headers["location"] == "https://login.test/x"
            if case == "401":
                assert (headers["www-authenticate"], headers["x-a"], headers["content-type"]) == (
                    "Basic",
                    "1",
                    "text/x",
                )
        client.close()
        with edge(guarded("http://127.0.0.1:1", auth.url, preserveLocationHeader=True)) as other:
            if case == "302":
                assert other.ask(GET % b"")[1]["location"] == "/login?x"


def test_where_to_sign_in() -> None:
    options = {"authSigninURL": 'https://login.test/?a=1&b="2"<\''}
    with (
        asking(reply("401 No", "X-A: 1", body="no")) as auth,
        edge(guarded("http://127.0.0.1:1", auth.url, **options)) as proxy,
    ):
        first, headers, body = proxy.ask(GET % b"")
        assert first == "HTTP/1.1 302 Found"
        assert headers["location"] == options["authSigninURL"]
        assert "x-a" not in headers
        assert body == b"" and "content-type" not in headers
        assert proxy.ask((GET % b"Content-Length: 0\r\n").replace(b"GET", b"POST"))[2] == b""
        auth.answer = reply("403 No", body="no")
        assert proxy.ask(GET % b"")[0].startswith("HTTP/1.1 403")


def test_cookies_of_both_servers() -> None:
    def cookies(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                peer.message()
                peer.send(reply("200 OK", "Set-Cookie: own=1; Path=/", "Set-Cookie: sid=server", "X-A: b"))

    answer = reply("200 OK", "Set-Cookie: sid=auth; Secure", "Set-Cookie: hidden=1", "Set-Cookie: sid=second")
    with serving(cookies) as server, asking(answer) as auth:
        with edge(guarded(server.url, auth.url, addAuthCookiesToResponse=["sid"])) as proxy:
            client = proxy.client()
            for wanted in ([b"own=1; Path=/", b"sid=auth; Secure", b"sid=second"], [b"own=1; Path=/", b"sid=server"]):
                client.send(GET % b"")
                head = client.until(b"\r\n\r\n")
                found = [line[12:] for line in head.split(b"\r\n") if line.startswith(b"Set-Cookie: ")]
                assert found == wanted
                auth.answer = reply("200 OK")


def test_a_long_answer() -> None:
    with serving(echo) as server, asking(reply("403 No", body="x" * 101)) as auth:
        with edge(guarded(server.url, auth.url, maxResponseBodySize=100)) as proxy:
            first, _, body = proxy.ask(GET % b"")
            assert (first, body) == ("HTTP/1.1 401 Unauthorized", b"")
            auth.answer = reply("403 No", body="x" * 100)
            assert proxy.ask(GET % b"")[2] == b"x" * 100
        with edge(guarded(server.url, auth.url)) as proxy:
            auth.answer = reply("403 No", body="x" * 300_000)
            assert proxy.ask(GET % b"")[2] == b"x" * 300_000


@pytest.mark.parametrize("framing", ["length", "chunked", "late"])
@pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_000])
def test_bodies_go_to_both_servers(framing: str, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    got: list[tuple[str, dict[str, str], bytes]] = []

    def keeps(peer: Peer) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                got.append(peer.message())
                peer.send(reply("200 OK"))

    with serving(keeps) as server, asking(reply("200 OK", "X-User: ann")) as auth:
        options = {"forwardBody": True, "preserveRequestMethod": True, "authResponseHeaders": ["X-User"]}
        with edge(guarded(server.url, auth.url, **options)) as proxy:
            client = proxy.client()
            for number in range(2):
                if framing == "chunked":
                    head = (GET % b"Transfer-Encoding: chunked\r\n").replace(b"GET", b"POST", 1)
                    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:3], content[3:]) if part)
                    body += b"0\r\n\r\n"
                else:
                    head = (GET % (b"Content-Length: %d\r\n" % size)).replace(b"GET", b"POST", 1)
                    body = content
                if framing == "late":
                    client.send(head)
                    proxy.settle()
                    assert len(auth.asked) == number if size else True
                    client.send(body)
                else:
                    client.send(head + body)
                assert client.message()[0] == "HTTP/1.1 200 OK"
            assert [body for _, _, body in auth.asked] == [content] * 2
            assert [body for _, _, body in got] == [content] * 2
            assert auth.asked[0][0].startswith("POST / ")
            assert got[0][1]["x-user"] == "ann"
            assert got[0][1].get("transfer-encoding") == ("chunked" if framing == "chunked" else None)
            auth.answer = reply("403 No", body="no")
            client.send(head + body)
            assert client.message()[::2] == ("HTTP/1.1 403 Forbidden", b"no")
            assert len(got) == 2
            client.send(GET % b"")  # and the connection can be used again
            assert client.message()[0] == "HTTP/1.1 403 Forbidden"


@pytest.mark.parametrize("most", [0, 4, 5])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_of_a_limit(most: int, framing: str) -> None:
    options = {"forwardBody": True, "maxBodySize": most}
    with serving(echo) as server, asking() as auth, edge(guarded(server.url, auth.url, **options)) as proxy:
        if framing == "chunked":
            request = GET % b"Transfer-Encoding: chunked\r\n" + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        else:
            request = GET % b"Content-Length: 5\r\n" + b"hello"
        first, headers, _ = proxy.ask(request.replace(b"GET", b"POST", 1))
        assert first.split()[1] == ("200" if most == 5 else "401")
        assert "content-type" not in headers  # a refusal has none, as in Traefik
        assert len(auth.asked) == server.connections == (1 if most == 5 else 0)
        assert proxy.ask(GET % b"")[0].split()[1] == "200"


def test_a_client_that_goes_away_with_half_a_body() -> None:
    with serving(echo) as server, asking() as auth:
        with edge(guarded(server.url, auth.url, forwardBody=True)) as proxy:
            client = proxy.client()
            client.send((GET % b"Content-Length: 5\r\n").replace(b"GET", b"POST", 1) + b"he")
            proxy.settle()
            client.close()
            assert seen(proxy.ask(GET % b""))
            assert len(auth.asked) == 1


BROKEN: dict[str, Callable[[Peer], None]] = {
    "closes": lambda peer: peer.message() and None,  # type: ignore[func-returns-value]
    "half a head": lambda peer: (peer.message(), peer.send(b"HTTP/1.1 200 OK\r\nX-"))[1],
    "half a body": lambda peer: (peer.message(), peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"))[1],
    "no HTTP": lambda peer: (peer.message(), peer.send(b"SSH-2.0-x\r\n\r\n"))[1],
    "switches": lambda peer: (
        peer.message(),
        peer.send(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    )[1],
}


@pytest.mark.parametrize("case", [*BROKEN, "nobody"])
def test_without_an_answer_nobody_passes(case: str) -> None:
    with serving(echo) as server, serving(BROKEN.get(case, echo)) as auth:
        url = "http://127.0.0.1:1" if case == "nobody" else auth.url
        for options in ({}, {"maxResponseBodySize": 2}):  # no longer text of lbcore's own counts as an answer
            with edge(guarded(server.url, url, **options)) as proxy:
                first, _, body = proxy.ask(GET % b"")
                assert (first, body) == ("HTTP/1.1 500 Internal Server Error", b"")
                assert server.connections == 0


def test_a_server_that_does_not_answer_and_a_client_that_goes_away() -> None:
    with serving(echo) as server, asking() as auth, edge(guarded(server.url, auth.url)) as proxy:
        auth.held.clear()
        proxy.drive()
        client, gone = proxy.client(), proxy.client()
        client.send(GET % b"")
        eventually(lambda: len(auth.asked) == 1, "it was asked")
        gone.send(GET % b"")
        eventually(lambda: len(auth.asked) == 2, "it was asked again")
        proxy.apply(guarded(server.url, auth.url))
        gone.close()
        proxy.settle()
        proxy.drive(29_000)
        proxy.drive(2_000)
        assert client.message()[0] == "HTTP/1.1 500 Internal Server Error"
        assert server.connections == 0


def test_the_time_for_an_answer_begins_anew_with_each_request() -> None:
    """What keeps the time is used again, and has to forget the time of the request before."""
    with serving(echo) as server, asking() as auth, edge(guarded(server.url, auth.url)) as proxy:
        proxy.drive()
        client = proxy.client()
        for _ in range(3):
            client.send(GET % b"")
            seen(client.message())
            proxy.drive(29_000)  # of the 30 s that the wait had
        asked = len(auth.asked)
        auth.held.clear()
        client.send(GET % b"")
        eventually(lambda: len(auth.asked) == asked + 1, "it was asked")
        proxy.drive(29_000)
        auth.held.set()
        seen(client.message())
        auth.held.clear()
        client.send(GET % b"")
        eventually(lambda: len(auth.asked) == asked + 2, "it was asked again")
        proxy.drive(31_000)
        assert client.message()[0] == "HTTP/1.1 500 Internal Server Error"


def test_nobody_gets_the_answer_of_another_one() -> None:
    """Many are asked about at once, while clients go away: what has served one request serves another one anew."""

    def judge(peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                number = int(peer.message()[1]["x-number"])
                if number % 3 == 0:
                    time.sleep(0.002)
                status = "403 No" if number % 5 == 0 else "200 OK"
                peer.send(reply(status, f"X-User: {number}", body=f"user {number}" if number % 2 else ""))

    def asks(numbers: range) -> None:
        client = proxy.client()
        for number in numbers:
            request = GET % f"X-Number: {number}\r\nX-User: 0\r\n".encode()
            if number % 7 == 0:
                client.send(request)
                client.close()
                client = proxy.client()
                continue
            first, headers, body = client.ask(request)
            if number % 5 == 0:
                assert (first.split()[1], headers["x-user"]) == ("403", str(number))
                assert body.decode() == (f"user {number}" if number % 2 else "")
            else:
                assert (first.split()[1], json.loads(body)["x-user"]) == ("200", str(number))
            done.append(number)
        client.close()

    done: list[int] = []
    with serving(echo) as server, serving(judge) as auth:
        with edge(guarded(server.url, auth.url, authResponseHeaders=["X-User"])) as proxy:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(asks, [range(start, 400, 8) for start in range(8)]))
            assert len(done) == sum(1 for number in range(400) if number % 7)
            eventually(lambda: proxy.open_connections == 0, "all have gone")


def test_tls_to_the_server(tmp_path: Path) -> None:
    ca, mine = authority(tmp_path, "ca"), certificate(tmp_path, "mine", "client.test")
    files = signed(tmp_path, ca, "auth", "IP:127.0.0.1")

    def wants_mine(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(mine.certificate)

    def status(url: str, tls: dict[str, Any]) -> str:
        with edge(guarded(server.url, url, **({"tls": tls} if tls else {}))) as proxy:
            return proxy.ask(GET % b"")[0].split()[1]

    with serving(echo) as server, secure_serving(files) as auth, secure_serving(files, adjust=wants_mine) as strict:
        trusting = {"ca": str(ca.certificate)}
        assert status(auth.url, {}) == "500"
        assert status(auth.url, {"ca": str(mine.certificate)}) == "500"
        assert status(auth.url, trusting) == "200"
        assert status(auth.url, {"ca": Path(ca.certificate).read_text()}) == "200"
        assert status(auth.url, {"insecureSkipVerify": True}) == "200"
        assert status(strict.url, trusting) == "500"
        assert status(strict.url, trusting | {"cert": str(mine.certificate), "key": str(mine.key)}) == "200"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"headerField": "X-A"}, "forwardAuth has no address"),
        ({"address": "auth:80"}, "address"),
        ({"address": "ftp://a"}, "write http://"),
        ({"address": "h2c://a"}, "does not begin with http"),
        ({"address": "http://u:p@a"}, "a user in the URL is not sent"),
        ({"address": "http://a/b c"}, "letters that a URL does not have"),
        ({"address": "http://a", "authResponseHeadersRegex": "("}, "("),
        ({"address": "http://a", "authSigninURL": "http://a\r\nX: 1"}, "control characters"),
        ({"address": "http://a", "headerField": "a b"}, "is not the name of a header"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    found = errors_of({"forwardAuth": options})
    assert any(text in error for error in found), found


def test_headers_without_effect_are_named() -> None:
    (text,) = warnings_of(
        {"forwardAuth": {"address": "http://127.0.0.1:1", "authResponseHeaders": ["Content-Length", "X-A"]}}
    )
    assert "Content-Length has no effect" in text


def test_the_log_names_the_user(tmp_path: Path) -> None:
    path = tmp_path / "log"
    settings = {"accessLog": {"filePath": str(path), "format": "json"}}
    with serving(echo) as server, asking(reply("200 OK", "X-User: ann")) as auth:
        with edge(guarded(server.url, auth.url, headerField="x-user"), static=settings) as proxy:
            assert "x-user" not in seen(proxy.ask(GET % b""))
            auth.answer = reply("403 No")
            proxy.ask(GET % b"")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["ClientUsername"] for line in lines] == ["ann", "-"]
    assert [line.get("ServiceName") for line in lines] == ["all@file", None]


def test_a_body_without_room_is_refused_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with recorders("a", "auth") as (a, auth):
        dynamic = config({}, all=a.url)
        options = {"address": auth.url, "forwardBody": True, "maxBodySize": 4 << 20}
        dynamic["http"]["middlewares"] = {"auth": {"forwardAuth": options}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["auth"]
        with edge(dynamic, static={"bodyMemoryBytes": 1 << 20}) as lb:
            client = lb.client()
            head, headers, _ = client.ask(post(b"x" * 700_000))  # in the spool, and once more for the other server
            assert (head.split()[1], headers["retry-after"], auth.requests, a.requests) == ("503", "1", [], [])
            eventually(lambda: lb.proxy._region.body_memory == 0, "all memory is given back")
            assert lb.proxy._region.bodies_shed > 0
            assert lb.ask(post(b"x" * 100_000))[2] == b"a"
    assert "internal error" not in caplog.text


def test_a_server_that_does_not_trust_forwarded_headers_gets_none_by_other_spellings() -> None:
    lines = b"X_Forwarded_For: 9.9.9.9\r\nX.Real.Ip: 9.9.9.9\r\nX_Other: 1\r\n"
    lines += b"X_Forwarded_Prefix: /x\r\nX-Forwarded-Prefix: /x\r\n"
    with asking() as auth, serving(echo) as server:
        settings = guarded(server.url, auth.url, trustForwardHeader=False)
        with edge(settings, forwardedHeaders={"insecure": True}) as lb:
            lb.ask(GET % lines)
        headers = auth.asked[0][1]
        assert headers["x_other"] == "1"
        assert not {"x_forwarded_for", "x.real.ip", "x_forwarded_prefix", "x-forwarded-prefix"} & set(headers)
