"""Durations as Go writes them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.units import format_duration, milliseconds, parse_duration, parse_signed_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("7", 7),
        (7, 7),
        ("0", 0),
        ("100us", 0.0001),
        ("+5s", 5),
    ],
)
def test_duration_in_every_form(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "10", "1m30", "10 s", "-1s", "1d", "ten", "99999999h"])
def test_duration_that_is_none_is_refused(text: str) -> None:
    if text == "10":
        assert parse_duration(text) == timedelta(seconds=10)
        return
    with pytest.raises(ValueError, match=r"duration|negative|longer"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=300)))
def test_duration_survives_being_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["99999999999", "-9223372036854775808", "99999999999s", "9999999h"])
def test_a_duration_beyond_all_is_named_so(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than 292 years"):
        parse_signed_duration(text)


@pytest.mark.parametrize("text", ["87601h", "99999h", "9223372036", "9223372036s", "2562047h"])
def test_a_duration_of_a_life_is_as_long_as_any_other(text: str) -> None:
    assert parse_duration(text) == timedelta(days=3650)
    assert parse_signed_duration(f"-{text}") == -timedelta(days=3650)


@pytest.mark.parametrize(
    ("text", "wanted"), [("0s", 0), ("-1s", 0), ("1us", 1), ("999us", 1), ("1500us", 1), ("570ms", 570), ("2s", 2000)]
)
def test_a_limit_below_a_millisecond_is_one_and_not_none(text: str, wanted: int) -> None:
    assert milliseconds(parse_signed_duration(text)) == wanted
