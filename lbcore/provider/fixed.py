"""A configuration that does not change: of servers that the command line names."""

from __future__ import annotations

import asyncio

from lbcore.config.dynamic import DynamicConfig
from lbcore.provider.base import Publish, Update


class FixedProvider:
    """Publishes one configuration, and again at each reload."""

    def __init__(self, name: str, config: DynamicConfig) -> None:
        self.name = name
        self._config = config
        self._publish: Publish | None = None

    async def run(self, publish: Publish) -> None:
        """Publish it, until cancelled."""
        self._publish = publish
        self.reload()
        await asyncio.Event().wait()

    def reload(self) -> None:
        """Publish it again."""
        if self._publish is not None:
            self._publish(Update(self.name, self._config, is_read=True))
