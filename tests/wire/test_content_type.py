"""contentType and encodedCharacters."""

from __future__ import annotations

import os

import pytest

from tests.support.recorder import GET, answered, recorders, through
from tests.support.wire import Peer, edge, serving

PNG = b"\x89PNG\r\n\x1a\n"
ANSWER = b"HTTP/1.1 200 OK\r\n"


DETECT = {"contentType": {}}


@pytest.mark.parametrize(
    ("head", "body", "kind"),
    [
        (b"Content-Length: 8\r\n\r\n", PNG, "image/png"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\n<html\r\n4\r\n>abc\r\n0\r\n\r\n", "text/plain; charset=utf-8"),
        (b"Content-Length: 0\r\n\r\n", b"", None),
        (b"Content-Type: a/b\r\nContent-Length: 8\r\n\r\n", PNG, "a/b"),
        (b"Content-Type:\r\nContent-Length: 8\r\n\r\n", PNG, ""),
        (b"Content-Encoding: gzip\r\nContent-Length: 8\r\n\r\n", PNG, None),
    ],
)
def test_answers_without_a_type_get_one(head: bytes, body: bytes, kind: str | None) -> None:
    assert answered(ANSWER + head + body, DETECT)[1].get("content-type") == kind
    plain = answered(ANSWER + head + body)[1]
    assert answered(ANSWER + head + body, {"contentType": {"autoDetect": False}})[1].get(
        "content-type"
    ) == plain.get("content-type")


def test_heads_without_a_body_get_no_type() -> None:
    head = ANSWER + b"Content-Length: 8\r\n\r\n"
    assert "content-type" not in answered(head, DETECT, request=GET.replace(b"GET", b"HEAD", 1))[1]
    assert "content-type" not in answered(b"HTTP/1.1 304 Not Modified\r\n\r\n", DETECT)[1]


def test_the_body_is_whole_and_connections_are_used_again() -> None:
    body = PNG + os.urandom(3_000_000)
    with recorders("a") as (a,), edge(through(a.url, DETECT, DETECT)) as lb:
        a.answer = lambda *request: (200, body)
        client = lb.client()
        for _ in range(3):
            _, headers, text = client.ask(GET)
            assert (headers["content-type"], text == body) == ("image/png", True)
        assert a.connections == 1


def test_a_server_that_fails_before_its_body_is_answered_for() -> None:
    """The head was held back, so the client does not get half an answer."""
    first, _, text = answered(ANSWER + b"Content-Length: 8\r\n\r\n", DETECT)
    assert (first.split()[1], text) == ("502", b"Bad Gateway")
    assert answered(ANSWER + b"Content-Length: 8\r\n\r\n" + PNG, DETECT)[2] == PNG


def test_a_switch_of_protocols_is_left_alone() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
        assert peer.exactly(3) == b"abc"
        peer.send(b"bye")

    with serving(script) as server, edge(through(server.url, DETECT)) as lb:
        client = lb.client()
        client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"))
        first, headers = client.head()
        assert (first.split()[1], "content-type" in headers) == ("101", False)
        assert client.exactly(5) == b"hello"
        client.send(b"abc")
        assert client.to_the_end() == b"bye"


CHARACTERS = {
    "allowEncodedSlash": "%2f",
    "allowEncodedBackSlash": "%5C",
    "allowEncodedNullCharacter": "%00",
    "allowEncodedSemicolon": "%3b",
    "allowEncodedPercent": "%25",
    "allowEncodedQuestionMark": "%3F",
    "allowEncodedHash": "%23",
}


@pytest.mark.parametrize("option", CHARACTERS)
def test_encoded_characters(option: str) -> None:
    others = {name: True for name in CHARACTERS if name != option}
    with recorders("a") as (a,):
        for options, refused in (({option: True}, [*others]), (others, [option])):
            with edge(through(a.url, {"encodedCharacters": options})) as lb:
                client = lb.client()
                for name, code in CHARACTERS.items():
                    for path in (f"/{code}", f"/a%20b{code.swapcase()}/c"):
                        first, headers, text = client.ask(GET.replace(b"/x", path.encode(), 1))
                        wanted = ("400", b"", None) if name in refused else ("200", b"a", None)
                        assert (first.split()[1], text, headers.get("content-type")) == wanted, (path, options)
                assert client.ask(GET.replace(b"/x", b"/x?a=%2F%00%3f", 1))[2] == b"a"
