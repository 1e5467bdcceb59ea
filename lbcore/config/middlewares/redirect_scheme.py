"""`redirectScheme`: the same URL by another scheme or port. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model


class RedirectScheme(Model):
    scheme: str = ""
    port: str = ""
    permanent: bool = False
