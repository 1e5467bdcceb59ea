"""`replacePath`: replaces the path. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class ReplacePath(Model):
    path: str = ""
