"""The health of every server of an instance: one per instance, whatever the number of workers."""

from __future__ import annotations

from lbcore.config.dynamic import DynamicConfig
from lbcore.health.active import ServiceCheck
from lbcore.health.passive import Ejections, Watched
from lbcore.state.region import Region
from lbcore.state.slots import SlotMap


class HealthMonitor:
    """Runs the checks of the configuration in force. Verdicts lie in the shared region: every worker sees them."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._checks: dict[str, ServiceCheck] = {}
        self._ejections = Ejections(region)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            await self._ejections.run()
        finally:
            for check in self._checks.values():
                check.stop(forget=False)

    def apply(self, dynamic: DynamicConfig, slots: SlotMap) -> None:
        """Check what another configuration says; what stays the same goes on undisturbed, and every verdict stays."""
        checks: dict[str, ServiceCheck] = {}
        passive: dict[int, Watched] = {}
        for name, service in dynamic.http.services.items():
            balancer = service.load_balancer
            if balancer is None:
                continue
            servers = {server.url: slots.servers[f"{name}|{server.url}"] for server in balancer.servers}
            if balancer.health_check is not None:
                check = self._checks.pop(name, None)
                if check is not None and check.check != balancer.health_check:
                    check.stop(forget=False)
                    check = None
                checks[name] = check or ServiceCheck(name, balancer.health_check, self._region)
                checks[name].watch(servers)
            if balancer.passive_health_check is not None:
                timed = balancer.health_check is None
                for url, slot in servers.items():
                    passive[slot] = Watched(slot, name, url, balancer.passive_health_check, timed)
        for gone in self._checks.values():
            gone.stop(forget=True)
        self._checks = checks
        self._ejections.watch(passive)

    def error(self, service: str, url: str) -> str:
        """Why the last active check of a server failed; empty when it did not."""
        check = self._checks.get(service)
        return check.errors.get(url, "") if check else ""
