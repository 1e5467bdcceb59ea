"""Services that middlewares ask are checked like those that routers lead to: they exist, are used, and no circle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lint import lint
from lbcore.config.middlewares.add_prefix import AddPrefix
from lbcore.config.static import StaticConfig
from lbcore.config.validate.http import check
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems

STATIC = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":80"}}})


@pytest.fixture(autouse=True)
def prefixes_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `addPrefix` be a kind that asks the service its prefix names."""
    asks = property(lambda self: [self.prefix.removeprefix("/")] if self.prefix else [])
    monkeypatch.setattr(AddPrefix, "asks", asks, raising=False)


def asking(service: str) -> dict[str, Any]:
    return {"addPrefix": {"prefix": f"/{service}"}}


def config(services: dict[str, list[str]], middlewares: dict[str, Any], used: Sequence[str] = ()) -> DynamicConfig:
    """Services by name with their middlewares; the first one is the router's."""
    first = next(iter(services))
    http = {
        "routers": {"all": {"rule": "PathPrefix(`/`)", "service": first, "middlewares": list(used)}},
        "services": {
            name: {"loadBalancer": {"servers": [{"url": "http://10.0.0.1"}]}, "middlewares": names}
            for name, names in services.items()
        },
        "middlewares": middlewares,
    }
    return merge({"file": DynamicConfig.model_validate({"http": http})})


def test_a_service_that_is_asked_is_used_and_has_to_exist() -> None:
    dynamic = config({"app": [], "auth": [], "idle": []}, {"auth": asking("auth")}, used=["auth"])
    assert check(dynamic, STATIC).middlewares == {}
    (line,) = (line for line in lint(dynamic, STATIC) if "not used" in line)
    assert "idle" in line and "auth" not in line
    dynamic = config({"app": []}, {"auth": asking("auth")}, used=["auth"])
    assert check(dynamic, STATIC).middlewares == {
        "auth@file": ['the service "auth@file", which it asks, does not exist']
    }
    problems, _ = find_problems(dynamic, STATIC)
    assert {problem.name for problem in problems} == {"auth@file", "all@file"}


@pytest.mark.parametrize(
    ("services", "middlewares", "way"),
    [
        ({"app": ["auth"]}, {"auth": asking("app")}, "middleware:auth@file->service:app@file->middleware:auth@file"),
        (
            {"app": [], "auth": ["group"]},
            {"auth": asking("auth"), "group": {"chain": {"middlewares": ["auth"]}}},
            "middleware:auth@file->service:auth@file->middleware:group@file->middleware:auth@file",
        ),
        (
            {"app": ["one"], "other": ["two"]},
            {"one": asking("other"), "two": asking("app")},
            "middleware:one@file->service:other@file->middleware:two@file->service:app@file->middleware:one@file",
        ),
    ],
)
def test_a_service_whose_requests_come_by_the_middleware_again_is_refused(
    services: dict[str, list[str]], middlewares: dict[str, Any], way: str
) -> None:
    found = check(config(services, middlewares), STATIC)
    assert f"recursion detected in {way}" in [text for texts in found.middlewares.values() for text in texts]


def test_a_circle_behind_the_service_is_that_of_those_in_it() -> None:
    dynamic = config({"app": ["one"], "other": ["two"]}, {"one": asking("other"), "two": asking("other")})
    found = check(dynamic, STATIC)
    assert set(found.middlewares) == {"two@file"} and set(found.services) == {"other@file"}
    problems, _ = find_problems(dynamic, STATIC)
    assert {problem.name for problem in problems} == {"two@file", "other@file", "all@file"}
