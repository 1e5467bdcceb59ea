"""`replacePathRegex`: replaces the path by what an expression makes of it. No I/O."""

from lbcore.config.model import Model


class ReplacePathRegex(Model):
    regex: str = ""
    replacement: str = ""
