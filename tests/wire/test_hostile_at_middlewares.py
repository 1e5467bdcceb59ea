"""Hostile input at middlewares: what clients write ends no line, borrows no address, and costs no more than it may."""

from __future__ import annotations

import base64
import contextlib
import gzip
import re
import socket
import time
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import GET, answered, recorders, through
from tests.support.wire import Edge, Peer, Server, edge, serving
from tests.wire.test_api_key import guarded as by_key
from tests.wire.test_basic_auth import FAST
from tests.wire.test_digest_auth import line_of
from tests.wire.test_jwt_auth import RSA, SECRET, pem, token
from tests.wire.test_jwt_auth import guarded as by_token
from tests.wire.test_rate_limit import statuses

CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
INJECTED = re.compile(rb"(?im)^x-injected")


class Raw(Server):
    """Keeps the heads that it gets as they are, and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.heads: list[bytes] = []
        self.status = status
        super().__init__(self.serve)

    def serve(self, peer: Peer) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.heads.append(peer.until(b"\r\n\r\n"))
                peer.send(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.status)


REWRITING: dict[str, dict[str, Any]] = {
    "redirectRegex": {"regex": "^http://([^/]+)/(.*)$", "replacement": "https://${1}/new/${2}"},
    "redirectRegex of the query": {"regex": r"^.*\?(.*)$", "replacement": "https://a.test/${1}"},
    "redirectScheme": {"scheme": "https"},
    "replacePathRegex": {"regex": "^/(.*)$", "replacement": "/new/$1"},
    "replacePath": {"path": "/new"},
    "stripPrefix": {"prefixes": ["/p"]},
    "stripPrefixRegex": {"regex": ["/p[^/]*"]},
    "addPrefix": {"prefix": "/new"},
    "errors": {"status": ["500-599"], "service": "all", "query": "/page/{status}?u={url}"},
    "forwardAuth": {},
}
TARGETS = {
    "encoded line ends": b"/p%0d%0aX-Injected:%201/x",
    "line ends in the query": b"/p?a=%0d%0aX-Injected:%201%0d%0a%0d%0aGET%20/",
    "NUL": b"/p%00/x?%00",
    "bytes beyond ASCII": b"/p\x80\xff\xe5\x98\x8a\xe5\x98\x8dX-Injected:1/x?\xff",
    "code points that end in CR and LF": b"/p%E5%98%8A%E5%98%8DX-Injected:1",
    "groups": b"/p$1${1}\\1$0/{url}?{status}",
    "vertical tabs and escapes": b"/p%0b%1b[31m/%7f",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", REWRITING)
def test_what_a_path_says_ends_no_line(kind: str, target: str) -> None:
    server = Raw(503 if kind == "errors" else 200)
    options = {"address": f"{server.url}/auth"} if kind == "forwardAuth" else REWRITING[kind]
    try:
        with edge(through(server.url, {kind.partition(" ")[0]: options})) as lb:
            client = lb.client()
            client.send(b"GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n" % TARGETS[target])
            head = client.until(b"\r\n\r\n")
            client.close()
            for text in (head, *server.heads):
                lines = text[:-4].split(b"\r\n")
                assert not any(CONTROL.search(line) or INJECTED.search(line) for line in lines), text
                assert all(b":" in line for line in lines[1:])
            for text in server.heads:
                assert re.fullmatch(rb"GET [!-~\x80-\xff]+ HTTP/1\.1", text.split(b"\r\n")[0])
            # Nothing of it has become a request of its own.
            assert len(server.heads) <= (2 if kind in ("errors", "forwardAuth") else 1)
    finally:
        server.close()


HOSTS = [b"a.test\x0b", b"a.test/x", b"a.test\r\n b", b'a"b', b"a@b", b"a\\b", b"a b", b"\xff", b"a.test#x"]


@pytest.mark.parametrize("host", HOSTS)
def test_what_a_host_says_does_not_lead_elsewhere(host: bytes) -> None:
    regex = {"regex": "^http://([^/]+)/(.*)$", "replacement": "https://${1}/${2}"}
    for middleware in ({"redirectScheme": {"scheme": "https"}}, {"redirectRegex": regex}):
        with edge(through("http://127.0.0.1:1", middleware)) as lb:
            client = lb.client()
            client.send(b"GET /x HTTP/1.1\r\nHost: %s\r\n\r\n" % host)
            head = client.until(b"\r\n\r\n")
            assert not CONTROL.search(head.replace(b"\r\n", b""))
            location = re.search(rb"(?im)^location: (.*)\r$", head)
            if location is not None:  # as the request was about to go there anyhow
                assert location[1].count(b"//") == 1 and b"@" not in location[1] and b"\\" not in location[1]


CREDENTIALS = {
    "NUL": b"Digest username=\"ann\0\", realm=\"r\"",
    "not UTF-8": b'Digest username="\xff\xfe", realm="\xff", nonce="\xff", uri="/", response="\xff"',
    "colons": b'Digest username="ann:r:x", realm="r:", nonce=":", uri=":", response=":"',
    "many": b"Digest " + b"a=b," * 100_000,
    "a megabyte": b"Digest " + b"A" * 1_000_000,
    "a megabyte of another scheme": b"Bearer " + b"A" * 1_000_000,
    "a megabyte of Basic": b"Basic " + b"A" * 1_000_000,
    "only quotes": b'Digest "' + b'"' * 60_000,
    "dots": b"Bearer " + b"." * 60_000,
}
for header in ('{"alg":[]}', '{"alg":{}}', '{"alg":1}', '{"alg":null}', '{"kid":[]}', '{"crit":1}', "[]", "{}", "1"):
    encoded = base64.urlsafe_b64encode(header.encode()).rstrip(b"=")
    CREDENTIALS[f"a token of {header}"] = b"Bearer %b.e30.AAAA" % encoded


@pytest.mark.parametrize("case", CREDENTIALS)
def test_credentials_that_are_none(case: str) -> None:
    """Refused by each middleware that reads them, at once, and the connection and the others are as before."""
    good = b"GET /x HTTP/1.1\r\nHost: a\r\nX-Api-Key: 0123456789abcdef\r\n\r\n"
    value = CREDENTIALS[case]
    kinds: dict[str, dict[str, Any]] = {
        "basicAuth": {"users": [f"ann:{FAST}"]},
        "digestAuth": {"users": [line_of("ann", "secret")]},
        "jwtAuth": {"publicKeys": [pem(RSA)]},
        "apiKey": {"keys": ["ann:0123456789abcdef"]},
    }
    for kind, options in kinds.items():
        with recorders("a") as (a,), edge(through(a.url, {kind: options})) as lb:
            client = lb.client()
            lines = b"Authorization: %b\r\nX-Api-Key: %b\r\n" % (value, value[:1000])
            client.send(b"GET /x HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
            assert client.message()[0].split()[1] in ("400", "401", "431"), kind
            assert a.requests == []
            if kind == "apiKey":
                assert lb.ask(good)[0].split()[1] == "200"


@pytest.mark.parametrize("subject", ["a\r\nX-Injected: 1", "a\nb", "a\0b", "\x7f", "  ", "a\u2028b", "\ud800"])
def test_what_a_token_says_ends_no_line(subject: str) -> None:
    server = Raw()
    claims = {"sub": subject, "list": [subject, "x"], "map": {subject: subject}}
    try:
        headers = {"sub": "X-Sub", "list": "X-List", "map": "X-Map"}
        with edge(by_token(server.url, secret=SECRET, claimsToHeaders=headers)) as lb:
            client = lb.client()
            lines = b"Host: a\r\nX-Sub: root\r\nAuthorization: Bearer %b\r\n" % token(**claims).encode()
            client.send(b"GET / HTTP/1.1\r\n%b\r\n" % lines)
            assert client.message()[0].split()[1] in ("200", "401")
        for head in server.heads:
            assert not any(CONTROL.search(line) or INJECTED.search(line) for line in head[:-4].split(b"\r\n"))
            assert b"root" not in head
    finally:
        server.close()


SPOOFED = [
    b"X-Forwarded-For: 10.0.0.%d\r\n",
    b"X-Real-Ip: 10.0.0.%d\r\n",
    b"Forwarded: for=10.0.0.%d\r\n",
    b"X_Forwarded_For: 10.0.0.%d\r\n",
    b"X-Forwarded-For: 10.0.0.%d, 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
    b"X-Forwarded-Host: host%d.test\r\n",
]


@pytest.mark.parametrize("lines", SPOOFED)
@pytest.mark.parametrize(
    "criterion",
    [
        {"ipStrategy": {}},
        {"ipStrategy": {"depth": 1}},
        {"ipStrategy": {"excludedIPs": ["192.0.2.0/24"]}},
        {"requestHost": True},
    ],
    ids=["connection", "depth", "excluded", "host"],
)
def test_no_client_is_another_one_at_each_request(lines: bytes, criterion: dict[str, Any]) -> None:
    """One that is not trusted has one bucket, whatever it says of itself."""
    limit = {"average": 1, "period": "1h", "burst": 3, "sourceCriterion": criterion}
    with recorders("a") as (a,), edge(through(a.url, {"rateLimit": limit})) as lb:
        lb.drive()
        client = lb.client()
        found = [
            statuses(client, 1, GET.replace(b"\r\n\r\n", b"\r\n%b\r\n" % (lines % number)))[0] for number in range(6)
        ]
        assert found == [200] * 3 + [429] * 3


EMPTY = {
    "nothing": b"Content-Length: 0\r\n\r\n",
    "nothing in chunks": b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no gzip": b"Content-Length: 5\r\n\r\nhello",
    "half of it": b"Content-Length: 10\r\n\r\n" + gzip.compress(b"hello")[:10],
}


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"zstd", b"deflate", b"gzip, br", b"identity", b"", b"x"])
@pytest.mark.parametrize("case", EMPTY)
def test_what_is_encoded_is_not_looked_at(case: str, coding: bytes) -> None:
    """Nothing is decompressed: what a server says that it has encoded goes on as it is, whatever it is."""
    asked = GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: br\r\n\r\n")
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: %b\r\n%b" % (coding, EMPTY[case])
    middleware = {"compress": {"minResponseBodyBytes": 1}}
    first, headers, body = answered(answer, middleware, request=asked)
    assert first.split()[1] == "200"
    if coding not in (b"", b"identity"):
        assert headers["content-encoding"] == coding.decode()
        assert body == (b"" if "nothing" in case else EMPTY[case].partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    "accept",
    [
        b"gzip;q=0.001," * 5000 + b"br",
        b"," * 60_000,
        b"br;q=1e999, gzip;q=-1e999, zstd;q=nan",
        b"br;q=0.99999999999999999999999999999999999999999999999, *;q=0",
        b"br" + b";a=b" * 10_000 + b";q=1",
        b'br;q="0", br;q=, ;q=1, =;=, q',
        b"*;q=0, identity;q=0",
        b"\xff\xfe;q=1",
    ],
    ids=["long", "commas", "huge", "digits", "parameters", "syntax", "nothing", "bytes"],
)
def test_absurd_lists_of_codings(accept: bytes) -> None:
    text = b"x" * 3000
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3000\r\n\r\n" + text
    asked = GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: %b\r\n\r\n" % accept)
    first, headers, body = answered(answer, {"compress": {}}, request=asked)
    assert first.split()[1] in ("200", "431")
    if "content-encoding" not in headers and first.split()[1] == "200":
        assert body == text


def cost_s(lb: Edge, lines: bytes) -> float:
    """CPU time of requests with these lines."""
    client = lb.client()
    client.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    begun = time.process_time()
    for _ in range(3):
        client.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines)
    return time.process_time() - begun


MANY = 9900  # lines of a head, of 10,000 that are allowed


@pytest.mark.parametrize(
    ("absurd", "plain"),
    [
        (b"Accept-Encoding: %b\r\n" % (b"x" * 80) * MANY, b"Accept-Language: %b\r\n" % (b"x" * 80) * MANY),
        (b"Connection: %b\r\n%b" % (b"a," * 1000, b"b:\r\n" * MANY), b"A: %b\r\n%b" % (b"a," * 1000, b"b:\r\n" * MANY)),
    ],
    ids=["codings", "names in Connection"],
)
def test_no_line_costs_more_because_of_the_others(absurd: bytes, plain: bytes) -> None:
    """What is as long as another head costs as much, and not the square of it."""
    dynamic = through("http://127.0.0.1:1", {"compress": {}})
    dynamic["http"]["services"]["all"] = {"loadBalancer": {"servers": []}}
    with edge(dynamic) as lb:
        costs = [(cost_s(lb, absurd), cost_s(lb, plain)) for _ in range(3)]
        assert min(one / other for one, other in costs) < 5, costs


def test_keys_of_tokens_from_a_server_that_is_down_or_hangs() -> None:
    """Nobody passes, nobody waits for longer than 10 s, and a client that goes away takes its question along."""
    good = b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % token(RSA, "RS256").encode()
    with edge(by_token("http://127.0.0.1:1", jwksURL=f"http://127.0.0.1:{free_port()}/keys")) as lb:
        for _ in range(3):
            assert lb.ask(good)[0].split()[1] == "503"
    asked: list[Peer] = []

    def hangs(peer: Peer) -> None:
        peer.message()
        asked.append(peer)
        peer.to_the_end()

    with serving(hangs) as keys, edge(by_token("http://127.0.0.1:1", jwksURL=f"{keys.url}/keys")) as lb:
        lb.drive()
        clients = [lb.client() for _ in range(3)]
        for client in clients:
            client.send(good)
        eventually(lambda: len(asked) == 3, "each of them asks, as there are no keys")
        clients.pop().close()
        eventually(lambda: lb.open_connections == 2, "one has gone")
        lb.drive(9_000)
        lb.settle()
        assert all(not readable(client) for client in clients)
        lb.drive(1_200)
        assert [client.message()[0].split()[1] for client in clients] == ["503"] * 2


def readable(client: Peer) -> bool:
    client.sock.setblocking(False)
    try:
        return bool(client.sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        client.sock.settimeout(30)


def test_a_key_in_another_place_is_none() -> None:
    with recorders("a") as (a,), edge(by_key(a.url, keys=["ann:0123456789abcdef"])) as lb:
        for line in (
            b"X-Api-Key: ann:0123456789abcdef",
            b"X-Api-Key: 0123456789abcdef\xff",
            b"X-Api-Key: 0123456789abcdeF",
            b"X_Api_Key: 0123456789abcdef",
            b"Cookie: X-Api-Key=0123456789abcdef",
        ):
            assert refused(lb, line), line
        assert not refused(lb, b"X-Api-Key: 0123456789abcdef")


def refused(lb: Edge, line: bytes) -> bool:
    return lb.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line)[0].split()[1] == "401"
