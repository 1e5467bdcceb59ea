"""What a request counts as coming from: an address, a header, or the host it asks for. No I/O.

Shared by the middlewares that allow or limit sources.
"""

from pydantic import Field, ValidationInfo, field_validator

from lbcore.config.middlewares.header_names import HeaderName
from lbcore.config.model import Model
from lbcore.config.network import check_networks
from lbcore.config.numbers import OrNone


class IPStrategy(Model):
    """Which address counts as the client's; without any option that of the connection.

    depth         that many entries from the right of X-Forwarded-For; below 0 as 0, as in Traefik. `excluded_ips` then
                  are not looked at.
    excluded_ips  the first entry from the right of X-Forwarded-For that is in none of these networks.
    ipv6_subnet   bits of an IPv6 address that count: the others are zero. Not with `excluded_ips`, as in Traefik.
    """

    may_be_empty = True

    depth: OrNone = 0
    excluded_ips: list[str] = Field(default=[], alias="excludedIPs")
    ipv6_subnet: int | None = None

    @field_validator("excluded_ips")
    @classmethod
    def _networks(cls, values: list[str], info: ValidationInfo) -> list[str]:
        return values if info.data.get("depth") else check_networks(values)

    @field_validator("ipv6_subnet")
    @classmethod
    def _bits(cls, value: int | None) -> int | None:
        if value is not None and not 0 < value <= 128:
            raise ValueError(f"invalid IPv6 subnet {value} value, should be greater to 0 and lower or equal to 128")
        return value

    def without_effect(self) -> list[str]:
        """Options that another one of them keeps from having an effect."""
        found = []
        if self.depth and self.excluded_ips:
            found.append("ipStrategy.excludedIPs has no effect: depth says which address counts")
        if self.ipv6_subnet is not None and self.excluded_ips and not self.depth:
            found.append("ipStrategy.ipv6Subnet has no effect with excludedIPs")
        return found


class SourceCriterion(Model):
    """At most one of the three; with none of them the middleware has its default."""

    ip_strategy: IPStrategy | None = None
    request_header_name: HeaderName = ""
    request_host: bool = False

    @property
    def is_empty(self) -> bool:
        return self.ip_strategy is None and not self.request_header_name and not self.request_host

    def without_effect(self) -> list[str]:
        return [] if self.ip_strategy is None else self.ip_strategy.without_effect()
