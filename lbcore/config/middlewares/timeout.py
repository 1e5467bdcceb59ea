"""`timeout` (extension): limits the time of an exchange, from this middleware to the end of the answer. No I/O."""

from datetime import timedelta

from lbcore.config.model import Model
from lbcore.config.numbers import ShortDuration


class Timeout(Model):
    after: ShortDuration = timedelta(0)
