"""`requestHeaderModifier`, `responseHeaderModifier` (extensions): headers set, added and removed. No I/O."""

from typing import Annotated

from pydantic import AfterValidator

from lbcore.config.middlewares.header_names import OwnHeaderName
from lbcore.config.model import Model


def _value(value: str) -> str:
    if any((ord(letter) < 32 and letter != "\t") or ord(letter) == 127 for letter in value):
        raise ValueError("control characters in a value")
    return value


def _given(name: str) -> str:
    if not name:
        raise ValueError("the name of a header is empty")
    return name


Name = Annotated[OwnHeaderName, AfterValidator(_given)]
Value = Annotated[str, AfterValidator(_value)]


class HeaderModifier(Model):
    """set     in place of what is there.
    add     beside it.
    remove  names.
    """

    set: dict[Name, Value] = {}
    add: dict[Name, Value] = {}
    remove: list[Name] = []


class RequestHeaderModifier(HeaderModifier):
    """Changes the headers of requests."""


class ResponseHeaderModifier(HeaderModifier):
    """Changes the headers of answers."""
