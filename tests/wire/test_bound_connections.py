"""NTLM and Negotiate authenticate a connection: it stays with the client for which it was authenticated."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.support.http2 import Http2Client
from tests.support.instance import eventually
from tests.support.wire import TIMEOUT_S, Edge, Peer, config_for, edge, serving


class Domain:
    """A server that knows a user by his connection, as IIS does. `ended`: connections that have ended, by number."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.lock = threading.Lock()
        self.opened = 0
        self.ended: set[int] = set()

    def __call__(self, peer: Peer) -> None:
        with self.lock:
            number = self.opened
            self.opened += 1
        user = ""
        try:
            while True:
                _, headers, _ = peer.message()
                scheme, _, token = headers.get("authorization", "").partition(" ")
                status, more, text = "200 OK", "", user
                if scheme == self.scheme and token.startswith("hello"):
                    status, more = "401 X", f"WWW-Authenticate: {self.scheme} challenge-{number}\r\n"
                elif scheme == self.scheme and token.startswith("proof"):
                    proved, user = token.split("-")[1:]
                    status, text = ("200 OK", user) if int(proved) == number else ("403 X", "another connection")
                elif not user:
                    status, more = "401 X", f"WWW-Authenticate: {self.scheme}\r\nWWW-Authenticate: Basic realm=x\r\n"
                text = f"{number} {text}"
                peer.send(f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        except (EOFError, ConnectionError):
            self.ended.add(number)


def ask(client: Peer, authorization: str = "") -> tuple[str, str, str]:
    """Status, challenge and body."""
    line = f"Authorization: {authorization}\r\n" if authorization else ""
    first, headers, body = client.ask(f"GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n".encode())
    return first.split()[1], headers.get("www-authenticate", ""), body.decode()


def log_in(client: Peer, scheme: str, user: str) -> int:
    """The number of the connection."""
    status, challenge, _ = ask(client, f"{scheme} hello")
    assert status == "401"
    number = challenge.rpartition("-")[2]
    assert ask(client, f"{scheme} proof-{number}-{user}") == ("200", "", f"{number} {user}")
    return int(number)


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_nobody_else_gets_the_connection(scheme: str) -> None:
    domain = Domain(scheme)
    with serving(domain) as server, edge(config_for(server.url)) as lb:
        a, b = lb.client(), lb.client()
        assert ask(a)[0] == ask(b)[0] == "401"
        first = log_in(a, scheme, "ann")
        assert ask(b)[0] == "401"
        second = log_in(b, scheme, "ben")
        assert first != second
        for _ in range(3):
            assert ask(a) == ("200", "", f"{first} ann")
            assert ask(b) == ("200", "", f"{second} ben")
        c = lb.client()
        assert ask(c)[0] == "401"
        a.close()
        eventually(lambda: first in domain.ended, "the connection ends with its client")
        assert ask(b) == ("200", "", f"{second} ben")


def test_credentials_without_a_challenge_bind_as_well() -> None:
    domain = Domain("Negotiate")
    with serving(domain) as server, edge(config_for(server.url)) as lb:
        a, b = lb.client(), lb.client()
        assert ask(a, "Negotiate proof-0-ann") == ("200", "", "0 ann")
        assert ask(b)[0] == "401"
        assert ask(a) == ("200", "", "0 ann")


def test_other_schemes_share_connections() -> None:
    domain = Domain("Basic")
    with serving(domain) as server, edge(config_for(server.url)) as lb:
        for scheme in ("Basic x", "Bearer x", "NTLMv2 x", "Negotiation x", "NTL", "n"):
            ask(lb.client(), scheme)
        assert domain.opened == 1


def test_over_http2_too() -> None:
    domain = Domain("NTLM")

    def get(h2: Http2Client, authorization: str) -> tuple[int, str]:
        answer = h2.ask("GET", "/", ("authorization", authorization))
        return answer.status, answer.body.decode()

    with serving(domain) as server, edge(config_for(server.url)) as lb:
        h2 = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S))
        number = get(h2, "NTLM hello")[1].strip()
        assert get(h2, f"NTLM proof-{number}-ann") == (200, f"{number} ann")
        assert ask(lb.client())[0] == "401"
        assert h2.ask().body.decode() == f"{number} ann"
        h2.close()
        eventually(lambda: int(number) in domain.ended, "the connection ends with its client")


def mirrored(url: str) -> dict[str, Any]:
    dynamic = config_for(url)
    dynamic["http"]["routers"]["all"]["service"] = "both"
    mirrors = [{"name": "all", "percent": 100}]
    dynamic["http"]["services"]["both"] = {"mirroring": {"service": "all", "mirrors": mirrors}}
    return dynamic


def open_at(lb: Edge, domain: Domain) -> int:
    return domain.opened - len(domain.ended)


def test_a_copy_leaves_no_authenticated_connection_behind() -> None:
    domain = Domain("Negotiate")
    with serving(domain) as server, edge(mirrored(server.url)) as lb:
        a = lb.client()
        ask(a, "Negotiate proof-0-ann")
        eventually(lambda: domain.opened == 2 and open_at(lb, domain) == 1, "that of the copy ends with it")


def test_a_server_that_leaves_the_configuration_ends_them() -> None:
    domain = Domain("NTLM")
    with serving(domain) as server, serving() as other, edge(config_for(server.url)) as lb:
        a = lb.client()
        log_in(a, "NTLM", "ann")
        lb.apply(config_for(other.url))
        assert ask(a)[0] == "200"
        a.close()
        eventually(lambda: open_at(lb, domain) == 0, "nothing is left open")
