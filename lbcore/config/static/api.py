"""`api`, `ping`, `explain`: what lbcore answers itself. No I/O."""

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, field_validator

from lbcore.config.model import Change, Model, keys


def _long(value: str) -> str:
    if value and len(value) < 16:
        raise ValueError("a token of less than 16 characters can be guessed")
    return value


Token = Annotated[str, AfterValidator(_long)]  # of clients that may change something; empty: there is none


class Ping(Model):
    may_be_empty: ClassVar[bool] = True

    entry_point: str = "traefik"
    manual_routing: bool = False
    terminating_status_code: Annotated[int, Field(ge=200, le=599)] = 503


class Api(Model):
    """The view from outside. `insecure`: on the entry point `traefik`, open to every client that reaches it.

    token  (extension) lets a client that sends it (`Authorization: Bearer ...`) change weights; without one none can.
    """

    ignored = keys("dashboardName disableDashboardAd", "the dashboard shows neither a name nor advertisements")
    may_be_empty: ClassVar[bool] = True

    insecure: bool = False
    dashboard: bool = True
    debug: bool = False
    base_path: str = "/"
    token: Token = ""

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if data.pop("debug", False):
            return [Change("debug", "has no effect", "Traefik's debugging pages are Go's")]
        return []

    @field_validator("base_path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError(f"{value!r} does not begin with a slash")
        return value


class Explain(Model):
    """Extension: the answer to a request with `secret` in `header` says there why it went where it went."""

    header: str = "X-Lbcore-Explain"
    secret: str

    @field_validator("header")
    @classmethod
    def _own(cls, value: str) -> str:
        if not re.fullmatch(r"[Xx]-[A-Za-z0-9-]*[A-Za-z0-9]", value) or value.lower().startswith("x-forwarded-"):
            raise ValueError(f"{value!r} is no name for a header of its own: write X-Something")
        return value

    @field_validator("secret")
    @classmethod
    def _long(cls, value: str) -> str:
        if len(value) < 16:
            raise ValueError("a secret of less than 16 characters can be guessed")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError("a secret has to fit into a header: printable ASCII, no space at its ends")
        return value
