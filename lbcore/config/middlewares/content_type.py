"""`contentType`: the Content-Type of answers that have none, by their first bytes. No I/O."""

from typing import Any

from lbcore.config.model import Change, Model


class ContentType(Model):
    """autoDetect  false: as without the middleware. Traefik has deprecated the option."""

    may_be_empty = True

    auto_detect: bool | None = None

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if "autoDetect" in data:
            hint = "the middleware is there to detect types: leave it out to have none detected"
            return [Change("autoDetect", "deprecated", hint)]
        return []
