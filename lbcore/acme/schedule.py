"""When certificates are renewed, and when orders that failed are tried again. No I/O; all times are seconds."""

from __future__ import annotations

import random

DAY_S = 86400.0
HOUR_S = 3600.0
# Hours that certificates last, from: seconds before their end at which they are renewed, and over which that is spread.
PERIODS = (
    (365 * 24, 120 * DAY_S, 7 * DAY_S),
    (90 * 24, 30 * DAY_S, DAY_S),
    (30 * 24, 10 * DAY_S, 12 * HOUR_S),
    (7 * 24, DAY_S, HOUR_S),
    (24, 6 * HOUR_S, 600.0),
    (0, 1200.0, 60.0),
)
LEAST_LEFT = 1 / 3  # of the life of a certificate that is shorter than configured
SPREAD = 1 / 50  # of the life of a certificate, at most
LONGEST_WAIT_S = 12 * HOUR_S
RATE_LIMITED_S = HOUR_S  # where the CA does not say how long it wants to be left alone
# An order that fails is tried again after `retryDelay` times these: with four failures in the first hour, a CA that
# allows five an hour for each name has nothing to say against it.
STEPS = (1, 5, 15, 60, 180, 360)


def renewal_due(begins: float, ends: float, duration_h: int, share: float) -> float:
    """When to renew a certificate that lasts from `begins` to `ends`, as Traefik does by `certificatesDuration`.

    One that is shorter than that is renewed when a third of its life is left, and not all the time.
    share  of the spread, from 0 to 1: certificates of one time are not renewed at one time.
    """
    ahead, interval = next((ahead, interval) for least, ahead, interval in PERIODS if duration_h >= least)
    life = max(ends - begins, 0.0)
    return ends - min(ahead, life * LEAST_LEFT) + min(interval, life * SPREAD) * share


def next_try(failures: int, first_s: float, at_least_s: float = 0.0) -> float:
    """How long to wait after the `failures`th failure in a row, spread by a tenth.

    first_s     after the first one.
    at_least_s  that the CA asks for.
    """
    step = STEPS[min(failures, len(STEPS)) - 1]
    wait_s = max(min(first_s * step, max(LONGEST_WAIT_S, first_s)), at_least_s)
    return wait_s * random.uniform(1.0, 1.1)


class Allowance:
    """How many orders may begin: `burst` at once, and one more each `every_s` seconds."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._used = 0.0
        self._at = 0.0

    def wait_s(self, now: float) -> float:
        """How long to wait for the next one; `now` never goes back."""
        self._used = max(0.0, self._used - (now - self._at) / self._every_s)
        self._at = now
        return max(0.0, (self._used - self._burst + 1) * self._every_s)

    def take(self) -> None:
        """One begins."""
        self._used += 1
