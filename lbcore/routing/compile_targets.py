"""Compilation of the TLS settings towards servers to targets. OpenSSL is loaded if a server uses TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lbcore.config.tls import ServerTls
from lbcore.routing.server import Server

if TYPE_CHECKING:
    from lbcore.tls.connector import Connector, Target


def is_made_by(server: Server, settings: ServerTls | None) -> bool:
    """Whether the connections of a server have these settings; None = no TLS."""
    if server.target is None or settings is None:
        return server.target is None and settings is None
    return server.target.connector.settings == settings


class TargetCompiler:
    """Makes a Target for each server, and one Connector for all servers with the same settings.

    known  servers in force, whose Connectors are reused.
    """

    def __init__(self, known: Mapping[str, Server]) -> None:
        self._known = known
        self._connectors: dict[ServerTls, Connector] | None = None  # by their settings; None: no one has asked yet

    def target(self, settings: ServerTls | None, host: str) -> Target | None:
        """The target of a host; None without settings. Raises ValueError, or ImportError without OpenSSL."""
        if settings is None:
            return None
        from lbcore.tls.connector import Connector, Target

        if self._connectors is None:
            targets = [server.target for server in self._known.values() if server.target is not None]
            self._connectors = {target.connector.settings: target.connector for target in targets}
        if settings not in self._connectors:
            self._connectors[settings] = Connector(settings)
        return Target(self._connectors[settings], host)
