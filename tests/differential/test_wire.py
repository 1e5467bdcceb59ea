"""What is read and written on the wire, by real Traefik and by lbcore: answers, chunk lines, aliases, raw paths."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.traefik import NAMES
from tests.support.twins import Twins, get, twins
from tests.support.wire import Peer, Server, config_for

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"

# Read alike; what lbcore refuses with 502 and Traefik with 500, or not at all, is in docs/differences.md.
ANSWERS = {
    "folded": OK + b"X-A: b\r\n  c\r\nContent-Length: 2\r\n\r\nok",
    "equal lengths": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "coding and length": CHUNKED + b"Content-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "until the end": OK + b"\r\nok",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "no content": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    "spaces behind a size": CHUNKED + b"\r\n2   \r\nok\r\n0   \r\n\r\n",
    "extension": CHUNKED + b'\r\n2;a="b;c"\r\nok\r\n0;d\r\n\r\n',
    "zeros before a size": CHUNKED + b"\r\n0000000000000002\r\nok\r\n0\r\n\r\n",
    "size in capitals": CHUNKED + b"\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"Trailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n",
    "hop by hop": OK + b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok",
}
HEADERS = ("x-a", "x-hop", "keep-alive", "content-length", "transfer-encoding", "trailer")
POINTS: dict[str, Any] = {
    "web": {},
    "trusting": {"forwardedHeaders": {"insecure": True}},
    "raw": {"http": {"sanitizePath": False}},
    "keep": {"http": {"aliasHeadersStrategy": "keep"}},
    "delete": {"http": {"aliasHeadersStrategy": "delete"}},
    "reject": {"http": {"aliasHeadersStrategy": "reject"}},
    "underscores": {"http": {"underscoreHeadersStrategy": "delete"}},
}


def answer(peer: Peer) -> None:
    """An answer by its name, or what was asked."""
    with contextlib.suppress(EOFError, ConnectionError):
        first, headers, _ = peer.message()
        name = first.split()[1].removeprefix("/answer/").replace("%20", " ")
        text = json.dumps({"first": first, "headers": headers}).encode()
        peer.send(ANSWERS.get(name, b"%bContent-Length: %d\r\n\r\n%b" % (OK, len(text), text)))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    server = Server(answer)
    try:
        with twins(tmp_path_factory.mktemp("wire"), {"entryPoints": POINTS}, config_for(server.url)) as pair:
            yield pair
    finally:
        server.close()


@pytest.mark.parametrize("name", ANSWERS)
def test_same_answer(both: Twins, name: str) -> None:
    found = {}
    for who in NAMES:
        with contextlib.closing(both.client(who, "web")) as client:
            client.send(get("/answer/" + name.replace(" ", "%20"), "a", "Connection: close"))
            first, headers = client.head()
            found[who] = (first, {key: headers.get(key) for key in HEADERS}, client.to_the_end())
    # Chunks are cut anew.
    ours, theirs = (
        (first, headers, body.replace(b"\r\n", b"")) for first, headers, body in map(found.get, reversed(NAMES))
    )  # type: ignore[misc]
    assert ours == theirs


def outcome(both: Twins, who: str, point: str, request: bytes, names: tuple[str, ...] = ()) -> Any:
    """The status, and what the server was asked for and told in headers of some names."""
    with contextlib.closing(both.client(who, point)) as client:
        first, _, body = client.ask(request)
    if not body.startswith(b"{"):
        return first.split()[1]
    seen = json.loads(body)
    return seen["first"], {name: seen["headers"].get(name) for name in names}


@pytest.mark.parametrize("point", [point for point in POINTS if point != "raw"])
@pytest.mark.parametrize(
    "name", ["X_Mine", "X.Mine", "X!Mine", "X~Mine", "X-Mine", "X_Forwarded_For", "Content_Length"]
)
def test_same_aliases_of_names_go_on(both: Twins, point: str, name: str) -> None:
    request = get("/", "a", f"{name}: 1")
    ours, theirs = (outcome(both, who, point, request, (name.lower(),)) for who in ("lbcore", "traefik"))
    assert ours == theirs


@pytest.mark.parametrize(
    "path",
    [
        "/%41%7e%2d",
        "/%2e%2e/x",
        "/a/../b//c/./d",
        "/a%2fb%5c%3b%25%C3%A4",
        "/a\\b{}",
        "/a;b?c;d",
        "/%61/../%62?%41",
        "//a",
    ],
)
@pytest.mark.parametrize("point", ["raw", "web"])
def test_same_path_goes_on(both: Twins, point: str, path: str) -> None:
    ours, theirs = (outcome(both, who, point, get(path, "a")) for who in ("lbcore", "traefik"))
    assert ours == theirs
