"""`http.serversTransports`: how servers are spoken to. No I/O."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.model import Object, keys


class ServersTransport(Object):
    """How servers are spoken to. `maxIdleConnsPerHost` 0: 2, as in Traefik."""

    ignored = keys(
        "serverName insecureSkipVerify rootCAs certificates cipherSuites minVersion maxVersion disableHTTP2 "
        "peerCertURI spiffe",
        "servers are spoken to without TLS by this version of lbcore",
    )
    meant: ClassVar[str] = "the name of a transport is missing: write serversTransports: {NAME: {...}}"

    max_idle_conns_per_host: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 0
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()
