"""`addPrefix`: puts a prefix in front of the path. No I/O."""

from lbcore.config.model import Model


class AddPrefix(Model):
    prefix: str = ""
