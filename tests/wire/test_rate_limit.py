"""rateLimit: Traefik's token buckets with their delay, for each source, over routers, reloads and workers."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from lbcore.config.middlewares.rate_limit import RateLimit as Config
from lbcore.middleware.rate_limit import RateLimit, delay_text
from lbcore.state.keyed import KeyedTable
from tests.support.instance import eventually
from tests.support.recorder import GET, recorders, through
from tests.support.wire import TIMEOUT_S, Peer, edge
from tests.wire.test_observability import metric, watched


def limited(url: str, **options: Any) -> dict[str, Any]:
    return through(url, {"rateLimit": options})


def statuses(client: Peer, count: int, request: bytes = GET) -> list[int]:
    return [int(client.ask(request)[0].split()[1]) for _ in range(count)]


def test_a_burst_passes_and_the_rest_comes_at_the_rate() -> None:
    with recorders("a") as (a,), edge(limited(a.url, average=10, burst=3)) as lb:
        lb.drive()
        client = lb.client()
        assert statuses(client, 3) == [200] * 3
        assert statuses(client, 3) == [429] * 3
        for _ in range(20):
            lb.drive(100)
            assert statuses(client, 2) == [200, 429]
        lb.drive(100_000)
        assert statuses(client, 4) == [200] * 3 + [429]  # no more than a burst is saved up


def test_what_a_refused_client_is_told() -> None:
    with recorders("a") as (a,), edge(limited(a.url, average=1, period="10s", burst=1)) as lb:
        lb.drive()
        client = lb.client()
        assert statuses(client, 1) == [200]
        lb.drive(2500)
        first, headers, text = client.ask(GET)
        assert (first.split()[1], text, headers["retry-after"], headers["x-retry-in"]) == (
            "429",
            b"Too Many Requests",
            "8",
            "7.5s",
        )
        assert "content-type" not in headers
        assert len(a.requests) == 1


def test_a_request_that_is_a_little_early_waits() -> None:
    """Half the time between two requests at most: 500 ms of a second here."""
    with recorders("a") as (a,), edge(limited(a.url, average=1, burst=1)) as lb:
        lb.drive()
        client = lb.client()
        assert statuses(client, 1) == [200]
        lb.drive(499)
        assert statuses(client, 1) == [429]
        lb.drive(2)
        client.send(GET)
        lb.settle()
        assert len(a.requests) == 1
        lb.drive(490)
        lb.settle()
        assert len(a.requests) == 1
        lb.drive(100)  # the wheel of timers has ticks of 50 ms
        assert client.message()[2] == b"a"
        lb.drive(350)  # of the second that begins when the one that has waited was due
        assert statuses(client, 1) == [429]


def test_a_client_that_goes_away_while_it_waits_leaves_nothing() -> None:
    with recorders("a") as (a,), edge(limited(a.url, average=1, period="2s", burst=1)) as lb:
        client = lb.client()
        assert statuses(client, 1) == [200]
        lb.drive(1600)
        client.send(GET)
        lb.settle()
        client.close()
        eventually(lambda: lb.open_connections == 0, "it has gone")
        assert len(a.requests) == 1


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, 50),
        ({"average": 0, "burst": 1}, 50),
        ({"average": -5}, 50),
        ({"average": 1, "period": "1h", "burst": 0}, 1),
        ({"average": 1, "period": "1h", "burst": -3}, 1),
        ({"average": 1, "period": "1h", "burst": 7}, 7),
        ({"average": 100, "period": "1h", "burst": 7}, 7),
    ],
)
def test_options(options: dict[str, Any], passes: int) -> None:
    with recorders("a") as (a,), edge(limited(a.url, **options)) as lb:
        lb.drive()
        assert statuses(lb.client(), 50).count(200) == passes


def test_sources_are_apart() -> None:
    criterion = {"requestHeaderName": "X-User"}
    with recorders("a") as (a,), edge(limited(a.url, average=1, period="1h", sourceCriterion=criterion)) as lb:
        lb.drive()
        client = lb.client()
        for name in ("one", "two", "three"):
            asked = GET.replace(b"\r\n\r\n", f"\r\nX-User: {name}\r\n\r\n".encode())
            assert statuses(client, 2, asked) == [200, 429]
        assert statuses(client, 2) == [200, 429]  # without one
    criterion = {"requestHost": True}
    with recorders("a") as (a,), edge(limited(a.url, average=1, period="1h", sourceCriterion=criterion)) as lb:
        lb.drive()
        client = lb.client()
        for name in (b"one", b"two"):
            assert statuses(client, 2, GET.replace(b"shop.test", name)) == [200, 429]


@pytest.mark.parametrize("name", ["X-Real-Ip", "x-forwarded-HOST", "X-Forwarded-Port", "X-Forwarded-Proto"])
def test_what_lbcore_tells_servers_of_a_client_is_a_source(name: str) -> None:
    criterion = {"requestHeaderName": name}
    with recorders("a") as (a,), edge(limited(a.url, average=1, period="1h", sourceCriterion=criterion)) as lb:
        lb.drive()
        other = Peer(socket.create_connection(lb.address, TIMEOUT_S, ("127.0.0.2", 0)))
        with contextlib.closing(other.sock):
            assert statuses(lb.client(), 2) == [200, 429]
            asked = GET.replace(b"shop.test", b"other.test:81")
            if name.endswith("Proto"):
                asked = asked.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            forged = asked.replace(b"\r\n\r\n", f"\r\n{name}: another\r\n\r\n".encode())
            assert [other.ask(one)[0].split()[1] for one in (asked, forged)] == ["200", "429"]


def test_a_network_of_ipv6_is_one_source() -> None:
    criterion = {"ipStrategy": {"depth": 1, "ipv6Subnet": 64}}
    limit = limited("http://127.0.0.1:1", average=1, period="1h", sourceCriterion=criterion)
    with edge(limit, forwardedHeaders={"insecure": True}) as lb:
        lb.drive()
        client = lb.client()
        for address, status in (("2001:db8::1", 502), ("2001:db8::2", 429), ("2001:db8:0:1::1", 502)):
            line = f"\r\nX-Forwarded-For: {address}\r\n\r\n".encode()
            assert statuses(client, 1, GET.replace(b"\r\n\r\n", line)) == [status]


def test_routers_are_apart_and_reloads_change_nothing() -> None:
    with recorders("a") as (a,):
        dynamic = limited(a.url, average=1, period="1h", burst=2)
        other = {**dynamic["http"]["routers"]["all"], "rule": "PathPrefix(`/other`)"}
        dynamic["http"]["routers"]["other"] = other
        elsewhere = GET.replace(b"/x", b"/other")
        with edge(dynamic) as lb:
            lb.drive()
            client = lb.client()
            assert statuses(client, 1) == [200]
            assert statuses(client, 3, elsewhere) == [200, 200, 429]
            dynamic["http"]["routers"]["third"] = {**other, "rule": "PathPrefix(`/third`)"}
            lb.apply(dynamic)
            assert statuses(client, 2) == [200, 429]
            assert statuses(client, 1, elsewhere) == [429]


@pytest.mark.parametrize(
    ("delay_ns", "text"),
    [
        (7_500_000_000, "7.5s"),
        (1_000_000_000, "1s"),
        (60_000_000_000, "1m0s"),
        (3_661_500_000_000, "1h1m1.5s"),
        (12_345_678, "12.345678ms"),
        (12_300, "12.3µs"),
        (999, "999ns"),
    ],
)
def test_durations_are_written_as_go_does(delay_ns: int, text: str) -> None:
    assert delay_text(delay_ns) == text


def test_a_negative_period_is_refused() -> None:
    with pytest.raises(ValueError, match="negative value not valid for period"):
        RateLimit("limit@file", Config.model_validate({"average": 1, "period": "-1s"}))


def test_a_metric_says_when_sources_are_evicted() -> None:
    with recorders("a") as (a,), watched(limited(a.url, average=1, period="1h"), metrics={"prometheus": {}}) as lb:
        table = KeyedTable(lb.proxy._region, 0)  # type: ignore[arg-type]
        client = lb.client()
        assert statuses(client, 2) == [200, 429]
        assert metric(lb, "lbcore_keys", kind="used") == 1
        for number in range(49_151):
            table.spend(1, number.to_bytes(16, "big"), 1, 1)
        assert metric(lb, "lbcore_keys", kind="used") == 49_152
        assert metric(lb, "lbcore_keys_shed_total", result="evicted") == 0
        for number in range(3):
            table.spend(2, number.to_bytes(16, "big"), 1, 1)
        assert metric(lb, "lbcore_keys", kind="used") == 49_152
        assert metric(lb, "lbcore_keys_shed_total", result="evicted") == 3
        for number in range(49_152):
            table.admit(3, number.to_bytes(16, "big"), 1)
        assert not table.admit(3, b"y" * 16, 1)
        assert metric(lb, "lbcore_keys", kind="held") == 49_152
        assert metric(lb, "lbcore_keys_shed_total", result="refused") == 1


def test_more_sources_than_there_is_room_for() -> None:
    """Those that were not seen for long make room: the number of rows has a bound, and what is evicted is counted."""
    most, more = 49152, 300
    options = {"average": 1, "period": "1h", "burst": 2, "sourceCriterion": {"requestHeaderName": "X-Key"}}
    with recorders("a") as (a,), edge(limited(a.url, **options)) as lb:
        table = KeyedTable(lb.proxy._region, 0)  # type: ignore[arg-type]
        for key in range(most):
            table.spend(1, key.to_bytes(16, "big"), 1, 1)  # long ago
        assert (table.shared_rows, table.evictions) == (most, 0)
        client = lb.client()
        for key in range(more):
            asks = GET.replace(b"\r\n\r\n", b"\r\nX-Key: %d\r\n\r\n" % key)
            assert statuses(client, 3, asks) == [200, 200, 429], "each has its own burst"
        assert (table.shared_rows, table.evictions) == (most, more)
