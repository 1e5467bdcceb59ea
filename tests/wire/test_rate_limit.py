"""rateLimit: Traefik's token buckets with their delay, for each source, over routers, reloads and workers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lbcore.config.middlewares.rate_limit import RateLimit as Config
from lbcore.middleware.rate_limit import RateLimit, delay_text
from tests.support.instance import eventually
from tests.support.problems import errors_of
from tests.support.recorder import GET, recorders
from tests.support.wire import Edge, Peer, edge
from tests.wire.test_content_type import through


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


class Bucket:
    """What Go's rate.Limiter does, slowly: tokens, which come at a rate up to a burst."""

    def __init__(self, rate: float, burst: int, most_delay_ms: float) -> None:
        self.rate, self.burst, self.most_delay_ms = rate, burst, most_delay_ms
        self.tokens, self.at_ms = float(burst), 0.0

    def delay_ms(self, now_ms: float) -> float:
        tokens = min(self.burst, self.tokens + (now_ms - self.at_ms) * self.rate / 1000)
        return (1 - tokens) / self.rate * 1000

    def passes(self, now_ms: float) -> bool:
        if self.delay_ms(now_ms) > self.most_delay_ms:
            return False
        self.tokens = min(self.burst, self.tokens + (now_ms - self.at_ms) * self.rate / 1000) - 1
        self.at_ms = now_ms
        return True


@pytest.mark.parametrize(("average", "burst"), [(7, 1), (3, 5), (40, 12)])
def test_as_a_slow_model(average: int, burst: int) -> None:
    chance = random.Random(average)
    model, now = Bucket(average, burst, 1000 / (2 * average)), 0
    with recorders("a") as (a,), edge(limited(a.url, average=average, burst=burst)) as lb:
        lb.drive()
        for _ in range(150):
            step = chance.choice([0, 1, 3, 10, 50, 200, 1000])
            lb.drive(step)
            now += step
            if abs(model.delay_ms(now) - model.most_delay_ms) < 1e-3:
                continue  # at the very edge
            client = lb.client()
            client.send(GET)
            wanted = model.passes(now)
            if wanted and model.tokens < 0:
                lb.settle()
                lb.drive(1)  # the wait is over at the latest after this
                now += 1
                while lb_waits(lb, client):
                    lb.drive(10)
                    now += 10
            assert client.message()[0].split()[1] == ("200" if wanted else "429")
            client.close()


def lb_waits(lb: Edge, client: Peer) -> bool:
    """Whether a client has got nothing so far."""
    lb.settle()
    client.sock.settimeout(0.05)
    try:
        piece = client.sock.recv(65536)
    except TimeoutError:
        return True
    finally:
        client.sock.settimeout(30)
    client.rest += piece
    return False


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


def test_a_limit_by_redis_is_refused() -> None:
    (error,) = errors_of({"rateLimit": {"average": 1, "redis": {"endpoints": ["localhost:6379"]}}})
    assert "redis: not supported" in error
