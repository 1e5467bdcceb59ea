"""Stores that the tests of what goes over the wire share."""

from collections.abc import Iterator

import pytest

from tests.support.redis_servers import StoreServer


@pytest.fixture(scope="module", params=["redis", "valkey"])
def store_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    found = StoreServer(tmp_path_factory.mktemp("store"), request.param)
    yield found
    found.stop()


@pytest.fixture
def store(store_server: StoreServer) -> StoreServer:
    """A server of Redis, and one of Valkey, empty."""
    store_server.client.flushall()
    return store_server
