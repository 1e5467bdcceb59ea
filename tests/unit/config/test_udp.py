"""UDP in configurations: what is refused, what is strange, and which entry points a router has."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lint import lint, lint_static
from lbcore.config.load import dynamic_of, static_of
from lbcore.config.resolved import entry_points_of, tcp_entry_points_of, udp_entry_points_of
from lbcore.config.static import StaticConfig
from lbcore.config.validate.udp import check_udp
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems

POINTS = {"web": {"address": ":0"}, "dns": {"address": ":0/udp"}, "log": {"address": ":0/UDP"}}
ONE = {"loadBalancer": {"servers": [{"address": "127.0.0.1:53"}]}}


def static() -> StaticConfig:
    return static_of({"entryPoints": POINTS})


def merged(routers: dict[str, Any], services: dict[str, Any]) -> DynamicConfig:
    return merge({"file": dynamic_of({"udp": {"routers": routers, "services": services}})})


@pytest.mark.parametrize(
    ("service", "error"),
    [
        ({"loadBalancer": {"servers": [{"address": "nowhere"}]}}, "error parsing server address nowhere"),
        ({"loadBalancer": {"servers": [{"address": "unix:/run/x"}]}}, "a server of UDP has host:port"),
        ({"weighted": {"services": [{"name": "nobody"}]}}, 'the service "nobody@file" does not exist'),
        ({"failover": {"service": "s", "fallback": "one"}}, "recursion detected in service:s@file->service:s@file"),
        ({"weighted": {"services": [{"name": "one"}], "healthCheck": {}}}, "healthCheck not enabled in config"),
        ({**ONE, "weighted": {"services": [{"name": "one"}]}}, "multi-types service not supported"),
        ({}, 'the UDP service "s@file" does not have any type defined'),
    ],
)
def test_services_that_cannot_run(service: dict[str, Any], error: str) -> None:
    dynamic = merged({"r": {"service": "s"}}, {"s": service, "one": ONE})
    found = {(entry.kind, entry.name): entry for entry in find_problems(dynamic, static())[0]}
    assert set(found) == {("udpService", "s@file"), ("udpRouter", "r@file")}
    assert error in found["udpService", "s@file"].errors[0]
    assert found["udpRouter", "r@file"].follows


def test_routers_have_entry_points_of_udp_and_others_have_none_of_these() -> None:
    routers = {
        "all": {"service": "one"},
        "one": {"service": "one", "entryPoints": ["log", "nope"]},
        "web": {"service": "one", "entryPoints": ["web"]},
        "none": {"entryPoints": ["dns"]},
        "lost": {"service": "nope", "entryPoints": ["dns"]},
    }
    dynamic = merged(routers, {"one": ONE})
    points = {name: udp_entry_points_of(router, static()) for name, router in dynamic.udp.routers.items()}
    assert points["all@file"] == ["dns", "log"]
    assert points["one@file"] == ["log"]
    disabled, warnings = check_udp(dynamic.udp, static())
    assert {entry.name: entry.errors for entry in disabled} == {
        "web@file": ['entryPoint "web" doesn\'t exist', "no valid entryPoint for this router"],
        "none@file": ["the service is missing on the udp router"],
        "lost@file": ['the UDP service "nope@file" does not exist'],
    }
    assert warnings == {"one@file": ['udp router one@file: entryPoint "nope" doesn\'t exist']}
    others = dynamic_of(
        {
            "http": {"routers": {"r": {"rule": "Path(`/`)", "service": "x"}}},
            "tcp": {"routers": {"r": {"rule": "HostSNI(`*`)", "service": "x"}}},
        }
    )
    assert [*entry_points_of(others.http.routers["r"], static())] == ["web"]
    assert [*tcp_entry_points_of(others.tcp.routers["r"], static())] == ["web"]


def test_what_is_strange_is_told() -> None:
    routers = {"a": {"service": "one", "entryPoints": ["dns"]}, "b": {"service": "empty", "entryPoints": ["dns"]}}
    services = {"one": ONE, "empty": {"loadBalancer": {"servers": []}}, "idle": ONE}
    told = lint(merged(routers, services), static())
    assert told == [
        "dynamic.yml:1: udp service empty has nothing to send requests to",
        "dynamic.yml:1: udp router a gets nothing on dns: that has one router, b",
        "dynamic.yml:1: udp service idle is not used by any router",
    ]
    points = {"dns": {"address": ":53/udp", "http": {"maxHeaderBytes": 9999}}, "web": {"address": ":80"}}
    points["web"]["udp"] = {"timeout": "9s"}
    assert lint_static(static_of({"entryPoints": points})) == [
        "static.yml:1: entry point dns is one of UDP: http has no effect",
        "static.yml:1: entry point web is one of TCP: udp has no effect",
    ]
