"""`tcp.serversTransports`: how servers of layer 4 are connected to. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from lbcore.config.model import Model, keys
from lbcore.config.tcp.services import ProxyProtocol
from lbcore.config.units import Duration


class TcpServersTransport(Model):
    unsupported: ClassVar[frozenset[str]] = keys("tls")

    dial_timeout: Duration = timedelta(seconds=30)
    dial_keep_alive: Duration = timedelta(seconds=15)
    termination_delay: Duration = timedelta(milliseconds=100)
    proxy_protocol: ProxyProtocol | None = None
