"""What the views are made from: the configuration in force, its services, and the shared state. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import StaticConfig
from lbcore.routing.compile import Table, compile_table
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


def _no_error(service: str, url: str) -> str:
    return ""


@dataclass
class Runtime:
    """One per instance; `update` follows its configurations.

    check_error  why the last active check of a server (service, URL) failed; empty when it did not.
    admin        URL of the admin server.
    """

    static: StaticConfig
    region: Region
    admin: str = ""
    check_error: Callable[[str, str], str] = _no_error
    dynamic: DynamicConfig = field(default_factory=DynamicConfig)
    slots: SlotMap = field(default_factory=SlotMap)
    table: Table | None = None
    reloads: int = 0
    last_reload_unix_s: float = 0.0
    started_unix_s: float = field(default_factory=time.time)

    def update(self, dynamic: DynamicConfig, slots: SlotMap) -> None:
        """Take over another configuration."""
        known = self.table.servers if self.table is not None else {}
        self.dynamic, self.slots = dynamic, slots
        # Compiled for its tree and its errors; no request is routed by it.
        self.table = compile_table(dynamic, self.static, slots, self.region, 0, known, None, self.admin)
        self.reloads += 1
        self.last_reload_unix_s = time.time()

    def errors(self, kind: str) -> Mapping[str, list[str]]:
        """Of the disabled objects of a kind (router, service, middleware), by qualified name."""
        if self.table is None:
            return {}
        return {entry.name: entry.errors for entry in self.table.disabled if entry.kind == kind}
