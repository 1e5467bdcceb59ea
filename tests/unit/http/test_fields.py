"""Fields of HTTP/2 and HTTP/3 become lines of HTTP/1 only if they are read as the same fields."""

import pytest

from tests.support.native import native

NAME_BYTES = frozenset(range(0x21, 0x7F)) - frozenset(b":ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NO_VALUE_BYTES = frozenset(b"\0\r\n")


def variants(text: bytes, place: int) -> list[bytes]:
    """With every byte at a place; its number is the index."""
    return [text[:place] + bytes([byte]) + text[place + 1 :] for byte in range(256)]


@pytest.mark.parametrize("place", [0, 1, 20])
def test_only_lower_case_without_controls_is_a_name(place: int) -> None:
    takes = native("fields").takes
    names = variants(b"x-name-of-some-length", place)
    assert {byte for byte, name in enumerate(names) if takes(name, b"a")} == NAME_BYTES
    assert not takes(b"", b"a")


@pytest.mark.parametrize(("place", "length"), [(0, 1), (0, 48), (47, 48), (0, 49), (48, 49), (1000, 2000)])
def test_a_value_has_no_end_of_a_line(place: int, length: int) -> None:
    takes = native("fields").takes
    values = variants(b"v" * length, place)
    assert {byte for byte, value in enumerate(values) if not takes(b"x-a", value)} == NO_VALUE_BYTES
    assert takes(b"x-a", b"")
