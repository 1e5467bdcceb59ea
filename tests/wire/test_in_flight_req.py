"""inFlightReq over the wire: so many requests of a source at once, over places, ends, reloads and workers."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.state.keyed import KeyedTable
from tests.support.instance import eventually
from tests.support.problems import errors_of, warnings_of
from tests.support.recorder import Held, recorders
from tests.support.wire import Edge, Peer, config_for, edge, serving


def limited(url: str, *, of_service: bool = False, **options: Any) -> dict[str, Any]:
    config = config_for(url)
    config["http"]["middlewares"] = {"few": {"inFlightReq": options}}
    config["http"]["services" if of_service else "routers"]["all"]["middlewares"] = ["few"]
    return config


def get(host: str = "a.test", *lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", f"Host: {host}", *lines, "")).encode()


def status(proxy: Edge, request: bytes) -> str:
    return proxy.ask(request)[0].split()[1]


def rows(proxy: Edge) -> int:
    """Keys that are held."""
    return KeyedTable(proxy.proxy._region, 0).rows  # type: ignore[arg-type]


CRITERIA = {
    "default": (None, [get("a.test"), get("A.TEST:80"), get("a.test:8080")], get("b.test")),
    "host": ({"requestHost": True}, [get("a.test"), get("A.test")], get("b.test")),
    "header": ({"requestHeaderName": "X-Key"}, [get("a", "X-Key: 1"), get("b", "x-key: 1")], get("a", "X-Key: 2")),
    "no header": ({"requestHeaderName": "X-Key"}, [get("a"), get("b")], get("a", "X-Key: 2")),
    "address": ({"ipStrategy": {}}, [get("a"), get("b", "X-Forwarded-For: 10.0.0.9")], None),
    "depth": (
        {"ipStrategy": {"depth": 1}},
        [get("a", "X-Forwarded-For: 10.0.0.9"), get("b", "X-Forwarded-For: 10.0.0.8,10.0.0.9:80")],
        get("a", "X-Forwarded-For: 10.0.0.8"),
    ),
    "network": (
        {"ipStrategy": {"depth": 1, "ipv6Subnet": 64}},
        [get("a", "X-Forwarded-For: 2001:db8::1"), get("a", "X-Forwarded-For: 2001:db8::2")],
        get("a", "X-Forwarded-For: 2001:db8:0:1::1"),
    ),
}


@pytest.mark.parametrize("case", CRITERIA)
@pytest.mark.parametrize("of_service", [False, True])
def test_a_source_has_so_many_at_once(case: str, of_service: bool) -> None:
    criterion, same, other = CRITERIA[case]
    options = {"amount": 1} | ({"sourceCriterion": criterion} if criterion is not None else {})
    with recorders("a") as (a,):
        config = limited(a.url, of_service=of_service, **options)
        with edge(config, forwardedHeaders={"insecure": True}) as proxy:
            held = Held(a)
            first = proxy.client()
            first.send(same[0])
            eventually(lambda: len(a.requests) == 1, "one is under way")
            for request in same:
                line, headers, body = proxy.ask(request)
                assert line == "HTTP/1.1 429 Too Many Requests"
                assert body == b"max connections reached: 1"
                assert "content-type" not in headers
            proxy.apply(config)
            assert status(proxy, same[-1]) == "429"
            if other is not None:
                second = proxy.client()
                second.send(other)
                eventually(lambda: len(a.requests) == 2, "another source has its own")
            held.opened.set()
            assert " 200 " in first.message()[0]
            if other is not None:
                assert " 200 " in second.message()[0]
            assert [status(proxy, request) for request in same] == ["200"] * len(same)
            eventually(lambda: rows(proxy) == 0, "nothing is held")


def test_what_ends_in_another_way_is_given_back() -> None:
    def dies(peer: Peer) -> None:
        peer.message()

    with recorders("a") as (a,), serving(dies) as dying:
        config = limited(a.url, amount=1)
        config["http"]["routers"]["dying"] = {
            "rule": "Path(`/dies`)",
            "service": "dying",
            "middlewares": ["few"],
            "priority": 99,
        }
        config["http"]["services"]["dying"] = {"loadBalancer": {"servers": [{"url": dying.url}]}}
        with edge(config) as proxy:
            for _ in range(3):
                assert status(proxy, get().replace(b"GET / ", b"GET /dies ")) == "502"
            held = Held(a)
            client = proxy.client()
            client.send(get())
            eventually(lambda: len(a.requests) == 1, "one is under way")
            assert status(proxy, get()) == "429"
            assert status(proxy, get().replace(b"GET / ", b"GET /dies ")) == "502"  # its router counts for itself
            client.close()
            eventually(lambda: rows(proxy) == 0, "the client has gone")
            held.opened.set()
            assert status(proxy, get()) == "200"


def test_the_same_twice_in_a_chain_counts_twice() -> None:
    with recorders("a") as (a,):
        config = limited(a.url, amount=2)
        config["http"]["routers"]["all"]["middlewares"] = ["few", "few"]
        with edge(config) as proxy:
            assert [status(proxy, get()) for _ in range(3)] == ["200"] * 3
            eventually(lambda: rows(proxy) == 0, "nothing is held")


def test_none_at_once() -> None:
    with edge(limited("http://127.0.0.1:1")) as proxy:
        assert proxy.ask(get())[2] == b"max connections reached: 0"


def test_what_cannot_run() -> None:
    both = {"sourceCriterion": {"ipStrategy": {}, "requestHost": True}}
    assert errors_of({"inFlightReq": {"amount": 1, **both}}) == ["iPStrategy and RequestHost are mutually exclusive"]
    assert any("-1" in error or "greater" in error for error in errors_of({"inFlightReq": {"amount": -1}}))
    (text,) = warnings_of(
        {"inFlightReq": {"amount": 1, "sourceCriterion": {"ipStrategy": {"depth": 1, "excludedIPs": ["::1"]}}}}
    )
    assert "excludedIPs has no effect" in text
