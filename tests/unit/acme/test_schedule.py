"""When certificates are renewed, and when orders that failed are tried again."""

from __future__ import annotations

import pytest

from lbcore.acme.schedule import Allowance, next_try, renewal_due

DAY = 86400.0


@pytest.mark.parametrize(
    ("hours", "life", "ahead"),
    [
        (2160, 90 * DAY, 30 * DAY),
        (365 * 24, 365 * DAY, 120 * DAY),
        (30 * 24, 30 * DAY, 10 * DAY),
        (7 * 24, 7 * DAY, DAY),
        (24, DAY, DAY / 4),
        (1, 3600.0, 1200.0),
        # Shorter than configured: when a third of its life is left, not all the time.
        (2160, 6 * DAY, 2 * DAY),
        (2160, 60.0, 20.0),
    ],
)
def test_a_certificate_is_renewed_ahead_of_its_end(hours: int, life: float, ahead: float) -> None:
    assert renewal_due(1000.0, 1000.0 + life, hours, 0.0) == pytest.approx(1000.0 + life - ahead)


@pytest.mark.parametrize("life", [60.0, 3600.0, DAY, 90 * DAY, 365 * DAY])
@pytest.mark.parametrize("hours", [1, 24, 168, 720, 2160, 8760])
def test_renewals_are_spread_and_never_late(life: float, hours: int) -> None:
    first, last = renewal_due(0.0, life, hours, 0.0), renewal_due(0.0, life, hours, 1.0)
    assert 0 < first < last < life


def test_a_name_that_fails_is_tried_four_times_in_an_hour_at_most() -> None:
    at, tries = 0.0, [0.0]
    for failures in range(1, 12):
        at += next_try(failures, 60.0)
        tries.append(at)
    for begin in tries:
        assert sum(begin <= each < begin + 3600 for each in tries) <= 4
    assert tries[-1] - tries[-2] >= 6 * 3600


def test_what_the_ca_asks_for_is_kept_to() -> None:
    assert next_try(1, 60.0, 7200.0) >= 7200
    assert 60 <= next_try(1, 60.0) <= 66


def test_orders_are_counted_and_come_back_with_time() -> None:
    allowance = Allowance(3, 10.0)
    for _ in range(3):
        assert allowance.wait_s(100.0) == 0
        allowance.take()
    assert allowance.wait_s(100.0) == 10
    assert allowance.wait_s(105.0) == 5
    assert allowance.wait_s(110.0) == 0
    allowance.take()
    assert allowance.wait_s(110.0) == 10
