"""Stores and steps that the tests of what goes over the wire share."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.native import with_steps
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


def has_seen_all(step: Any) -> bool:
    return bool(len(step.statuses) == step.begun)


@pytest.fixture(name="known")
def known_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The steps; at the end each has seen the end of all that passed it or waited in it, once."""
    steps = with_steps(monkeypatch)
    yield steps
    for step in steps.values():
        eventually(partial(has_seen_all, step), f"{step.name} has seen {step.begun} ends")
        assert not step.held
