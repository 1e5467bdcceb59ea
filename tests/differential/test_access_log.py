"""The access log of real Traefik and of lbcore after the same requests: every format, field and mode of headers."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.traefik import NAMES
from tests.support.twins import Twins, twins
from tests.support.wire import Peer, Server

# Of one exchange, or of one of the two alone.
VARYING = {"StartUTC", "StartLocal", "Duration", "OriginDuration", "Overhead", "time", "ClientAddr", "ClientPort"}


def answer(peer: Peer) -> None:
    """A server whose answers have repeated headers, headers of one connection, and text of every kind."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            first, headers, _ = peer.message()
            if "upgrade" in headers:
                peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
                peer.to_the_end()
                return
            kind = b"Content-Type: text/plain\r\nX-O: 1\r\nX-O: 2\r\nX-Bad: a\xffb\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
            body = b"" if first.startswith("HEAD ") else b"hello"
            cookies = b"Set-Cookie: a=1\r\nset-cookie: b=2\r\n"
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + cookies + kind + b"\r\n" + body)


REQUESTS = [
    b"GET /a//b/../c/%41%7e%2f?x=1&y=%20;z HTTP/1.1\r\nHost: x:80\r\nX-V: a\r\nX-V: b\r\nx-lower: c\r\n"
    b"X-U: \xc3\xa9t\xc3\xa9\r\nX-B: \xff\xe2\x82\r\nCookie: a=1\r\nCookie: b=2\r\n"
    b"Connection: X-Drop\r\nX-Drop: 1\r\nTE: trailers\r\n"
    b"X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: f.test\r\nX-Forwarded-Server: s\r\nReferer: http://r/\r\n"
    b'User-Agent: t "q" \xc3\xa9\r\nX_Under: 1\r\nAuthorization: Basic eDp5\r\n\r\n',
    b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /a%20b%C3%A9?q=a%20b+c&&d HTTP/1.1\r\nHost: X.Test\r\nUser-Agent: \r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PURGE http://other:99/abs?x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: x:\r\nX-Forwarded-For: 1.2.3.4\r\nX-Real-Ip: \r\n"
    b"X-Forwarded-Proto: \r\nX-Forwarded-Host: \r\nx-forwarded-for: 5.6.7.8, 9.9.9.9\r\n"
    b"Connection: TE, Keep-Alive, X-Real-Ip\r\nTE: gzip\r\nKeep-Alive: 5\r\n\r\n",
    b"GET /hide HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\n"
    b"HTTP2-Settings: AAA\r\n\r\n",
    b"GET /none HTTP/1.0\r\n\r\n",
    b"GET /gone/x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"GET /strip/x/y?z HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /redir/x/y HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /empty/x/y HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /quote\"x\\y HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%2e%2e/%2E/..%2fx HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /weighted HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
]


def dynamic(url: str) -> dict[str, Any]:
    def at(prefix: str, service: str, *middlewares: str, **more: Any) -> dict[str, Any]:
        rule = {"rule": f"PathPrefix(`/{prefix}`)", "service": service}
        return {**rule, **({"middlewares": list(middlewares)} if middlewares else {}), **more}

    headers = {"customRequestHeaders": {"X-Set": "1"}, "customResponseHeaders": {"X-Answer": "2", "X-O": ""}}
    routers = {
        "any": {"rule": "PathPrefix(`/`) && !PathPrefix(`/none`)", "service": "app", "priority": 1},
        "gone": at("gone", "gone"),
        "strip": at("strip", "app", "strip", "headers"),
        "redir": at("redir", "app", "redir"),
        "hide": at("hide", "app", "hide"),
        "empty": at("empty", "empty"),
        "noop": at("noop", "noop@internal"),
        "weighted": at("weighted", "weighted"),
    }
    middlewares = {
        "strip": {"stripPrefix": {"prefixes": ["/strip"]}},
        "headers": {"headers": headers},
        "redir": {"redirectScheme": {"scheme": "https"}},
        "hide": {"headers": {"customRequestHeaders": {"X-Forwarded-For": ""}}},
    }
    services = {
        "app": {"loadBalancer": {"servers": [{"url": url}]}},
        "gone": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{free_port()}"}]}},
        "empty": {"loadBalancer": {"servers": []}},
        "weighted": {"weighted": {"services": [{"name": "app"}]}},
    }
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


def ask(both: Twins, name: str, folder: Path, request: bytes) -> None:
    """One request on a connection of its own; returns when its line is there, if there is to be one."""
    log = folder / f"access-{name}"
    before = len(log.read_bytes().splitlines())
    with contextlib.closing(both.client(name, "web")) as client:
        client.send(request)
        client.head()
    if b"Filtered" not in request:
        eventually(lambda: len(log.read_bytes().splitlines()) > before, f"a line of {name} for {request!r}")


