"""`replacePathRegex`: replaces the path by what an expression makes of it. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class ReplacePathRegex(Model):
    regex: str = ""
    replacement: str = ""
