"""`redirectRegex`: redirects to what an expression makes of the URL. No I/O."""

from lbcore.config.model import Model


class RedirectRegex(Model):
    regex: str = ""
    replacement: str = ""
    permanent: bool = False
