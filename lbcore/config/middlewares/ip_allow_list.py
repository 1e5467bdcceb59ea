"""`ipAllowList`, and `ipWhiteList`, its old form: only requests from some networks pass. No I/O."""

from http import HTTPStatus

from pydantic import field_validator

from lbcore.config.middlewares.source import IPStrategy
from lbcore.config.model import Model
from lbcore.config.network import NetworkList

STATUSES = frozenset(int(status) for status in HTTPStatus if status >= 200)


class IPWhiteList(Model):
    source_range: NetworkList = []
    ip_strategy: IPStrategy | None = None

    def without_effect(self) -> list[str]:
        return [] if self.ip_strategy is None else self.ip_strategy.without_effect()


class IPAllowList(IPWhiteList):
    """reject_status_code  0: 403."""

    reject_status_code: int = 0

    @field_validator("reject_status_code")
    @classmethod
    def _status(cls, value: int) -> int:
        if value and value not in STATUSES:
            raise ValueError(f"invalid HTTP status code {value}")
        return value
