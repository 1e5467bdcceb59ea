"""`serversTransport`: connections to the servers of services that name no transport. No I/O."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.model import keys
from lbcore.config.tls import TrustedServers


class StaticServersTransport(TrustedServers):
    """Settings of connections to the servers of services that name no transport."""

    missing = keys("spiffe", "name the certificates in http.serversTransports: rootCAs, certificates, peerCertURI")

    max_idle_conns_per_host: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 200
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()
