"""How long lbcore waits for servers: what static and dynamic transports share. No I/O."""

from __future__ import annotations

from lbcore.config.model import Model, keys
from lbcore.config.units import Duration, LimitDuration, seconds


class ForwardingTimeouts(Model):
    """0 = no limit; but for dialTimeout, below 0 is as 0, as in Traefik."""

    ignored = keys("readIdleTimeout pingTimeout", "servers are spoken to in HTTP/1.1")

    dial_timeout: Duration = seconds(30)
    response_header_timeout: LimitDuration = seconds(0)
    idle_conn_timeout: LimitDuration = seconds(90)
