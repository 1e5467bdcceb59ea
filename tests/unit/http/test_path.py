"""The normal form of a request's path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.http.path import normalise

PATHS = [
    (b"/", b"/", b"/"),
    (b"", b"/", b"/"),
    (b"/a//b/../c/./d", b"/a/c/d", b"/a/c/d"),
    (b"/a/b/", b"/a/b/", b"/a/b/"),
    (b"/../../x", b"/x", b"/x"),
    (b"/a/..", b"/", b"/"),
    (b"/%2e%2e/x", b"/x", b"/x"),
    (b"/%77ith", b"/with", b"/with"),
    (b"/a%2fb%3b", b"/a%2Fb%3B", b"/a%2Fb%3B"),
    (b"/x%20y", b"/x%20y", b"/x y"),
    (b"/caf\xc3\xa9", b"/caf%C3%A9", "/café".encode()),
    (b"/a\\b", b"/a%5Cb", b"/a\\b"),
    (b"/%00", b"/%00", b"/%00"),
]


@pytest.mark.parametrize(("raw", "path", "route_path"), PATHS)
def test_normalise_sanitising_gives_the_one_form(raw: bytes, path: bytes, route_path: bytes) -> None:
    assert normalise(raw) == (path, route_path, None)


@pytest.mark.parametrize("raw", [b"/%zz", b"/%4", b"/%", b"/a#b", b"/a?b#c", b"/a\x7f", b"/a b", b"/a?b\x01"])
def test_normalise_bytes_no_target_may_hold_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="bad request target"):
        normalise(raw)


def test_normalise_semicolons_of_the_query_become_ampersands_or_are_encoded() -> None:
    assert normalise(b"/?a;b")[2] == b"a&b"
    assert normalise(b"/?a;b", encode_semicolons=True)[2] == b"a%3Bb"


@pytest.mark.parametrize(
    ("bit", "encoded"),
    [(1, b"%2f"), (2, b"%5C"), (4, b"%00"), (8, b"%3b"), (16, b"%25"), (32, b"%3F"), (64, b"%23")],
)
def test_normalise_refused_encoded_character_is_refused_alone(bit: int, encoded: bytes) -> None:
    with pytest.raises(ValueError, match="bad request target"):
        normalise(b"/a" + encoded, refused=bit)
    normalise(b"/a" + encoded, refused=127 & ~bit)


def test_normalise_a_refused_backslash_is_refused_as_it_is_too() -> None:
    with pytest.raises(ValueError, match="bad request target"):
        normalise(b"/a\\b", refused=2)
    assert normalise(b"/a\\b", refused=127 & ~2)[0] == b"/a%5Cb"


@given(st.lists(st.sampled_from([b"/", b".", b"..", b"a", b"%2e", b"%2F", b"%41", b"\xff", b'"', b";", b"%00"])))
def test_normalise_is_idempotent_and_leaves_no_dot_segment(parts: list[bytes]) -> None:
    path, _, _ = normalise(b"/" + b"".join(parts))
    assert normalise(path)[0] == path
    assert path.startswith(b"/")
    assert b"//" not in path
    assert not {b".", b".."} & set(path.split(b"/"))
    assert path.isascii()
