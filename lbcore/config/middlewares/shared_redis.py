"""A Redis or Valkey that instances share, as settings name it. No I/O."""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from lbcore.config.middlewares.upstream import UpstreamTls
from lbcore.config.model import SECRETS, Model
from lbcore.config.numbers import Count


class SharedRedis(Model):
    """endpoints  host:port; several ones are servers of a cluster."""

    may_be_empty: ClassVar[bool] = True

    endpoints: list[str] = ["127.0.0.1:6379"]
    tls: UpstreamTls | None = None
    username: str = ""
    password: Annotated[str, SECRETS] = Field(default="", repr=False)
    db: Count = 0

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, values: list[str]) -> list[str]:
        if not values:
            raise ValueError("at least one is needed")
        for value in values:
            address_of(value)
        return values

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each endpoint."""
        return tuple(address_of(endpoint) for endpoint in self.endpoints)


def address_of(endpoint: str) -> tuple[str, int]:
    """Host and port. Raises ValueError, without what may be a password."""
    if "@" in endpoint:
        text = f"a name or a password stands in front of {endpoint.rpartition('@')[2]!r}"
        raise ValueError(f"{text}: username and password are options of their own")
    host, colon, port = endpoint.strip().rpartition(":")
    if not colon or not host.strip("[]") or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{endpoint!r} is no address: write host:port")
    return host.strip("[]"), int(port)
