"""`redirectRegex`: another URL, made of what an expression finds. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class RedirectRegex(Model):
    regex: str = ""
    replacement: str = ""
    permanent: bool = False
