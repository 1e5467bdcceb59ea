"""Timeouts towards servers, which static and dynamic transports share. No I/O."""

from lbcore.config.model import Model
from lbcore.config.units import Duration, LimitDuration, seconds


class ForwardingTimeouts(Model):
    """0 = no limit. Values below 0 count as 0, except for dialTimeout, as in Traefik."""

    dial_timeout: Duration = seconds(30)
    response_header_timeout: LimitDuration = seconds(0)
    idle_conn_timeout: LimitDuration = seconds(90)
    read_idle_timeout: LimitDuration = seconds(0)
    ping_timeout: LimitDuration = seconds(15)
