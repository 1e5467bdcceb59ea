"""`sticky`: what keeps a client at its server. No I/O."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, field_validator

from lbcore.config.model import SECRETS, Change, Model
from lbcore.config.numbers import Seconds

MIN_SECRET_BYTES = 16

_LABELS = re.compile(
    r"\.?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?", re.IGNORECASE | re.ASCII
)

_ADDRESS = re.compile(r"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}", re.ASCII)


def _is_domain(text: str) -> bool:
    """Whether browsers take it for the domain of a cookie: a name with a letter, or an address of IPv4."""
    if not _LABELS.fullmatch(text) or len(text) > 255:
        return False
    return any(letter.isalpha() for letter in text) or _ADDRESS.fullmatch(text) is not None


def _check_secret(value: str) -> str:
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"a key of less than {MIN_SECRET_BYTES} bytes can be guessed")
    return value


Secret = Annotated[str, AfterValidator(_check_secret)]


class Signed(Model):
    """Extension: values that clients cannot forge. The first key signs, all keys are accepted."""

    keys: Annotated[list[Secret], Field(min_length=1, repr=False), SECRETS]


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

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        domain = data.get("domain", "")
        if not domain or _is_domain(domain):
            return []
        data["domain"] = ""
        return [Change("domain", f"{domain!r} is no domain, and left out", "write a name such as example.org")]

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
