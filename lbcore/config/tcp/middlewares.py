"""`tcp.middlewares`: what may refuse a connection. No I/O."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from lbcore.config.model import Model, keys
from lbcore.config.network import check_network


class IPAllowList(Model):
    source_range: list[str] = []

    @field_validator("source_range")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        return [check_network(value) for value in values]


class InFlightConn(Model):
    """Connections of one client at once; what is beyond is closed. Without `amount`: none, as in Traefik."""

    amount: Annotated[int, Field(ge=0)] = 0


class TcpMiddleware(Model):
    """Exactly one kind."""

    unsupported: ClassVar[frozenset[str]] = keys("ipWhiteList")

    ip_allow_list: IPAllowList | None = Field(default=None, alias="ipAllowList")
    in_flight_conn: InFlightConn | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a middleware that can run."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]
