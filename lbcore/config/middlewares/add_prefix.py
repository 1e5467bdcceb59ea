"""`addPrefix`: puts a prefix in front of the path. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class AddPrefix(Model):
    prefix: str = ""