def logged(folder: Path, settings: dict[str, Any], requests: list[bytes], **point: Any) -> dict[str, list[str]]:
    """The lines of both for these requests."""
    server = Server(answer)
    points = {"web": point, "quiet": {"observability": {"accessLogs": False}}}
    static = {"entryPoints": points, "accessLog": {"filePath": str(folder / "access-{name}"), **settings}}
    try:
        with twins(folder, static, dynamic(server.url), only="quiet", path="/noop") as both:
            for name in NAMES:
                for request in requests:
                    ask(both, name, folder, request)
        found = {name: (folder / f"access-{name}").read_text().split("\n")[:-1] for name in NAMES}
    finally:
        server.close()
    return found


def fields(line: str) -> dict[str, Any]:
    """What is to be the same of a line of JSON."""
    found = {key: value for key, value in json.loads(line).items() if key not in VARYING}
    found.pop("RequestCount", None)  # Traefik counts the requests, too, that showed that it was ready
    for prefix in ("origin_", "downstream_"):
        if found.get(f"{prefix}Content-Type") in ("", "REDACTED"):
            del found[f"{prefix}Content-Type"]  # Traefik has one without a value where there is none
    if found.get("request_X-Forwarded-For") in ("", "REDACTED") and found["RouterName"] == "hide@file":
        del found["request_X-Forwarded-For"]  # a middleware has removed it
    # The answer of Traefik in a server's place counts as the server's there, and a tunnel has no status.
    if "gone" in found["RequestPath"]:
        for key in ("OriginStatus", "OriginContentSize"):
            found.pop(key, None)
    if found["RequestPath"] == "/ws":
        for key in ("OriginStatus", "DownstreamStatus"):
            found.pop(key, None)
    return found


HEADERS = {
    "keep": {"headers": {"defaultMode": "keep"}},
    "redact": {"headers": {"defaultMode": "redact", "names": {"x-v": "keep", "Cookie": "drop"}}},
    "some": {"headers": {"names": {"x-LOWER": "keep", "Referer": "redact", "X-Forwarded-Host": "keep"}},
             "names": {"RequestPath": "drop", "servicename": "drop"}},
    "few": {"defaultMode": "drop", "names": {"RequestPath": "keep", "routername": "keep"}},
}  # fmt: skip


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("trusted", [False, True])
def test_same_json(tmp_path: Path, headers: str, trusted: bool) -> None:
    settings = {"format": "json", "fields": HEADERS[headers]}
    lines = logged(tmp_path, settings, REQUESTS, forwardedHeaders={"insecure": trusted})
    for request, theirs, ours in zip(REQUESTS, lines["traefik"], lines["lbcore"], strict=True):
        if "RequestPath" in json.loads(theirs):
            assert fields(ours) == fields(theirs), request
        else:
            assert set(json.loads(ours)) == set(json.loads(theirs)), request


def plain(line: str) -> str:
    """A line of a text format without times."""
    line = re.sub(r"\[[^]]+\]", "[]", line, count=1)
    line = re.sub(r'(" )\d+( "[^"]*" "[^"]*" )\d+ms$', r"\1N\2ms", line)
    return re.sub(r'HTTP/1.1" (0|101) ', 'HTTP/1.1" - ', line)


@pytest.mark.parametrize("form", ["common", "genericCLF"])
@pytest.mark.parametrize("headers", ["keep", "redact", "few"])
def test_same_text(tmp_path: Path, form: str, headers: str) -> None:
    lines = logged(tmp_path, {"format": form, "fields": HEADERS[headers]}, REQUESTS)
    assert [plain(line) for line in lines["lbcore"]] == [plain(line) for line in lines["traefik"]]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"statusCodes": ["404", "500-599"]}, 3),
        ({"statusCodes": ["200-299"], "minDuration": "1h"}, 1),
        ({"retryAttempts": True}, 0),
        ({"minDuration": "1ns"}, 4),
        ({"minDuration": "1h"}, 0),
    ],
)
def test_same_filters(tmp_path: Path, filters: dict[str, Any], count: int) -> None:
    paths = ("/x", "/none", "/gone/x", "/empty")
    requests = [f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Filtered: 1\r\n\r\n".encode() for path in paths]
    lines = logged(tmp_path, {"filters": filters}, requests)
    ours, theirs = ([plain(line) for line in lines[name]] for name in ("lbcore", "traefik"))
    assert ours == theirs
    assert len(ours) == count
