"""From settings of TLS towards servers to what connections are made by. OpenSSL is loaded when one asks for TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lbcore.config.tls import ServerTls
from lbcore.routing.server import Server

if TYPE_CHECKING:
    from lbcore.tls.connector import Connector, Target


def is_made_by(server: Server, settings: ServerTls | None) -> bool:
    """Whether the connections of a server are made by these settings; None: without TLS."""
    if server.target is None or settings is None:
        return server.target is None and settings is None
    return server.target.connector.settings == settings


class TargetCompiler:
    """Makes a Target for each server, with one Connector for all that have the same settings.

    known  servers in force, whose Connectors are used again.
    """

    def __init__(self, known: Mapping[str, Server]) -> None:
        targets = (server.target for server in known.values() if server.target is not None)
        self._connectors: dict[ServerTls, Connector] = {
            target.connector.settings: target.connector for target in targets
        }

    def target(self, settings: ServerTls | None, host: str) -> Target | None:
        """None without settings. Raises ValueError for those that cannot be used; ImportError: there is no OpenSSL."""
        if settings is None:
            return None
        from lbcore.tls.connector import Connector, Target

        if settings not in self._connectors:
            self._connectors[settings] = Connector(settings)
        return Target(self._connectors[settings], host)
