"""headers: what pages of other origins may do, beside what servers say of it themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.recorder import answered, through
from tests.support.wire import edge, serving

PAGE = "https://page.test"
GET = f"GET / HTTP/1.1\r\nHost: a\r\nOrigin: {PAGE}\r\nConnection: close\r\n\r\n".encode()
PREFLIGHT = f"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {PAGE}\r\nAccess-Control-Request-Method: PUT\r\n".encode()


def headers(**options: Any) -> dict[str, Any]:
    return {"headers": options}


@pytest.mark.parametrize(
    ("options", "said", "expected"),
    [
        ({"accessControlAllowOriginList": [PAGE]}, "*", PAGE),
        ({"accessControlAllowOriginList": [PAGE]}, "http://localhost:8080", PAGE),
        ({"accessControlAllowOriginListRegex": [r"^https://.*\.test$"]}, "*", PAGE),
        ({"accessControlAllowOriginList": ["*"]}, "http://localhost:8080", "*"),
        ({"accessControlAllowOriginList": ["*"], "accessControlAllowCredentials": True}, "*", PAGE),
        (
            {"accessControlAllowOriginList": [PAGE], "customResponseHeaders": {"Access-Control-Allow-Origin": "x"}},
            "y",
            PAGE,
        ),
        ({"accessControlAllowOriginList": ["https://other.test"]}, "*", "*"),  # of that origin nothing is known here
    ],
)
def test_an_origin_that_is_allowed_is_named_in_place_of_the_servers(
    options: dict[str, Any], said: str, expected: str
) -> None:
    answer = f"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: {said}\r\nContent-Length: 0\r\n\r\n".encode()
    with serving(lambda peer: (peer.message(), peer.send(answer))) as server:  # type: ignore[func-returns-value]
        with edge(through(server.url, headers(**options))) as lb:
            client = lb.client()
            client.send(GET)
            lines = client.until(b"\r\n\r\n").decode().split("\r\n")
    assert [line for line in lines if line.startswith("Access-Control-Allow-Origin")] == [
        f"Access-Control-Allow-Origin: {expected}"
    ]


@pytest.mark.parametrize("said", ["Origin", "origin", "Accept, ORIGIN", "*"])
def test_vary_has_the_origin_once(said: str) -> None:
    answer = f"HTTP/1.1 200 OK\r\nVary: {said}\r\nContent-Length: 0\r\n\r\n".encode()
    assert answered(answer, headers(addVaryHeader=True), request=GET)[1]["vary"] == said


def test_vary_of_the_server_stays() -> None:
    answer = b"HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nVary: Cookie, X-A\r\nContent-Length: 0\r\n\r\n"
    with serving(lambda peer: (peer.message(), peer.send(answer))) as server:  # type: ignore[func-returns-value]
        with edge(through(server.url, headers(addVaryHeader=True))) as lb:
            client = lb.client()
            client.send(GET)
            head = client.until(b"\r\n\r\n")
    assert head.count(b"Vary: ") == 3
    assert b"Vary: Origin\r\n" in head


@pytest.mark.parametrize("options", [{"addVaryHeader": True}, {"accessControlExposeHeaders": ["X-A"]}])
def test_a_preflight_goes_on_to_who_says_something_of_it(options: dict[str, Any]) -> None:
    with serving() as server:
        allowed = headers(accessControlAllowOriginList=[PAGE], accessControlAllowMethods=["PUT"])
        with edge(through(server.url, headers(**options), allowed)) as lb:
            _, found, body = lb.ask(PREFLIGHT + b"\r\n")
            allowed_now = (found["access-control-allow-methods"], found["access-control-allow-origin"])
            assert (allowed_now, body) == (("PUT", PAGE), b"")
        with edge(through(server.url, headers(**options))) as lb:
            assert lb.ask(PREFLIGHT + b"\r\n")[2].startswith(b"OPTIONS / ")


def test_with_credentials_no_star_is_said() -> None:
    options = ("AllowHeaders", "AllowMethods", "AllowOriginList", "ExposeHeaders")
    stars = {f"accessControl{option}": ["*"] for option in options}
    with serving() as server, edge(through(server.url, headers(accessControlAllowCredentials=True, **stars))) as lb:
        _, found, _ = lb.ask(PREFLIGHT + b"Access-Control-Request-Headers: X-A, X-B\r\n\r\n")
        assert {name: value for name, value in found.items() if name.startswith("access")} == {
            "access-control-allow-credentials": "true",
            "access-control-allow-headers": "X-A, X-B",
            "access-control-allow-methods": "PUT",
            "access-control-allow-origin": PAGE,
        }
        assert "access-control-allow-headers" not in lb.ask(PREFLIGHT + b"\r\n")[1]
        _, found, _ = lb.ask(GET)
        assert "access-control-expose-headers" not in found
