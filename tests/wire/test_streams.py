"""A client's connection has a stream only while a request is at work; the next to have it sees nothing of the last."""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.support.recorder import recorders
from tests.support.wire import config_for, edge

CLIENTS, TURNS = 12, 60


def echo(first: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    return 200, f"{first.split()[1]} {body.decode()}".encode()


def request(kind: str, name: str, body: str) -> tuple[list[bytes], list[bytes]]:
    """What is sent, piece by piece, and the answers' bodies."""
    get = f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    post = f"POST /{name} HTTP/1.1\r\nHost: a\r\n".encode()
    whole = f"/{name} {body}".encode()
    if kind == "pipelined":
        return [get + get], [f"/{name} ".encode()] * 2
    if kind == "halves":
        return [get[:20], get[20:]], [f"/{name} ".encode()]
    if kind == "length":
        return [post + f"Content-Length: {len(body)}\r\n\r\n{body[:3]}".encode(), body[3:].encode()], [whole]
    if kind == "chunked":
        chunk = f"{len(body):x}\r\n{body}\r\n0\r\nX-T: {name}\r\n\r\n".encode()
        return [post + b"Transfer-Encoding: chunked\r\n\r\n", chunk], [whole]
    if kind == "unknown":
        return [get.replace(b"Host: a", b"Host: none")], [b"404 page not found\n"]
    return [get], [f"/{name} ".encode()]


def test_connections_that_take_turns_get_their_own_answers() -> None:
    chance = random.Random(7)
    kinds = ("get", "pipelined", "halves", "length", "chunked", "unknown")
    with recorders("a", "b") as servers:
        for server in servers:
            server.answer = echo
        dynamic = config_for(*(server.url for server in servers))
        dynamic["http"]["routers"]["all"]["rule"] = "Host(`a`)"
        with edge(dynamic) as lb:
            clients = [lb.client() for _ in range(CLIENTS)]
            for turn in range(TURNS):
                at_work = chance.sample(range(CLIENTS), chance.randint(1, CLIENTS))
                asked = [request(chance.choice(kinds), f"{turn}-{n}", "x" * chance.randint(4, 3000)) for n in at_work]
                for step in range(2):
                    for n, (pieces, _) in zip(at_work, asked, strict=True):
                        if step < len(pieces):
                            clients[n].send(pieces[step])
                for n, (_, answers) in zip(at_work, asked, strict=True):
                    assert [clients[n].message()[2] for _ in answers] == answers
                gone = chance.randrange(CLIENTS)  # one connection ends, its stream with it
                clients[gone].close()
                clients[gone] = lb.client()
