"""`tcp.middlewares`: what may refuse a connection. No I/O."""

from pydantic import Field

from lbcore.config.model import Model, Object, fields_of
from lbcore.config.network import NetworkList
from lbcore.config.numbers import Size


class IPAllowList(Model):
    source_range: NetworkList = []


class InFlightConn(Model):
    """Connections of one client at once; what is beyond is closed. Without `amount`: none, as in Traefik."""

    amount: Size = 0


class TcpMiddleware(Object):
    """Exactly one kind."""

    renamed = {"ipWhiteList": "ipAllowList"}

    ip_allow_list: IPAllowList | None = Field(default=None, alias="ipAllowList")
    in_flight_conn: InFlightConn | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a middleware that can run."""
        return [name for name in fields_of(type(self)) if getattr(self, name) is not None]
