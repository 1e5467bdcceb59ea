"""`stripPrefix`: removes a prefix from the path. No I/O."""

from typing import Annotated, Any

from lbcore.config.model import WHEN_SET, Change, Model


class StripPrefix(Model):
    prefixes: list[str] = []
    force_slash: Annotated[bool, WHEN_SET] = True

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if data.get("forceSlash") is False:
            return [Change("forceSlash", "false has no effect", "a path always begins with a slash")]
        return []
