"""Names of headers that middlewares set, remove or read. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from lbcore.config.middlewares.headers import NAME, OF_CONNECTIONS


def _name(value: str) -> str:
    if value and not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a header")
    return value


def _own_name(value: str) -> str:
    if value.lower() in OF_CONNECTIONS or value.lower() == "host":
        raise ValueError(f"{value} belongs to the connection or to the framing, and cannot be set")
    return _name(value)


HeaderName = Annotated[str, AfterValidator(_name)]  # that is read
OwnHeaderName = Annotated[str, AfterValidator(_own_name)]  # that is set
