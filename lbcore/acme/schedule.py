"""Times of renewals, and of new attempts after failed orders. No I/O; all times are seconds."""

from __future__ import annotations

import random

DAY_S = 86400.0
HOUR_S = 3600.0
# Least life in hours: seconds before the end at which certificates are renewed, and over which renewals are spread.
PERIODS = (
    (365 * 24, 120 * DAY_S, 7 * DAY_S),
    (90 * 24, 30 * DAY_S, DAY_S),
    (30 * 24, 10 * DAY_S, 12 * HOUR_S),
    (7 * 24, DAY_S, HOUR_S),
    (24, 6 * HOUR_S, 600.0),
    (0, 1200.0, 60.0),
)
LEAST_LEFT = 1 / 3  # of the life of a certificate, for those shorter than configured
SPREAD = 1 / 50  # of the life of a certificate, at most
LONGEST_WAIT_S = 12 * HOUR_S
RATE_LIMITED_S = HOUR_S  # pause if the CA demands one without its length
# A failed order is tried again after `retryDelay` times these factors: four failures in the first hour, below the limit
# of five an hour per name (Let's Encrypt).
STEPS = (1, 5, 15, 60, 180, 360)


def renewal_due(begins: float, ends: float, duration_h: int, share: float) -> float:
    """When to renew a certificate that is valid from `begins` to `ends`, by `certificatesDuration` as in Traefik.

    A certificate with a shorter life is renewed when a third of it is left.
    share  position in the spread, 0 to 1, so that certificates of the same time are renewed at different times.
    """
    ahead, interval = next((ahead, interval) for least, ahead, interval in PERIODS if duration_h >= least)
    life = max(ends - begins, 0.0)
    return ends - min(ahead, life * LEAST_LEFT) + min(interval, life * SPREAD) * share


def next_try(failures: int, first_s: float, at_least_s: float = 0.0) -> float:
    """The wait after the `failures`th failure in a row, with a random spread of a tenth.

    first_s     wait after the first failure.
    at_least_s  wait that the CA demands.
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
        """Seconds until the next order may begin; `now` never decreases."""
        self._used = max(0.0, self._used - (now - self._at) / self._every_s)
        self._at = now
        return max(0.0, (self._used - self._burst + 1) * self._every_s)

    def take(self) -> None:
        """Count an order that begins."""
        self._used += 1
