"""`replacePath`: replaces the path. No I/O."""

from lbcore.config.model import Model


class ReplacePath(Model):
    path: str = ""
