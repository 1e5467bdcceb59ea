"""What finding the router costs, by number of routers, and what a single rule costs, with the head parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.micro.timing import yardstick
from lbcore.config.rule import parse_rule
from lbcore.http.request import Request
from lbcore.regex.regex import Regex
from lbcore.routing.index import RouteIndex
from lbcore.routing.matcher import compile_rule

Measure = Callable[..., dict[str, float]]
REQUESTS = 256
HEAD = b"GET /p7/item HTTP/1.1\r\nHost: h7.test\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
RULES = {
    "host": "Host(`h{n}.test`)",
    "path_prefix": "PathPrefix(`/p{n}/`)",
    "host_and_path": "Host(`h{n}.test`) && PathPrefix(`/p`)",
}
SINGLE = {
    "host": "Host(`h7.test`)",
    "path_regexp": "PathRegexp(`^/p[0-9]+/`)",
    "header_regexp": "HeaderRegexp(`User-Agent`, `ben.h`)",
}


@pytest.mark.parametrize("count", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("rule", RULES)
def test_match_routers(benchmark: Any, rule: str, count: int) -> None:
    """Requests for routers all over the table, parsed beforehand; without Python between the lookups."""
    index = RouteIndex([(parse_rule(RULES[rule].format(n=n)), n) for n in range(count)])
    wires, requests = [], []
    for number in range(REQUESTS):
        n = number * 7919 % count
        wire = HEAD.replace(b"/p7/", b"/p%d/" % n).replace(b"h7.", b"h%d." % n)
        assert index.route(wire) == n
        request = Request()
        assert request.parse_bytes(wire) == len(wire)
        wires.append(wire)
        requests.append(request)
    benchmark.name = benchmark.fullname = f"match_{rule}_n{count}"
    benchmark.group = f"match {rule}"
    benchmark.pedantic(yardstick.matched_ns, args=(index, requests, 20), rounds=50, warmup_rounds=2)
    benchmark.extra_info["ns_per_op"] = benchmark.stats.stats.min * 1e9 / REQUESTS / 20
    calls = yardstick.allocations(lambda _: yardstick.matched_ns(index, requests, 20), None)
    benchmark.extra_info["allocations_per_op"] = calls // (REQUESTS * 20)  # the answer of the loop itself is none of it


@pytest.mark.parametrize("rule", SINGLE)
def test_match_rule(measure: Measure, rule: str) -> None:
    program = compile_rule(SINGLE[rule])
    assert program.matches(HEAD)
    measure(f"match_rule_{rule}", "program.matches(head)", job="match one rule", program=program, head=HEAD)


def test_match_regex(measure: Measure) -> None:
    regex = Regex("^/p[0-9]+/")
    measure("match_regex", "regex.find(text)", job="match one rule", regex=regex, text=b"/p7/item")
