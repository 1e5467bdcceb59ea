"""`stripPrefixRegex`: removes what an expression matches at the beginning of the path. No I/O."""

from lbcore.config.model import Model


class StripPrefixRegex(Model):
    regex: list[str] = []
