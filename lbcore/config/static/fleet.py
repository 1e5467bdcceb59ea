"""`fleet` (extension): what instances that serve the same share, and how many of them there are. No I/O."""

from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import field_validator

from lbcore.config.middlewares.shared_redis import SharedRedis
from lbcore.config.model import Model
from lbcore.config.numbers import PositiveDuration, ShortDuration
from lbcore.config.units import seconds


class FleetRedis(SharedRedis):
    """A Redis or Valkey that all instances use.

    maxWait  after which a call counts as failed.
    """

    max_wait: PositiveDuration = seconds(1)


class FleetPeers(Model):
    """How instances are counted without a store.

    addresses  URLs of the others: http://10.0.0.2:8080/ping. Those that answer with 200 count, and this one.
    dns        a name whose addresses are all instances: that of a headless service of Kubernetes.
    timeout    of a question.
    """

    addresses: list[str] = []
    dns: str = ""
    timeout: PositiveDuration = seconds(1)

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
