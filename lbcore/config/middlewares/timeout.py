"""`timeout` (extension): the time that an exchange has, from here to its end. No I/O."""

from __future__ import annotations

from datetime import timedelta

from lbcore.config.model import Model
from lbcore.config.numbers import ShortDuration


class Timeout(Model):
    after: ShortDuration = timedelta(0)
