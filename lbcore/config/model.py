"""What all configuration models share: Traefik's names for keys, and the keys of Traefik that are refused. No I/O."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Attributes are in snake case, keys in Traefik's camel case.

    unsupported  keys that Traefik knows and this version of lbcore does not implement: refused by name.
    may_be_empty whether the element may stand without any key; Traefik refuses most empty ones.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )
    unsupported: ClassVar[frozenset[str]] = frozenset()
    may_be_empty: ClassVar[bool] = True


def keys(text: str) -> frozenset[str]:
    """A set of keys, written with spaces between them."""
    return frozenset(text.split())
