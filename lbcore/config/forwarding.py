"""How long lbcore waits for servers: what static and dynamic transports share. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model, keys
from lbcore.config.units import Duration, seconds


class ForwardingTimeouts(Model):
    """0 = no limit."""

    ignored = keys("readIdleTimeout pingTimeout", "servers are spoken to in HTTP/1.1")

    dial_timeout: Duration = seconds(30)
    response_header_timeout: Duration = seconds(0)
    idle_conn_timeout: Duration = seconds(90)
