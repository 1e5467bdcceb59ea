"""Which entry points speak TLS."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.process.snapshot import Publisher, Remembered
from lbcore.routing.compile import compile_table
from lbcore.state.region import Region

STATIC = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}, "other": {"address": ":0"}}})


def points(router: dict[str, Any]) -> set[str]:
    """The entry points that speak TLS, where one router names `web`."""
    region = Region.create(1)
    router = {"entryPoints": ["web", "nowhere"], "rule": "Host(`a.test`)", "service": "noop@internal", **router}
    data = {"http": {"routers": {"r@file": router}}}
    remembered = Remembered()
    snapshot = Publisher(region).reserve(remembered.read(remembered.write(DynamicConfig.model_validate(data))))
    return set(compile_table(snapshot.dynamic, STATIC, snapshot.slots, region, 0, {}).acceptors)


@pytest.mark.parametrize("fault", [{}, {"middlewares": ["gone"]}, {"service": "gone"}, {"rule": "nonsense"}])
def test_a_router_with_tls_makes_its_entry_point_speak_it_though_it_cannot_run(fault: dict[str, Any]) -> None:
    assert points({"tls": {}, **fault}) == {"web"}
    assert points(fault) == set()
