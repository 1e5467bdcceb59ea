"""Whatever labels, keys of stores, templates and constraints say: a problem, and never an error of another kind."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lbcore.errors import ConfigError
from lbcore.provider.constraints import ConstraintError, parse_constraints
from lbcore.template.engine import TemplateError, render_file
from lbcore.template.sprig import SPRIG
from tests.fuzz.effort import examples
from tests.support.keys import reading_of
from tests.unit.provider.test_labels import read

WORDS = st.sampled_from(
    ["http", "tcp", "udp", "tls", "routers", "services", "middlewares", "stores", "default", "web", "loadbalancer", "server", "servers", "port", "scheme", "url", "weight", "address", "rule", "tls", "domains[0]", "main", "sans", "sticky", "cookie", "name", "headers", "customrequestheaders", "X-A", "stripprefix", "prefixes", "basicauth", "users", "usersfile", "healthcheck", "path", "interval", "priority", "entrypoints", "middlewares[10]", "middlewares[2]", "weighted", "enable", "0", "1", "@", "["]
)
VALUES = st.sampled_from(
    ["true", "false", "", "a,b", "80", "-1", "http", "Host(`a`)", "10s", "unix:/x", "/etc/x", "http://[", "\x00", "ü", "[]"]
) | st.text(max_size=8)


@settings(max_examples=examples(300))
@given(st.dictionaries(st.lists(WORDS, min_size=1, max_size=8).map(lambda parts: ".".join(["traefik", *parts])), VALUES, max_size=8))
@example({"traefik.http.middlewares.a.basicauth.usersfile": "\0"})
@example({"traefik.http.services.a.loadbalancer.server.url": "unix:\0"})
def test_labels(labels: dict[str, str]) -> None:
    said = read(labels)
    assert said.config is not None or said.problems


@settings(max_examples=examples(200))
@given(st.dictionaries(st.lists(WORDS, min_size=1, max_size=8).map(lambda parts: "/".join(["traefik", *parts])), VALUES, max_size=8))
def test_keys(values: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        reading_of(values, "traefik", "redis")


PIECES = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", " ", "\n", '"a"', "`b`", "'c'", "1", "1.5", "-3", "nil", "true", ".", ".A", "$", "$x", ":=", "=", "|", "(", ")",
     ",", "if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "/*", "*/", "text"]
) | st.sampled_from([*SPRIG, "printf", "index", "len", "eq", "lt", "and", "or", "print"])  # fmt: skip


@settings(max_examples=examples(400))
@given(st.lists(PIECES, max_size=14).map(" ".join))
def test_templates(text: str) -> None:
    with contextlib.suppress(TemplateError):
        render_file(text)


ARGUMENTS = st.sampled_from(['"a"', '""', "1", "-1", "0", "1.5", "nil", "true", "(list 1 2)", "(list)", '(dict "a" 1)', '"("', "99999999999"])


@settings(max_examples=examples(600))
@given(st.sampled_from([*SPRIG, "printf", "index", "len", "eq", "lt", "html", "js", "print"]), st.lists(ARGUMENTS, max_size=4))
def test_functions(name: str, arguments: list[str]) -> None:
    with contextlib.suppress(TemplateError):
        render_file(f"{{{{ {name} {' '.join(arguments)} }}}}")


@settings(max_examples=examples(200))
@given(st.lists(st.sampled_from(["Label", "(", ")", "`a`", '"b"', ",", "&&", "||", "!", "LabelRegex", "x", "&", "\\"]), max_size=12).map(" ".join))
def test_constraints(text: str) -> None:
    with contextlib.suppress(ConstraintError):
        parse_constraints(text, ("Label", "LabelRegex"))
