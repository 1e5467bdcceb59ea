"""What follows an attempt to have a request answered: the whole table of outcomes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.native import native
from tests.support.tree import Tree


@pytest.fixture(name="failovers", scope="module")
def known_failovers() -> dict[str, Any]:
    """A Failover over another one: the outer one drops 500 to 504, the inner one 503 alone."""

    def failover(service: str, fallback: str, *status: str) -> dict[str, Any]:
        return {"failover": {"service": service, "fallback": fallback, "errors": {"status": [*status]}}}

    services = {name: {"loadBalancer": {"servers": [{"url": f"http://{name}"}]}} for name in ("a", "b", "c")}
    tree = Tree({**services, "inner": failover("a", "b", "503"), "outer": failover("inner", "c", "500-504")})
    return {name: tree.service(name) for name in ("inner", "outer")} | {"tree": tree}


@pytest.mark.parametrize(
    ("outcome", "repeatable", "again", "follows"),
    [
        ("stale", True, False, "same"),
        ("stale", True, True, "none"),  # a server is asked again once
        ("stale", False, False, "none"),
        ("unreached", True, False, "other"),
        ("unreached", True, True, "other"),
        ("unreached", False, False, "other"),  # the server has seen nothing: the body is still whole
        ("bad", True, False, "none"),
        ("bad", False, False, "none"),
    ],
)
def test_without_a_failover(outcome: str, repeatable: bool, again: bool, follows: str) -> None:
    assert native("attempts").follows(outcome, 502, repeatable, again) == follows


@pytest.mark.parametrize(
    ("outcome", "status", "repeatable", "again", "follows"),
    [
        ("bad", 503, True, False, "fallback"),
        ("bad", 502, True, False, "fallback"),  # of the outer one, which drops it
        ("bad", 404, True, False, "none"),
        ("bad", 503, False, False, "none"),  # some of the body is lost
        ("bad", 0, True, False, "none"),
        ("bad", 600, True, False, "none"),
        ("stale", 503, True, False, "same"),  # before the fallback
        ("stale", 503, True, True, "fallback"),
        ("stale", 503, False, False, "none"),
        ("unreached", 503, True, False, "other"),
    ],
)
def test_the_innermost_failover_that_drops_the_status_decides(
    failovers: dict[str, Any], outcome: str, status: int, repeatable: bool, again: bool, follows: str
) -> None:
    path = (failovers["outer"], failovers["inner"])
    assert native("attempts").follows(outcome, status, repeatable, again, path) == follows


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_the_outer_failover_decides_when_the_inner_one_is_left(failovers: dict[str, Any], status: int) -> None:
    assert native("attempts").follows("bad", status, True, False, (failovers["outer"],)) == "fallback"
