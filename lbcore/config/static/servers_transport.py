"""`serversTransport`, `tcpServersTransport`: connections to the servers of services that name no transport. No I/O."""

from typing import Annotated, ClassVar

from pydantic import Field

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.spiffe import Identity
from lbcore.config.tcp.servers_transports import TcpDialing
from lbcore.config.tls import ServerTls, TrustedServers


class StaticServersTransport(TrustedServers):
    """Settings of connections to the servers of services that name no transport."""

    max_idle_conns_per_host: Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)] = 200
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()


class StaticTcpServerTls(TrustedServers):
    """TLS to servers of layer 4 whose services name no transport."""

    may_be_empty: ClassVar[bool] = True


class StaticTcpServersTransport(TcpDialing):
    """Settings of connections to the servers of layer 4 of services that name no transport. As in Traefik,
    `terminationDelay` counts for services that name `default@internal`."""

    tls: StaticTcpServerTls | None = None

    def server_tls(self, identity: Identity | None = None) -> ServerTls:
        """The settings of servers that have `tls: true`."""
        return ServerTls() if self.tls is None else self.tls.server_tls(identity)
