"""rateLimit in a store: real Traefik and lbcore share one bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.differential.test_traffic import ask, is_ready, serve
from tests.support.redis_servers import StoreServer
from tests.support.traefik import NAMES, both_serving
from tests.support.wire import Server

LIMIT: dict[str, Any] = {"average": 1, "period": "1h", "burst": 6}


def dynamic(url: str, endpoint: str) -> dict[str, Any]:
    middlewares = {
        "plain": {"headers": {"customRequestHeaders": {"X-Plain": "1"}}},
        "limit": {"rateLimit": {**LIMIT, "redis": {"endpoints": [endpoint]}}},
        "user": {
            "rateLimit": {
                **LIMIT,
                "sourceCriterion": {"requestHeaderName": "X-User"},
                "redis": {"endpoints": [endpoint], "db": 2, "poolSize": 3},
            }
        },
    }
    routers = {
        name: {"rule": f"PathPrefix(`/{name}/`)", "service": "app", "middlewares": [name]} for name in middlewares
    }
    services = {"app": {"loadBalancer": {"servers": [{"url": url}]}}}
    return {"http": {"routers": routers, "middlewares": middlewares, "services": services}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The port of each of the two."""
    folder = tmp_path_factory.mktemp("store")
    store = StoreServer(folder, "redis")
    try:
        with contextlib.closing(Server(serve)) as server:
            with both_serving(folder, dynamic(server.url, store.endpoint), is_ready) as ports:
                yield ports
    finally:
        store.stop()


def found(pair: dict[str, int], target: str, *headers: str, first: int) -> list[str]:
    """The statuses of requests to one and the other in turn."""
    names = NAMES[first:] + NAMES[:first]
    return [ask(pair[names[number % 2]], target, *headers)[0] for number in range(10)]


@pytest.mark.parametrize("first", [0, 1], ids=NAMES)
def test_traefik_and_lbcore_share_a_bucket(pair: dict[str, int], first: int) -> None:
    """Buckets of Traefik are forgotten after hours; each case has one of its own."""
    for user in (f"ann{first}", f"é {first}", f"{{x{first}}}"):
        statuses = found(pair, "/user/200", f"X-User: {user}", first=first)
        assert statuses == ["200"] * 6 + ["429"] * 4


def test_a_bucket_by_address(pair: dict[str, int]) -> None:
    assert found(pair, "/limit/200", first=0) == ["200"] * 6 + ["429"] * 4
    for name in NAMES:
        status, headers, text = ask(pair[name], "/limit/200")
        assert (status, text) == ("429", b"Too Many Requests")
        assert 3500 < int(headers["retry-after"]) <= 3600
