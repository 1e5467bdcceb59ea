"""`stripPrefixRegex`: a path loses what an expression finds at its beginning. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class StripPrefixRegex(Model):
    regex: list[str] = []
