"""`requestRedirect` (extension): redirects to an address of which some parts are given. No I/O."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from lbcore.config.model import Model

STATUSES = (301, 302, 303, 307, 308)
_HOST = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError(f"{value!r} is no host")
    return value


HostName = Annotated[str, AfterValidator(_host)]  # empty: that of the request


class RequestRedirect(Model):
    """What is not given is that of the request.

    port        0: that of the scheme if that is given, else that of the request.
    path        in place of all of the path, or of `pathPrefix` if that is given.
    statusCode  0: 302.
    """

    scheme: Literal["", "http", "https"] = ""
    hostname: HostName = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    path: str | None = None
    path_prefix: str | None = None
    status_code: int = 302

    @field_validator("status_code")
    @classmethod
    def _status(cls, value: int) -> int:
        if value and value not in STATUSES:
            raise ValueError(f"{value} is none of {', '.join(map(str, STATUSES))}")
        return value

    @model_validator(mode="after")
    def _together(self) -> "RequestRedirect":
        if self.path_prefix is not None and self.path is None:
            raise ValueError("pathPrefix goes with path")
        return self
