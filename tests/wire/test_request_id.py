"""requestID over the wire: drawn, of a trace, or of a client that is trusted; on requests and on every answer."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.problems import errors_of
from tests.support.wire import Edge, config_for, edge, serving
from tests.wire.test_basic_auth import GET, echo

DRAWN = re.compile(r"[0-9a-f]{32}")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def marked(url: str, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"id": {"requestID": options}}
    config["http"]["routers"]["all"]["middlewares"] = ["id"]
    return config


def identifiers(proxy: Edge, *lines: str, name: str = "x-request-id") -> tuple[str, str]:
    """What the server and the client have learned."""
    _, headers, body = proxy.ask(GET % "".join(f"{line}\r\n" for line in lines).encode())
    seen = json.loads(body)
    assert "x_request_id" not in seen
    return seen[name], headers.get(name, "")


def test_drawn() -> None:
    with serving(echo) as server, edge(marked(server.url)) as proxy:
        found = [identifiers(proxy, "X-Request-Id: mine", "X_Request_Id: mine") for _ in range(300)]
        assert len({server for server, _ in found}) == 300
        for server_has, client_has in found:
            assert server_has == client_has
            assert DRAWN.fullmatch(server_has)


def test_every_answer_has_one() -> None:
    with edge(marked("http://127.0.0.1:1")) as proxy:
        first, headers, _ = proxy.ask(GET % b"")
        assert first.startswith("HTTP/1.1 502")
        assert DRAWN.fullmatch(headers["x-request-id"])
    with serving(echo) as server, edge(marked(server.url, answer=False, headerName="X-Trace")) as proxy:
        server_has, client_has = identifiers(proxy, name="x-trace")
        assert DRAWN.fullmatch(server_has) and client_has == ""


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes", True),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", False),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE}-00f067aa0ba902b7", False),
        ("", False),
    ],
)
def test_of_a_trace(line: str, taken: bool) -> None:
    with serving(echo) as server:
        with edge(marked(server.url)) as proxy:
            assert (identifiers(proxy, f"traceparent: {line}")[0] == TRACE) is taken
        with edge(marked(server.url, traceparent=False)) as proxy:
            assert identifiers(proxy, f"traceparent: {line}")[0] != TRACE


@pytest.mark.parametrize(
    ("text", "taken"),
    [("mine-1_2.3:4=+/@", True), ("a" * 128, True), ("a" * 129, False), ("a b", False), ("é", False), ('"', False)],
)
def test_of_a_client_that_is_trusted(text: str, taken: bool) -> None:
    with serving(echo) as server, edge(marked(server.url, trust=True)) as proxy:
        server_has, client_has = identifiers(
            proxy, f"X-Request-Id: {text}", f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"
        )
        assert server_has == client_has == (text if taken else TRACE)


def test_what_cannot_run() -> None:
    assert errors_of({"requestID": {}}) == []
    assert errors_of({"requestID": {"headerName": "Content-Length"}})
