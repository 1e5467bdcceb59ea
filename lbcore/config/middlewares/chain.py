"""`chain`: several middlewares under one name. No I/O."""

from lbcore.config.model import Model


class Chain(Model):
    middlewares: list[str] = []
