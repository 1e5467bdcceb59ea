"""`stripPrefix`: a path loses its beginning. No I/O."""

from __future__ import annotations

from pydantic import field_validator

from lbcore.config.model import Model


class StripPrefix(Model):
    prefixes: list[str] = []
    force_slash: bool = True

    @field_validator("force_slash")
    @classmethod
    def _forced(cls, value: bool) -> bool:
        if not value:
            raise ValueError("false is not supported by this version of lbcore: a path always begins with a slash")
        return value
