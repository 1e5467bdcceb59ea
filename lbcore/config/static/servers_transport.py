"""`serversTransport`: how servers are spoken to where a service names no transport of its own. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.model import keys
from lbcore.config.tls import TrustedServers


class StaticServersTransport(TrustedServers):
    """How servers are spoken to where a service names no transport of its own."""

    missing = keys("spiffe", "name the certificates in http.serversTransports: rootCAs, certificates, peerCertURI")

    max_idle_conns_per_host: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 200
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()
