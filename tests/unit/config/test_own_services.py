"""Routers that lead to services of lbcore itself, which are there only if their sections are."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.config.validate.http import check

HTTP_CHALLENGE = {"acme": {"email": "a@a.test", "storage": "acme.json", "httpChallenge": {"entryPoint": "web"}}}
SERVICES: dict[str, tuple[str, dict[str, Any]]] = {
    "api@internal": ("api", {"api": {}}),
    "dashboard@internal": ("api", {"api": {}}),
    "ping@internal": ("ping", {"ping": {"manualRouting": True}}),
    "prometheus@internal": ("prometheus", {"metrics": {"prometheus": {"manualRouting": True}}}),
    "rest@internal": ("rest", {"providers": {"rest": {}}}),
    "acme-http@internal": ("HTTP challenge", {"certificatesResolvers": {"r": HTTP_CHALLENGE}}),
}


def errors(service: str, static: dict[str, Any]) -> list[str]:
    router = {"rule": "Path(`/`)", "service": service}
    points = {"entryPoints": {"web": {"address": ":80"}}}
    dynamic = DynamicConfig.model_validate({"http": {"routers": {"r@file": router}}})
    found = check(dynamic, StaticConfig.model_validate({**points, **static}))
    return [str(error) for each in found.disabled() for error in each.errors]


@pytest.mark.parametrize("service", SERVICES)
def test_a_router_to_what_is_not_enabled_is_disabled(service: str) -> None:
    section, static = SERVICES[service]
    assert errors(service, {}) == [f"{section} is not enabled"]
    assert errors(service, static) == []


def test_there_are_metrics_without_prometheus() -> None:
    assert errors("prometheus@internal", {"metrics": {"statsD": {}}}) == ["prometheus is not enabled"]


def test_noop_is_always_there() -> None:
    assert errors("noop@internal", {}) == []
