"""Routers with a provider's default rule: their servers learn which router it was, by the hash that Traefik sends."""

from __future__ import annotations

import pytest

from lbcore.config.load import parse_static
from lbcore.config.routers import Router
from lbcore.middleware.recursion import hash_of
from lbcore.routing.compile_own import router_name_in_traefik

STATIC = """
entryPoints:
  web: {address: ":1"}
  secure: {address: ":2", http: {tls: {}}}
  seen: {address: ":3", observability: {metrics: false}}
"""


def test_the_hash_is_that_of_traefik() -> None:
    assert hash_of("web-p@docker") == b"fc7a2152e606046"
    assert hash_of("websecure-traefik-p@docker") == b"fa37d99f16513120"


@pytest.mark.parametrize(("point", "name"), [("web", "r"), ("secure", "secure-r"), ("seen", "seen-r")])
def test_the_name_is_that_of_the_router_on_the_entry_point(point: str, name: str) -> None:
    static, _ = parse_static(STATIC)
    assert router_name_in_traefik(static, point, "r", Router(entry_points=["web", "secure", "seen"])) == name
    assert router_name_in_traefik(static, point, "r", Router(entry_points=[point])) == "r"
