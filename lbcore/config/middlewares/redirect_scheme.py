"""`redirectScheme`: redirects to the same URL with another scheme or port. No I/O."""

import re

from pydantic import field_validator

from lbcore.config.model import Model

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)?")  # RFC 3986 section 3.1


class RedirectScheme(Model):
    scheme: str = ""
    port: str = ""
    permanent: bool = False

    @field_validator("scheme")
    @classmethod
    def _scheme(cls, value: str) -> str:
        if not SCHEME.fullmatch(value):
            raise ValueError(f"{value!r} is no scheme of a URL")
        return value

    @field_validator("port")
    @classmethod
    def _port(cls, value: str) -> str:
        if value and not (value.isascii() and value.isdigit()):
            raise ValueError(f"{value!r} is no port")
        return value
