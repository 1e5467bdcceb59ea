"""What runs and is worth a warning: lines that do nothing, redirections that lead nowhere, users that are not sent."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lint import lint
from lbcore.config.static import StaticConfig
from lbcore.config.validate.http import check
from lbcore.provider.merge import merge


def warnings(middleware: dict[str, Any], url: str = "http://a.test", to: str = "") -> list[str]:
    """Warnings about a configuration in which nothing is disabled."""
    service = {"loadBalancer": {"servers": [{"url": url}]}}
    router = {"rule": "Path(`/`)", "service": "s@file", "middlewares": ["m@file"]}
    http = {"routers": {"r@file": router}, "services": {"s@file": service}, "middlewares": {"m@file": middleware}}
    redirections = {"redirections": {"entryPoint": {"to": to}}} if to else {}
    points = {"web": {"address": ":80", "http": redirections}, "tls": {"address": ":443"}}
    found = check(DynamicConfig.model_validate({"http": http}), StaticConfig.model_validate({"entryPoints": points}))
    assert found.disabled() == []
    return found.warnings


@pytest.mark.parametrize("option", ["customRequestHeaders", "customResponseHeaders"])
@pytest.mark.parametrize("name", ["Connection", "transfer-encoding", "Content-Length", "TE", "Upgrade", "Keep-Alive"])
def test_headers_of_the_connection_are_named(option: str, name: str) -> None:
    (text,) = warnings({"headers": {option: {name: "x", "X-Ok": "1"}}})
    assert f"{option}.{name} has no effect" in text


def test_a_prefix_that_fits_no_path_is_named() -> None:
    (text,) = warnings({"stripPrefix": {"prefixes": ["api", "/v1"]}})
    assert "no path begins with 'api': write /api" in text


def test_a_user_in_a_url_is_named_without_the_secret() -> None:
    (text,) = warnings({"headers": {"frameDeny": True}}, "http://me:secret@a.test")
    assert "not sent" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("to", "leads"),
    [("tls", True), (":8443", True), ("nope", False), ("8443", False), (":70000", False), (":x", False)],
)
def test_a_redirection_that_leads_nowhere_is_named(to: str, leads: bool) -> None:
    found = warnings({"headers": {"frameDeny": True}}, to=to)
    assert found == (
        [] if leads else [f'entryPoint "web": its redirection leads to "{to}", which doesn\'t exist: it is left out']
    )


STICKY = {"sticky": {"cookie": {}}}


def hedging(
    services: dict[str, Any], routers: dict[str, list[str]], points: list[str], **middlewares: Any
) -> list[str]:
    """What is said of hedging. services: by name; routers: the middlewares of each, by the name of its service."""
    http = {
        "routers": {
            each: {"rule": f"Path(`/{each}`)", "service": each, "middlewares": [f"{name}@file" for name in names]}
            for each, names in routers.items()
        },
        "services": services,
        "middlewares": {"again": {"retry": {"attempts": 2, "hedging": {"after": "1s"}}}, **middlewares},
    }
    static = {"entryPoints": {"web": {"address": ":80", "http": {"middlewares": points}}}}
    dynamic = merge({"file": DynamicConfig.model_validate({"http": http})})
    return [text for text in lint(dynamic, StaticConfig.model_validate(static)) if "hedging" in text]


def servers(count: int, **more: Any) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://10.0.0.{number}"} for number in range(count)], **more}}


@pytest.mark.parametrize("way", ["router", "chain", "point", "service"])
@pytest.mark.parametrize(
    ("service", "said"),
    [
        (servers(2), None),
        (servers(1), "has no effect: no service behind it has a second server"),
        (servers(2, **STICKY), "has no effect: requests of sticky services stay with their server"),
        (servers(2, sticky={"sourceIP": {}}), "has no effect: requests of sticky services stay with their server"),
    ],
)
def test_hedging_that_does_nothing_is_named(way: str, service: dict[str, Any], said: str | None) -> None:
    names = {"router": ["again"], "chain": ["all"]}.get(way, [])
    points = ["again@file"] if way == "point" else []
    service = {**service, "middlewares": ["again@file"]} if way == "service" else service
    found = hedging({"s": service}, {"s": names}, points, all={"chain": {"middlewares": ["again"]}})
    assert found == ([] if said is None else [f"middleware again@file: hedging {said}"])


def test_services_that_are_not_hedged_are_named_beside_others() -> None:
    services = {"plain": servers(2), "one": servers(1), **{f"s{number}": servers(2, **STICKY) for number in range(5)}}
    assert hedging(services, {"plain": ["again"], "one": ["again"], "s0": []}, []) == []
    (text,) = hedging(services, {"plain": ["again"], "s3": ["again"]}, [])
    assert "hedging has no effect for the service s3: requests of sticky" in text
    (text,) = hedging(services, {name: ["again"] for name in services}, [])
    assert "for the services s0, s1, s2 and 2 more: " in text
    (text,) = hedging(services, {"one": ["again"], "s0": ["again"]}, [])
    assert "has no effect: requests of sticky" in text and "and no other service behind it has a second server" in text


def test_hedging_is_looked_for_below_parents_but_not_in_mirrors() -> None:
    services = {
        "plain": servers(2),
        "keeps": servers(2, **STICKY),
        "both": {"weighted": {"services": [{"name": "plain"}, {"name": "keeps"}], "sticky": {"cookie": {}}}},
        "copied": {"mirroring": {"service": "plain", "mirrors": [{"name": "keeps"}]}},
    }
    (text,) = hedging(services, {"both": ["again"]}, [])
    assert "for the service keeps: " in text
    assert hedging(services, {"copied": ["again"]}, []) == []
