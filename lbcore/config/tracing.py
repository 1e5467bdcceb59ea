"""The switch for tracing that routers and entry points share: it cannot be on yet. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def no_tracing(value: bool | None) -> bool | None:
    if value:
        raise ValueError("true is not supported by this version of lbcore")
    return value


NoTracing = Annotated[bool | None, AfterValidator(no_tracing)]
