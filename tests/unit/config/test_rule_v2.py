"""Rules of version 2 in the form of version 3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.load import parse_dynamic, parse_static
from lbcore.config.rule import RuleError, parse_rule, parse_tcp_rule
from lbcore.config.rule_v2 import parse_rule_v2, parse_tcp_rule_v2
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems
from lbcore.routing.matcher import Program

TRANSLATED = {
    "Host(`a`)": "Host(`a`)",
    "Host(`A`, `b.`)": "Host(`a`) || Host(`b.`)",
    "Host(`*.a`)": r"HostRegexp(`^\*\.a$`)",
    "HostHeader(`a`)": "Host(`a`)",
    "HostRegexp(`a.b`)": "Host(`a.b`)",
    "HostRegexp(`{sub:[a-z]+}.a.b`)": r"HostRegexp(`^[a-z]+\.a\.b$`)",
    "HostRegexp(`{sub}.a`)": r"HostRegexp(`^[^.]+\.a$`)",
    "HostRegexp(`{any:.*}`)": "HostRegexp(`^.*$`)",
    "HostRegexp(`{a:x|y}.b`, `{c:Z\\D}`)": r"HostRegexp(`^(?:x|y)\.b$`) || HostRegexp(`(?i)^Z\D$`)",
    "Path(`/a.b`)": "Path(`/a.b`)",
    "Path(`/a/{id}`)": "PathRegexp(`^/a/[^/]+$`)",
    "Path(`/{n:[0-9]{2,3}}/{m:(?i)x}`)": "PathRegexp(`^/[0-9]{2,3}/(?:(?i)x)$`)",
    "PathPrefix(`/a`, `/b/{id:[0-9]+}`)": "PathPrefix(`/a`) || PathRegexp(`^/b/[0-9]+`)",
    "Method(`GET`, `POST`)": "Method(`GET`) || Method(`POST`)",
    "Headers(`A`, `1`)": "Header(`A`, `1`)",
    "Headers(`A`, `1`, `B`, `2`)": "Header(`A`, `1`) && Header(`B`, `2`)",
    "HeadersRegexp(`A`, `^1`)": "HeaderRegexp(`A`, `^1`)",
    "Query(`a=1`)": "Query(`a`, `1`)",
    "Query(`a=1`, `b=`)": "Query(`a`, `1`) && QueryRegexp(`b`, `.*`)",
    "Query(`a`, `b=c`, `d`)": "Query(`a`, `b`) && Query(`c`, `d`)",
    "Query(`a={x}`)": "QueryRegexp(`a`, `^.*$`)",
    "ClientIP(`10.0.0.0/8`, `::1`)": "ClientIP(`10.0.0.0/8`) || ClientIP(`::1`)",
    "!Host(`a`, `b`) && !Method(`PUT`)": "!(Host(`a`) || Host(`b`)) && !Method(`PUT`)",
    "Host(`a`, `b`) && PathPrefix(`/`)": "(Host(`a`) || Host(`b`)) && PathPrefix(`/`)",
}
TCP = {
    "HostSNI(`*`)": "HostSNI(`*`)",
    "HostSNI(`a`, `b`)": "HostSNI(`a`) || HostSNI(`b`)",
    "HostSNIRegexp(`{x:[a-z]+}.a`)": r"HostSNIRegexp(`^[a-z]+\.a$`)",
    "HostSNIRegexp(`a.test`)": r"HostSNIRegexp(`^a\.test$`)",  # a HostSNI would need TLS
    "ALPN(`h2`, `foo`)": "ALPN(`h2`) || ALPN(`foo`)",
    "ClientIP(`10.0.0.1`, `10.0.0.2`)": "ClientIP(`10.0.0.1`) || ClientIP(`10.0.0.2`)",
}
REFUSED = {
    "": "empty rule",
    "Headers(`A`)": "multiple of 2",
    "Query(`a`)": "multiple of 2",
    "Path(`a`)": "does not start with a '/'",
    "Path(`/{a`)": "unbalanced braces",
    "Path(`/a}`)": "unbalanced braces",
    "Path(`/{:a}`)": "missing name or pattern",
    "Path(`/{a:}`)": "missing name or pattern",
    "Path(`/{a:[}`)": "invalid regular expression",
    "HeadersRegexp(`A`, `[`)": "invalid regular expression",
    "Host(`ü`)": "non-ASCII",
    "Host()": "no args for matcher Host",
    "Host(`a`, ``)": "empty args for matcher Host",
    "Header(`A`, `b`)": "unsupported function: Header",
    "HostSNI(`a`)": "unsupported function: HostSNI",
    "ClientIP(`a`)": "neither an IP address nor a network",
}


@pytest.mark.parametrize("old", TRANSLATED, ids=range(len(TRANSLATED)))
def test_http_rules(old: str) -> None:
    assert str(parse_rule_v2(old)) == TRANSLATED[old]
    assert str(parse_rule(TRANSLATED[old])) == str(parse_rule_v2(old))
    Program(parse_rule_v2(old))


@pytest.mark.parametrize("old", TCP, ids=range(len(TCP)))
def test_tcp_rules(old: str) -> None:
    assert str(parse_tcp_rule_v2(old)) == TCP[old]
    assert str(parse_tcp_rule(TCP[old])) == TCP[old]


@pytest.mark.parametrize("old", REFUSED, ids=range(len(REFUSED)))
def test_refused(old: str) -> None:
    with pytest.raises(RuleError, match=r".*") as raised:
        parse_rule_v2(old)
    assert REFUSED[old] in str(raised.value)


def test_wildcards_of_version_3_are_none_in_names_of_servers() -> None:
    with pytest.raises(RuleError, match="is not a valid hostname or IP"):
        parse_tcp_rule_v2("HostSNI(`*.a`)")


@given(st.lists(st.sampled_from(list(TRANSLATED)), min_size=1, max_size=4), st.sampled_from([" && ", " || "]))
def test_what_is_shown_means_the_same(parts: list[str], operator: str) -> None:
    rule = parse_rule_v2(operator.join(f"({part})" for part in parts))
    assert str(parse_rule(str(rule))) == str(rule)


def test_a_rule_with_many_hosts_is_shown() -> None:
    hosts = ", ".join(f"`h{n}`" for n in range(6000))
    rule = parse_rule_v2(f"Host({hosts})")
    assert str(rule).count(" || ") == 5999
    Program(rule)


@pytest.mark.parametrize(
    ("syntax", "default", "runs"),
    [("v2", "v3", True), ("", "v2", True), ("default", "V2", True), ("v3", "v2", False), ("", "", False)],
)
def test_the_syntax_is_that_of_the_router_or_the_default(syntax: str, default: str, runs: bool) -> None:
    static, _ = parse_static(f"entryPoints: {{web: {{address: ':0'}}}}\ncore: {{defaultRuleSyntax: '{default}'}}\n")
    dynamic, _ = parse_dynamic(
        f"http:\n  routers: {{r: {{rule: 'Host(`a`, `b`)', service: noop@internal, ruleSyntax: '{syntax}'}}}}\n"
        f"tcp:\n  routers: {{t: {{rule: 'ClientIP(`10.0.0.1`, `10.0.0.2`)', service: s, ruleSyntax: '{syntax}'}}}}\n"
        "  services: {s: {loadBalancer: {servers: [{address: 'a:1'}]}}}\n"
    )
    disabled, warnings = find_problems(merge({"file": dynamic}), static)
    assert [entry.name for entry in disabled] == ([] if runs else ["r@file", "t@file"])
    shown = any("in version 3 it is Host(`a`) || Host(`b`)" in warning for warning in warnings)
    assert shown == runs
