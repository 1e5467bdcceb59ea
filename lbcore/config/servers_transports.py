"""`http.serversTransports`: connections to servers. No I/O."""

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.model import Object
from lbcore.config.spiffe import Identity
from lbcore.config.tls import NamedServers, ServerTls


class ServersTransport(Object, NamedServers):
    """Settings of connections to servers. `maxIdleConnsPerHost` 0 means 2, as in Traefik."""

    meant: ClassVar[str] = "the name of a transport is missing: write serversTransports: {NAME: {...}}"

    max_idle_conns_per_host: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 0
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()
    disable_http2: Annotated[bool, Field(alias="disableHTTP2")] = False
    cipher_suites: list[str] = []
    min_version: str = ""
    max_version: str = ""

    def server_tls(self, identity: Identity | None = None) -> ServerTls:
        return replace(
            super().server_tls(identity),
            cipher_suites=tuple(self.cipher_suites),
            min_version=self.min_version,
            max_version=self.max_version,
        )
