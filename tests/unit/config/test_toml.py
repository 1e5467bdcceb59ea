"""TOML 1.1, as Traefik reads it, and the lines of what is wrong."""

from __future__ import annotations

import tomllib

import pytest

from lbcore.config.load import parse_dynamic
from lbcore.config.toml import loads
from lbcore.errors import ConfigError

INLINE = """[http.routers]
r = {  # with a comment }, and a "
  rule = "Path(`/\\x41\\e\\\\e`)",
  entryPoints = ["web", 'a}',
    "b",],  # and an 'other
  tls = {
    domains = [
      {main = '''
a,}''', },
    ],
  },
}
%s
[http.services.s.loadBalancer]
servers = [{url = "http://a"}]
"""


def test_inline_tables_have_line_ends_comments_and_a_last_comma() -> None:
    router = loads(INLINE % "")["http"]["routers"]["r"]
    assert router == {
        "rule": "Path(`/A\x1b\\e`)",
        "entryPoints": ["web", "a}", "b"],
        "tls": {"domains": [{"main": "a,}"}]},
    }


def test_lines_behind_an_inline_table_are_those_of_the_text() -> None:
    text = INLINE % "q = {service = 's', nonsense = 1}"
    assert text.splitlines()[12].startswith("q = ")
    with pytest.raises(tomllib.TOMLDecodeError, match=r"at line 13, column"):
        loads(INLINE % "q = = 1")
    with pytest.raises(ConfigError) as found:
        parse_dynamic(INLINE % "q = = 1", "a.toml")
    assert found.value.problems[0].line == 13
    config, _ = parse_dynamic(text, "a.toml")
    assert config.http.routers["q"].place == "a.toml:13"


@pytest.mark.parametrize(
    "text",
    [
        *("a = {,}", "a = {b = 1,,}", "a = {b = 1\nc = 2}", "a = {b = 1,\n", "a = {b = 1, # c }", "a = {b = 1}}", "{"),
        *('a = "\\q"', 'a = "\\x4"', "]}", "a = [1,,]", "a = '''\n"),
    ],
)
def test_what_is_no_toml_is_refused(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        loads(text)


def test_texts_that_do_not_end_take_no_time() -> None:
    for part in ('"""\\', "'''", '"', "'", "{", "[", "{,", "a = {"):
        with pytest.raises((tomllib.TOMLDecodeError, RecursionError)):
            loads(part * 20000)
