"""Backends that the tests of whole processes share."""

from collections.abc import Iterator

import pytest

from tests.support.instance import Backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    server = Backend("one")
    yield server
    server.close()


@pytest.fixture
def backends() -> Iterator[list[Backend]]:
    servers = [Backend("one"), Backend("two")]
    yield servers
    for server in servers:
        server.close()
