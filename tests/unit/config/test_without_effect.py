"""What runs and is worth a warning: lines that do nothing, redirections that lead nowhere, users that are not sent."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.config.validate.http import check


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
