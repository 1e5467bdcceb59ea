"""RE2 by pointer does what RE2 through its own package does."""

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.regex.regex import Regex

patterns = st.recursive(
    st.sampled_from(["a", "b", ".", "[a-c]", "x", "^", "$", "é", "\\d", ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"(?:{text})*"),
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(patterns, st.text("abxé1\0", max_size=12))
def test_find_equals_the_package(pattern: str, text: str) -> None:
    data = text.encode()
    expected = re2.compile(pattern).search(data)
    found = Regex(pattern).find(data)
    assert found == (None if expected is None else [expected[0], *expected.groups()])


@pytest.mark.parametrize(
    ("pattern", "template", "text", "result"),
    [
        (r"^/api/(\d+)/(?P<rest>.*)$", "/v2/$rest/${1}", b"/api/12/xy", b"/v2/xy/12"),
        (r"^/a(.)", "$1x-$$", b"/ab", b"-$"),
        (r"^/a(.)", "${1}x", b"/ab/c", b"bx/c"),
        ("a*", "x", b"baaac", b"xbxcx"),
        ("b", "", b"abcb", b"ac"),
        ("(a)|(b)", "[$1$2]", b"ab", b"[a][b]"),
        ("", "-", b"ab", b"-a-b-"),
    ],
)
def test_replace_all_as_go_does(pattern: str, template: str, text: bytes, result: bytes) -> None:
    regex = Regex(pattern)
    assert regex.replace_all(text, regex.parse_template(template)) == result


@pytest.mark.parametrize("pattern", ["(", "[", "a**", "(?=x)", r"\1", "x{1001}"])
def test_invalid_pattern_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match="invalid regular expression"):
        Regex(pattern)


def test_a_pattern_that_ruins_backtracking_engines_is_linear() -> None:
    assert Regex("(a+)+$").find(b"a" * 100_000 + b"b") is None
