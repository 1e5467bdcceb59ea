"""`tcp.serversTransports`: how servers of layer 4 are connected to. No I/O."""

from datetime import timedelta
from typing import ClassVar

from lbcore.config.model import Model, Object
from lbcore.config.numbers import KeepAlive
from lbcore.config.tcp.services import ProxyProtocol
from lbcore.config.tls import NamedServers
from lbcore.config.units import Duration, SignedDuration


class TcpServerTls(NamedServers):
    """TLS to servers of layer 4."""

    may_be_empty: ClassVar[bool] = True


class TcpDialing(Model):
    """How connections to servers of layer 4 are made and ended. `terminationDelay` below 0: there is no limit."""

    dial_timeout: Duration = timedelta(seconds=30)
    dial_keep_alive: KeepAlive = timedelta(seconds=15)
    termination_delay: SignedDuration = timedelta(milliseconds=100)


class TcpServersTransport(Object, TcpDialing):
    """`tls`: of connections to servers that have `tls: true`."""

    may_be_empty: ClassVar[bool] = True
    meant: ClassVar[str] = "the name of a transport is missing: write serversTransports: {NAME: {...}}"

    proxy_protocol: ProxyProtocol | None = None
    tls: TcpServerTls | None = None
