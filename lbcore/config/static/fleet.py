"""`fleet` (extension): what instances that serve the same share, and how many of them there are. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from lbcore.config.middlewares.rate_limit import address_of
from lbcore.config.middlewares.upstream import UpstreamTls
from lbcore.config.model import SECRETS, Model
from lbcore.config.numbers import Count, ShortDuration
from lbcore.config.units import seconds


def above_zero(value: timedelta) -> timedelta:
    """A limit of time. Raises ValueError for one that nothing could keep."""
    if value < timedelta(milliseconds=1):
        raise ValueError("at least 1ms is needed")
    return value


class FleetRedis(Model):
    """A Redis or Valkey that all instances use.

    endpoints  host:port; several ones are servers of a cluster.
    maxWait    after which a call counts as failed.
    """

    may_be_empty: ClassVar[bool] = True

    endpoints: list[str] = ["127.0.0.1:6379"]
    tls: UpstreamTls | None = None
    username: str = ""
    password: Annotated[str, SECRETS] = Field(default="", repr=False)
    db: Count = 0
    max_wait: ShortDuration = seconds(1)

    @field_validator("max_wait")
    @classmethod
    def _ends(cls, value: timedelta) -> timedelta:
        return above_zero(value)

    @field_validator("endpoints")
    @classmethod
    def _addresses(cls, values: list[str]) -> list[str]:
        if not values:
            raise ValueError("at least one is needed")
        for value in values:
            address_of(value)
        return values


class FleetPeers(Model):
    """How instances are counted without a store.

    addresses  URLs of the others: http://10.0.0.2:8080/ping. Those that answer with 200 count, and this one.
    dns        a name whose addresses are all instances: that of a headless service of Kubernetes.
    timeout    of a question.
    """

    addresses: list[str] = []
    dns: str = ""
    timeout: ShortDuration = seconds(1)

    @field_validator("timeout")
    @classmethod
    def _ends(cls, value: timedelta) -> timedelta:
        return above_zero(value)

    @field_validator("addresses")
    @classmethod
    def _are_urls(cls, values: list[str]) -> list[str]:
        for value in values:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{value!r}: write http://HOST:PORT/ping")
        return values


class Fleet(Model):
    """name      of the fleet: those in one store are told apart by it.
    interval  between two looks at the others.
    """

    may_be_empty: ClassVar[bool] = True

    name: str = "default"
    redis: FleetRedis | None = None
    peers: FleetPeers | None = None
    interval: ShortDuration = seconds(1)

    @field_validator("interval")
    @classmethod
    def _not_always(cls, value: timedelta) -> timedelta:
        if not timedelta(milliseconds=100) <= value <= timedelta(minutes=1):
            raise ValueError("between 100ms and 1m is needed")
        return value
