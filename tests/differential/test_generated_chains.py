"""Chains of middlewares, and requests, that nobody has thought of: the same in real Traefik and in lbcore."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import unquote

import pytest

from tests.support.traefik import NAMES
from tests.support.twins import Twins, twins
from tests.support.wire import Peer, Server

SEED = 12
CHAINS = 60
REQUESTS = 8  # to each chain

PATHS = ("/", "/api", "/api/", "/api/a/b", "/apia", "/a%20b/c", "/caf%C3%A9", "/b/../api/x", "//api//y", "/a;b", "/%41")
QUERIES = ("", "?", "?a=b&c", "?u=http://x/?y", "?a=%zz")
HOSTS = ("a.test", "A.test", "a.test:81", "a.test:443", "b.test", "[::1]")
HEADERS = {
    "X-Forwarded-For": ("10.0.0.1", "203.0.113.5, 10.0.0.1", "10.0.0.1, 203.0.113.5", "2001:db8::5", "junk"),
    "X-Forwarded-Proto": ("https", "http", "wss", "x"),
    "X-Forwarded-Host": ("f.test", "f.test:444"),
    "X-Forwarded-Port": ("443", "9"),
    "X-Real-Ip": ("10.9.9.9",),
    "X-Forwarded-Prefix": ("/p",),
    "Origin": ("https://a.test", "https://b.test", "null", ""),
    "Access-Control-Request-Method": ("PUT", ""),
    "Access-Control-Request-Headers": ("x-one, x-two",),
    "Authorization": ("Basic YW5uOnNlY3JldA==", "Basic YW5uOm5v", "Basic", "Bearer x"),  # ann:secret, ann:no
    "Cookie": ("a=b", "sid=1; c=d"),
    "X-One": ("1", "", "a b"),
    "X-User": ("root",),
    "Connection": ("X-One", "X-User, keep-alive"),
    "Content-Type": ("text/plain",),
}
STATUSES = (200, 200, 201, 204, 302, 401, 404, 418, 500, 503)


def options(rng: Random, url: str) -> dict[str, Any]:
    """A middleware of any kind."""
    some = rng.choice

    def maybe(**values: tuple[Any, ...]) -> dict[str, Any]:
        """Some of these options."""
        return {name: some(those) for name, those in values.items() if rng.random() < 0.4}

    kinds: dict[str, dict[str, Any]] = {
        "addPrefix": {"prefix": some(("/new", "/new/", "new", "/n w", "/é"))},
        "stripPrefix": {"prefixes": some((["/api"], ["/b", "/api/"], ["/"], ["/a b"], ["/café", "/api/a"]))},
        "stripPrefixRegex": {"regex": some((["/api"], ["^/a[a-z]*"], ["/[^/]+/"], ["/x", "/b"]))},
        "replacePath": {"path": some(("/new", "/n w", "/é", "/new?x"))},
        "replacePathRegex": {
            "regex": some(("^/api/(.*)", "^/([^/]*)(/.*)?$", "^(.*)$", "(?P<name>a)", "b$")),
            "replacement": some(("/new/$1", "/n w$1", "/${2}x/#$1", "/$name-$$", "/é?$1")),
        },
        "redirectRegex": {
            "regex": some(("^http://([^/]+)/api(.*)", "^https?://a\\.test(.*)", "^(http)://([^/:]+)[^/]*(.*)", "a")),
            "replacement": some(
                ("https://new.test/${2}?h=$1", "/n w?$1", "https://h.test/$2$3", "//h.test/$1", "x:$1")
            ),
            **maybe(permanent=(True,)),
        },
        "redirectScheme": {"scheme": some(("https", "http")), **maybe(port=("443", "80", "81"), permanent=(True,))},
        "ipAllowList": {
            "sourceRange": some((["127.0.0.1"], ["10.0.0.0/8"], ["2001:db8::/32", "203.0.113.5"])),
            **maybe(
                ipStrategy=({"depth": 1}, {"depth": 2}, {"excludedIPs": ["10.0.0.0/8"]}),
                rejectStatusCode=(404, 401, 503),
            ),
        },
        "basicAuth": {
            "users": ["ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="],
            **maybe(realm=("a b",), removeHeader=(True,), headerField=("X-User", "x-one", "Authorization")),
        },
        "inFlightReq": {"amount": some((0, 5))},
        "errors": {
            "status": some((["500-599"], ["401", "404", "429"], ["200-203"], ["300-499", "503"])),
            "service": "app",
            "query": some(("/page/{status}", "/page?u={url}&o={originalStatus}", "/page/n w")),
            **maybe(
                statusRewrites=({"500-503": 418}, {"401": 404, "200": 503}),
                errorRequestHeaders=(["X-One", "Accept-Encoding"],),
            ),
        },
        "forwardAuth": {
            "address": f"{url}/auth/{some((200, 200, 200, 204, 302, 401, 500))}",
            **maybe(
                trustForwardHeader=(True, False),
                authResponseHeaders=(["X-User"], ["X-User", "X-Empty"]),
                authResponseHeadersRegex=("^X-(User|Empty)$",),
                addAuthCookiesToResponse=(["sid"],),
                preserveLocationHeader=(True,),
                preserveRequestMethod=(True,),
                authSigninURL=("https://login.test/?a=b",),
                maxResponseBodySize=(3, 100_000),
            ),
        },
        "headers": {
            "customRequestHeaders": {
                some(("X-One", "X-Two", "X-Real-Ip", "Host", "Cookie", "X-Forwarded-Host")): some(("", "1", "https"))
            },
            **maybe(
                customResponseHeaders=({"X-Out": "1"}, {"X-Tell": ""}, {"Set-Cookie": "h=1", "Vary": "X-One"}),
                accessControlAllowOriginList=(["https://a.test"], ["*"]),
                accessControlAllowOriginListRegex=(["^https://b"],),
                accessControlAllowMethods=(["GET", "PUT"],),
                accessControlAllowHeaders=(["X-One"], ["*"]),
                accessControlExposeHeaders=(["X-One", "X-Two"],),
                accessControlMaxAge=(0, 100),
                referrerPolicy=("no-referrer",),
                frameDeny=(True,),
                contentTypeNosniff=(True,),
                allowedHosts=(["a.test", "b.test"],),
            ),
        },
    }
    kind = some(list(kinds))
    return {kind: kinds[kind]}


def request(rng: Random, chain: str) -> tuple[str, bytes]:
    """An entry point, and what goes there."""
    method = rng.choice(("GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "get"))
    lines = [f"{method} {rng.choice(PATHS)}{rng.choice(QUERIES)} HTTP/1.1", f"Host: {rng.choice(HOSTS)}"]
    others = [f"{name}: {rng.choice(values)}" for name, values in HEADERS.items() if rng.random() < 0.25]
    rng.shuffle(others)
    # Without these Traefik adds its own.
    own = ["Accept-Encoding: identity", "User-Agent: x", f"X-Chain: {chain}", f"X-Status: {rng.choice(STATUSES)}"]
    body = "hello" if method == "POST" else ""
    if body:
        own.append("Content-Length: 5")
    return rng.choice(("web", "trusting")), "\r\n".join([*lines, *own, *others, "", body]).encode()


def tell(peer: Peer) -> None:
    """The server, the pages, and who says whether a request passes: each tells what it was asked."""
    with contextlib.suppress(EOFError, ConnectionError, TimeoutError):
        while True:
            first, headers, body = peer.message()
            method, target, _ = first.split(" ", 2)
            status = int(headers.get("x-status", 200))
            if target.startswith("/auth/"):
                status = int(target.removeprefix("/auth/"))
            text = json.dumps([first, headers, body.decode()], sort_keys=True).encode()
            if status == 204:
                text = b""
            lines = [
                f"HTTP/1.1 {status} X",
                "X-Tell: 1",
                "X-User: ann",
                "X-Empty:",
                "Set-Cookie: sid=2",
                "Location: to",
            ]
            if status != 204:
                lines.append(f"Content-Length: {len(text)}")
            peer.send("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else text))


class Case:
    def __init__(self, rng: Random, number: int, url: str) -> None:
        self.name = f"c{number}"
        self.middlewares = {f"{self.name}-{at}": options(rng, url) for at in range(rng.choice((1, 2, 2, 3)))}
        self.requests = [request(rng, self.name) for _ in range(REQUESTS)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twins, list[Case]]]:
    with contextlib.closing(Server(tell)) as server:
        cases = [Case(Random(SEED * 1000 + number), number, server.url) for number in range(CHAINS)]
        routers: dict[str, dict[str, Any]] = {
            case.name: {
                "rule": f"Header(`X-Chain`, `{case.name}`)",
                "service": "app",
                "middlewares": list(case.middlewares),
            }
            for case in cases
        }
        routers["up"] = {"rule": "Path(`/up`)", "service": "noop@internal", "priority": 1000}
        middlewares = {name: middleware for case in cases for name, middleware in case.middlewares.items()}
        services = {"app": {"loadBalancer": {"servers": [{"url": server.url}]}}}
        dynamic = {"http": {"routers": routers, "middlewares": middlewares, "services": services}}
        points = {"web": {}, "trusting": {"forwardedHeaders": {"insecure": True}}}
        with twins(tmp_path_factory.mktemp("chains"), {"entryPoints": points}, dynamic, path="/up") as found:
            yield found, cases


def answer(both: Twins, name: str, point: str, asked: bytes) -> dict[str, Any]:
    """Of an answer all but what differs on purpose, or from request to request."""
    with contextlib.closing(both.client(name, point)) as client:
        client.send(asked)
        first, *lines = client.until(b"\r\n\r\n").decode("latin-1").rstrip("\r\n").split("\r\n")
        status = first.split()[1]
        headers = sorted((key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines))
        length = int(dict(headers).get("content-length", 0))
        body = client.exactly(length) if not asked.startswith(b"HEAD ") and status not in ("204", "304") else b""
    said: Any = body
    with contextlib.suppress(ValueError):
        said = json.loads(body)
    if isinstance(said, list):
        if said[0].split()[1].startswith("/page"):
            said[1].pop("x-forwarded-for", None)  # not told to pages by Traefik
        for header in {"x-replaced-path", "x-forwarded-prefix"} & set(said[1]):
            said[1][header] = unquote(said[1][header], "latin-1")  # Traefik decodes some of these
        length = 0
    dropped = {"date", "connection", *(("content-length",) if not length or asked.startswith(b"HEAD ") else ())}
    return {"status": status, "headers": [line for line in headers if line[0] not in dropped], "body": said}


@pytest.mark.parametrize("number", range(CHAINS))
def test_same_through_any_chain(both: tuple[Twins, list[Case]], number: int) -> None:
    pair, cases = both
    for point, asked in cases[number].requests:
        theirs, ours = (answer(pair, name, point, asked) for name in NAMES)
        assert ours == theirs, (cases[number].middlewares, point, asked)
