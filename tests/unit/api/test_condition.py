"""What is said of services whose servers were taken out by hand, or cannot be reached."""

from __future__ import annotations

import pytest

from lbcore.api.actions import RefusedError, change_member, target_of
from lbcore.api.condition import service_problems
from lbcore.api.runtime import Runtime
from lbcore.config.load import dynamic_of
from lbcore.config.static import StaticConfig
from lbcore.process.snapshot import Publisher
from lbcore.provider.merge import merge
from lbcore.state.region import Region

STATIC = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}, "db": {"address": ":0"}}})


@pytest.fixture
def runtime() -> Runtime:
    servers = [{"address": "one:1"}, {"address": "two:1"}]
    urls = [{"url": "http://one"}, {"url": "http://two"}]
    dynamic = merge({"file": dynamic_of({
        "tcp": {
            "routers": {"db": {"rule": "HostSNI(`*`)", "service": "db", "entryPoints": ["db"]}},
            "services": {"db": {"loadBalancer": {"servers": servers}}},
        },
        "http": {
            "routers": {"shop": {"rule": "Host(`a`)", "service": "both", "entryPoints": ["web"]}},
            "services": {
                "both": {"weighted": {"services": [{"name": "shop"}, {"name": "old", "weight": 0}]}},
                "shop": {"loadBalancer": {"servers": urls}},
                "old": {"loadBalancer": {"servers": urls}},
            },
        },
    })})  # fmt: skip
    region = Region.create(1)
    runtime = Runtime(STATIC, region, "unix:/")
    snapshot = Publisher(region, "unix:/").publish(dynamic)
    runtime.update(snapshot.dynamic, snapshot.slots)
    return runtime


def texts(runtime: Runtime) -> list[str]:
    return [problem["text"] for problem in service_problems(runtime)]


def act(runtime: Runtime, layer: str, service: str, member: str, action: str, force: bool = False) -> None:
    change_member(runtime, target_of(runtime, layer, service), member, action, force, "test")


def test_the_last_server_that_can_be_reached_is_not_drained_without_force(runtime: Runtime) -> None:
    runtime.unreached = {runtime.slots.servers["tcp:db@file|two:1"]: 1.0}
    assert texts(runtime)[0].startswith("TCP service db@file: 1 of 2 servers cannot be reached")
    with pytest.raises(RefusedError) as refused:
        act(runtime, "tcp", "db@file", "one:1", "drain")
    assert refused.value.needs_force
    act(runtime, "tcp", "db@file", "two:1", "drain")  # nothing is lost by that
    act(runtime, "tcp", "db@file", "two:1", "undrain")
    act(runtime, "tcp", "db@file", "one:1", "drain", force=True)
    (text,) = texts(runtime)
    assert text.startswith("TCP service db@file loses all connections: 1 of 2 servers cannot be reached")
    assert text.endswith("; 1 of 2 drained by hand (undrain ends that): one:1")


def test_a_loss_by_hand_names_what_ends_it(runtime: Runtime) -> None:
    for url in ("http://one", "http://two"):
        act(runtime, "http", "shop@file", url, "drain", force=True)
    (text,) = texts(runtime)
    assert "2 of 2 drained by hand (undrain ends that): http://one, http://two" in text
    for url in ("http://one", "http://two"):
        act(runtime, "http", "shop@file", url, "undrain")
    act(runtime, "http", "both@file", "shop", "drain", force=True)
    (text,) = texts(runtime)
    assert "1 of 2 drained by hand (undrain ends that): shop" in text
    act(runtime, "http", "both@file", "shop", "undrain")
    assert texts(runtime) == []
