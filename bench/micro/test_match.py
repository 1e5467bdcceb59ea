"""What finding the router costs, by number of routers; a request head is parsed with each. `pytest bench/micro`."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.rule import parse_rule
from lbcore.regex.regex import Regex
from lbcore.routing.index import RouteIndex
from lbcore.routing.matcher import compile_rule

HEAD = b"GET /p7/item HTTP/1.1\r\nHost: h7.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"


@pytest.mark.parametrize("count", [10, 1000, 10_000])
@pytest.mark.parametrize("rule", ["Host(`h{n}.test`)", "PathPrefix(`/p{n}/`)", "Host(`h{n}.test`) && PathPrefix(`/p`)"])
def test_match_routers(benchmark: Any, rule: str, count: int) -> None:
    index = RouteIndex([(parse_rule(rule.format(n=n)), n) for n in range(count)])
    assert index.route(HEAD) == 7
    benchmark.pedantic(index.route, args=(HEAD,), rounds=100, iterations=2000, warmup_rounds=5)


@pytest.mark.parametrize("rule", ["Host(`h7.test`)", "PathRegexp(`^/p[0-9]+/`)", "HeaderRegexp(`User-Agent`, `ben.h`)"])
def test_match_rule(benchmark: Any, rule: str) -> None:
    program = compile_rule(rule)
    assert program.matches(HEAD)
    benchmark.pedantic(program.matches, args=(HEAD,), rounds=100, iterations=2000, warmup_rounds=5)


def test_match_regex(benchmark: Any) -> None:
    regex = Regex("^/p[0-9]+/")
    benchmark.pedantic(regex.find, args=(b"/p7/item",), rounds=100, iterations=5000, warmup_rounds=5)
