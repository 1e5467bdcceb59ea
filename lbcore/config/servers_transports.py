"""`http.serversTransports`: how servers are spoken to. No I/O."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.model import Model, keys


class ServersTransport(Model):
    """How servers are spoken to. `maxIdleConnsPerHost` 0: 2, as in Traefik."""

    unsupported: ClassVar[frozenset[str]] = keys(
        "serverName insecureSkipVerify rootCAs certificates cipherSuites minVersion maxVersion disableHTTP2 "
        "peerCertURI spiffe"
    )

    max_idle_conns_per_host: Annotated[int, Field(ge=-1)] = 0
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()
