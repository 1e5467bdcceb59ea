"""`providers.swarm`: names and addresses of tasks. Nothing is asked over a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static.providers import SwarmProvider
from lbcore.provider.swarm import SwarmStore
from tests.support.swarm_api import NODE, network, service, task

PORT = {"traefik.http.services.s.loadbalancer.server.port": "80"}


def config(
    labels: Mapping[str, str],
    tasks: Sequence[Mapping[str, list[str]]],
    *,
    is_global: bool = False,
    mode: str = "vip",
    **settings: Any,
) -> DynamicConfig:
    """What a service named `web` says whose tasks have these networks. Its virtual addresses are 10.0.0.1 and so on."""
    names = ("back", "front", "ingress")
    virtual = {name: f"10.0.0.{at}/24" for at, name in enumerate(names, 1)}
    thing = service("web", {**PORT, **labels}, mode, virtual, is_global)
    made = [task(thing, slot, networks) for slot, networks in enumerate(tasks, 1)]
    store = SwarmStore(SwarmProvider(**settings))
    return store._reading([thing], made, [network(name) for name in names], [NODE]).config


def urls(found: DynamicConfig) -> list[str]:
    balancer = found.http.services["s"].load_balancer
    return [server.url for server in balancer.servers] if balancer is not None else []


@pytest.mark.parametrize(
    ("networks", "wanted", "address"),
    [
        ({"ingress": ["10.1.0.2/24"]}, "", "10.1.0.2"),  # a service that has published ports and no network
        ({"ingress": ["10.1.0.2/24"], "back": ["10.2.0.2/24"]}, "", "10.2.0.2"),
        ({"ingress": ["10.1.0.2/24"], "back": ["10.2.0.2/24"]}, "ingress", "10.1.0.2"),
        ({"front": ["10.3.0.2/24"], "back": ["10.2.0.2/24"]}, "front", "10.3.0.2"),
    ],
)
def test_the_network_of_published_ports_comes_last(networks: dict[str, list[str]], wanted: str, address: str) -> None:
    labels = {"traefik.swarm.network": wanted} if wanted else {}
    assert urls(config(labels, [networks])) == [f"http://{address}:80"]


def test_virtual_addresses() -> None:
    by_swarm = {"traefik.swarm.lbswarm": "true", "traefik.swarm.network": "front"}
    tasks = [{"front": ["10.3.0.2/24"]}]
    assert urls(config(by_swarm, tasks)) == ["http://10.0.0.2:80"]
    assert urls(config(by_swarm, tasks, mode="dnsrr")) == ["http://10.3.0.2:80"]


def test_names_are_those_of_compose_where_there_are_any() -> None:
    tasks = [{"back": ["10.2.0.2/24"]}]
    assert [*config({}, tasks).http.routers] == ["web"]
    compose = {"com.docker.compose.service": "api", "com.docker.compose.project": "my_shop"}
    [(name, router)] = config(compose, tasks).http.routers.items()
    assert (name, router.rule) == ("api-my-shop", "Host(`api-my-shop`)")


def test_rules_know_the_name_of_the_task() -> None:
    rule = "Host(`{{ .ContainerName }}.test`)"
    tasks = [{"back": ["10.2.0.2/24"]}]
    assert config({}, tasks, default_rule=rule).http.routers["web"].rule == "Host(`web.1.test`)"
    of_all = config({}, tasks, default_rule=rule, is_global=True).http.routers["web"].rule
    assert of_all.startswith("Host(`web.")
    assert not of_all.startswith("Host(`web.1.")
    by_swarm = config({"traefik.swarm.lbswarm": "true"}, tasks, default_rule=rule)
    assert by_swarm.http.routers["web"].rule == "Host(`web.test`)"
