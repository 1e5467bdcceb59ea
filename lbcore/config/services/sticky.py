"""`sticky`: what keeps a client at its server. No I/O."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, field_validator

from lbcore.config.model import Model
from lbcore.config.numbers import Seconds

MIN_SECRET_BYTES = 16


def _check_secret(value: str) -> str:
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"a key of less than {MIN_SECRET_BYTES} bytes can be guessed")
    return value


Secret = Annotated[str, AfterValidator(_check_secret)]


class Signed(Model):
    """Extension: values that clients cannot forge. The first key signs, all keys are accepted."""

    keys: Annotated[list[Secret], Field(min_length=1)]


class StickyCookie(Model):
    """`name` empty: derived from the service's name. `maxAge` in seconds, 0: until the browser closes."""

    may_be_empty: ClassVar[bool] = True

    name: str = ""
    secure: bool = False
    http_only: bool = False
    same_site: str = ""
    max_age: Seconds = 0
    path: str = "/"
    domain: str = ""
    signed: Signed | None = None

    @field_validator("path", "domain")
    @classmethod
    def _attribute(cls, value: str) -> str:
        if any(letter < " " or letter in ";\x7f" for letter in value):
            raise ValueError("semicolons and control characters cannot stand in an attribute of a cookie")
        return value


class SourceIP(Model):
    """Extension: by the client's address. `depth` n: the nth address from the right in X-Forwarded-For."""

    may_be_empty: ClassVar[bool] = True

    depth: Annotated[int, Field(ge=0, le=100)] = 0


class Sticky(Model):
    may_be_empty: ClassVar[bool] = True

    cookie: StickyCookie | None = None
    source_ip: SourceIP | None = Field(default=None, alias="sourceIP")
