"""ipAllowList and ipWhiteList over the wire: who passes, and what the others are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.problems import errors_of, warnings_of
from tests.support.wire import config_for, edge, serving

GET = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"


def listed(url: str, kind: str = "ipAllowList", *, of_service: bool = False, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"list": {kind: options}}
    owner = config["http"]["services" if of_service else "routers"]["all"]
    owner["middlewares"] = ["list"]
    return config


def status(config: dict[str, Any], lines: bytes = b"", **point: Any) -> str:
    with edge(config, **point) as proxy:
        return proxy.ask(GET % lines)[0].split()[1]


@pytest.mark.parametrize("kind", ["ipAllowList", "ipWhiteList"])
@pytest.mark.parametrize("of_service", [False, True])
@pytest.mark.parametrize(("network", "found"), [("127.0.0.0/8", "200"), ("::1", "403"), ("10.0.0.0/8", "403")])
def test_who_passes(kind: str, of_service: bool, network: str, found: str) -> None:
    with serving() as server:
        assert status(listed(server.url, kind, of_service=of_service, sourceRange=[network])) == found
        assert server.connections == (1 if found == "200" else 0)


@pytest.mark.parametrize(
    ("code", "line", "text"),
    [(0, b"403 Forbidden", b"Forbidden"), (404, b"404 Not Found", b"Not Found"), (204, b"204 No Content", b"")],
)
def test_what_the_others_are_told(code: int, line: bytes, text: bytes) -> None:
    with edge(listed("http://127.0.0.1:1", sourceRange=["10.0.0.1"], rejectStatusCode=code)) as proxy:
        first, headers, body = proxy.ask(GET % b"")
        assert first.encode() == b"HTTP/1.1 " + line
        assert body == text
        assert "content-type" not in headers
        assert headers.get("content-length", "0") == str(len(text))


FORWARDED = {"forwardedHeaders": {"insecure": True}}


@pytest.mark.parametrize(
    ("strategy", "forwarded", "found"),
    [
        ({"depth": 2}, b"10.0.0.1, 203.0.113.5", "200"),
        ({"depth": 1}, b"10.0.0.1, 203.0.113.5", "403"),
        ({"depth": 3}, b"10.0.0.1, 203.0.113.5", "403"),
        ({"excludedIPs": ["203.0.113.0/24"]}, b"10.0.0.1, 203.0.113.5", "200"),
        ({"excludedIPs": ["198.51.100.1"]}, b"10.0.0.1, 203.0.113.5", "403"),
        ({"depth": 1}, b"junk", "403"),
        ({"depth": 1}, b"10.0.0.1:80", "200"),
        ({}, b"10.0.0.1", "403"),
    ],
)
def test_which_address_counts(strategy: dict[str, Any], forwarded: bytes, found: str) -> None:
    with serving() as server:
        config = listed(server.url, sourceRange=["10.0.0.0/8"], ipStrategy=strategy)
        assert status(config, b"X-Forwarded-For: %s\r\n" % forwarded, **FORWARDED) == found
        # Of a client that is not trusted nothing is believed, by whatever name it says it.
        for name in (b"X-Forwarded-For", b"X_Forwarded_For", b"X.Forwarded.For"):
            assert status(config, b"%s: 10.0.0.1, 10.0.0.1, 10.0.0.1\r\n" % name) == "403"


def test_an_alias_of_the_header_says_nothing() -> None:
    with serving() as server:
        config = listed(server.url, sourceRange=["10.0.0.0/8"], ipStrategy={"depth": 1})
        assert status(config, b"X_Forwarded_For: 10.0.0.1\r\n", **FORWARDED) == "403"
        assert status(config, b"X-Forwarded-For: 10.0.0.1\r\nConnection: X-Forwarded-For\r\n", **FORWARDED) == "200"
        assert status(config, b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 192.0.2.1\r\n", **FORWARDED) == "403"


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    with serving() as server:
        strategy = {"depth": 1, "ipv6Subnet": 64}
        config = listed(server.url, sourceRange=["2001:db8::"], ipStrategy=strategy)
        assert status(config, b"X-Forwarded-For: 2001:db8::1:2\r\n", **FORWARDED) == "200"
        assert status(config, b"X-Forwarded-For: 2001:db8:0:1::2\r\n", **FORWARDED) == "403"


def test_a_client_at_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    with serving() as server:
        config = listed(server.url, sourceRange=["0.0.0.0/0", "::/0"])
        assert status(config, address=f"unix:{tmp_path / 'sock'}") == "403"
        assert status(config) == "200"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sourceRange": []}, "sourceRange is empty, IPAllowLister not created"),
        ({"sourceRange": ["10.0.0.0/8"], "rejectStatusCode": 999}, "invalid HTTP status code 999"),
        ({"sourceRange": ["10.0.0.0/8"], "rejectStatusCode": 101}, "invalid HTTP status code 101"),
        ({"sourceRange": ["10.0.0.0/33"]}, "'10.0.0.0/33' is neither"),
        ({"sourceRange": ["::1"], "ipStrategy": {"ipv6Subnet": 200}}, "invalid IPv6 subnet 200"),
        ({"sourceRange": ["::1"], "ipStrategy": {"excludedIPs": ["x"]}}, "'x' is neither"),
    ],
)
def test_what_cannot_run(options: dict[str, Any], text: str) -> None:
    assert any(text in error for error in errors_of({"ipAllowList": options}))


def test_what_has_no_effect() -> None:
    networks = {"sourceRange": ["10.0.0.0/8"]}
    strategy = {"excludedIPs": ["10.0.0.0/8"], "ipv6Subnet": 64}
    (text,) = warnings_of({"ipAllowList": {**networks, "ipStrategy": strategy}})
    assert "ipv6Subnet has no effect with excludedIPs" in text
    (text,) = warnings_of({"ipWhiteList": {**networks, "ipStrategy": {**strategy, "depth": 1}}})
    assert "excludedIPs has no effect" in text
    assert warnings_of({"ipAllowList": {**networks, "ipStrategy": {}}}) == []


def test_layer_4_refuses_an_empty_list() -> None:
    assert errors_of({"ipAllowList": {"sourceRange": []}}, "tcp") == ["sourceRange is empty, IPAllowLister not created"]
    assert errors_of({"ipWhiteList": {"sourceRange": ["10.0.0.0/8"]}}, "tcp") == []


def test_an_explanation_names_who_has_refused() -> None:
    config = listed("http://127.0.0.1:1", sourceRange=["10.0.0.0/8"])
    with edge(config, static={"explain": {"secret": "correct horse battery"}}) as proxy:
        _, headers, _ = proxy.ask(GET % b"X-Lbcore-Explain: correct horse battery\r\n")
        found = json.loads(headers["x-lbcore-explain"])
        assert (found["answeredBy"], found["because"]) == ("list@file", "127.0.0.1 is in none of its networks")
