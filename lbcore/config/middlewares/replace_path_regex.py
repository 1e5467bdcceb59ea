"""`replacePathRegex`: another path, made of what an expression finds. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class ReplacePathRegex(Model):
    regex: str = ""
    replacement: str = ""
