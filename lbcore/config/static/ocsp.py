"""`ocsp`: certificates are served together with a proof that they are not revoked. No I/O."""

from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import field_validator

from lbcore.config.model import Model


class Ocsp(Model):
    """OCSP stapling. `responderOverrides`: URLs to ask in place of those that certificates name, by these."""

    may_be_empty: ClassVar[bool] = True

    responder_overrides: dict[str, str] = {}

    @field_validator("responder_overrides")
    @classmethod
    def _are_urls(cls, value: dict[str, str]) -> dict[str, str]:
        for url in value.values():
            try:
                parts = urlsplit(url)
                sound = parts.scheme in ("http", "https") and bool(parts.hostname)
            except ValueError:
                sound = False
            if not sound:
                raise ValueError(f"{url!r} is no URL of a responder: write http://HOST/PATH")
        return value
