"""Active checks of one service: each server has a loop of its own, so that a slow server delays no other."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping

from lbcore.config.dynamic import HealthCheck
from lbcore.config.tcp import TcpHealthCheck
from lbcore.config.tls import ServerTls
from lbcore.config.udp import UdpHealthCheck
from lbcore.errors import OUR_LACK
from lbcore.health.patience import within
from lbcore.health.probe import Probe, ProbeError, probe_for, tcp_probe_for
from lbcore.health.udp import udp_probe_for
from lbcore.state.cells import CHECK
from lbcore.state.check_result import CheckResult
from lbcore.state.region import Region

JITTER = 0.1  # part of the interval, either way, so that the checks of many instances and servers spread
SHORTEST_S = 0.01

_log = logging.getLogger("lbcore.health")


class ServiceCheck:
    """The running checks of a service. They alone set the reason CHECK in the servers' cells.

    tls  the TLS settings of servers whose checks may use TLS, by URL.
    """

    def __init__(
        self, name: str, check: HealthCheck | TcpHealthCheck, region: Region, tls: Mapping[str, ServerTls] | None = None
    ) -> None:
        self.name = name
        self.check = check
        self.tls = tls or {}
        self.results: dict[str, CheckResult] = {}  # of the last check, by URL
        self._region = region
        self._tasks: dict[str, tuple[int, asyncio.Task[None]]] = {}  # by URL: slot and loop

    def watch(self, servers: Mapping[str, int]) -> None:
        """Check these servers from now on: URL to slot. Checks of servers that stay continue undisturbed."""
        for url in [url for url, (slot, _) in self._tasks.items() if servers.get(url) != slot]:
            self._tasks.pop(url)[1].cancel()
            self.results.pop(url, None)
        for url, slot in servers.items():
            if url not in self._tasks:
                task = asyncio.create_task(self._keep_asking(url, slot), name=f"health of {url}")
                self._tasks[url] = slot, task
                if self.check.start_down:
                    self._region.set_up(slot, False, CHECK)

    def stop(self, forget: bool) -> None:
        """End the checks; with `forget`, clear their verdicts."""
        for slot, task in self._tasks.values():
            task.cancel()
            if forget:
                self._region.set_up(slot, True, CHECK)
        self._tasks.clear()

    async def _keep_asking(self, url: str, slot: int) -> None:
        check, region = self.check, self._region
        try:
            if isinstance(check, UdpHealthCheck):
                probe = udp_probe_for(url, check)
            elif isinstance(check, TcpHealthCheck):
                probe = tcp_probe_for(url, check, self.tls.get(url))
            else:
                probe = probe_for(url, check, self.tls.get(url))
        except (ValueError, ImportError) as unusable:
            self.results[url] = CheckResult(f"it cannot be asked: {unusable}", 0, time.monotonic())
            region.set_up(slot, False, CHECK)
            _log.error("Health check cannot be made. service=%s url=%s error=%s", self.name, url, unusable)
            return
        in_a_row = 0  # consecutive answers that contradict the status
        first = True
        while True:
            asked_s = time.monotonic()
            error = await self._ask(probe)
            if error is None:
                await asyncio.sleep(max(check.interval.total_seconds(), SHORTEST_S))
                continue
            down = bool(region.down_reasons(slot) & CHECK)
            now_s = time.monotonic()
            self.results[url] = CheckResult(error, now_s - asked_s, now_s)
            in_a_row = in_a_row + 1 if down != bool(error) else 0
            # The first answer of a server that starts down decides, without a threshold.
            if in_a_row and ((first and check.start_down) or in_a_row >= (check.fall if error else check.rise)):
                in_a_row = 0
                region.set_up(slot, not error, CHECK)
                if error:
                    _log.warning("Health check failed. service=%s url=%s error=%s", self.name, url, error)
                else:
                    _log.warning("Health check succeeded. service=%s url=%s", self.name, url)
            first = False
            interval = check.interval
            if region.down_reasons(slot) and check.unhealthy_interval is not None:
                interval = check.unhealthy_interval
            seconds = max(interval.total_seconds(), SHORTEST_S)
            await asyncio.sleep(seconds * random.uniform(1 - JITTER, 1 + JITTER))

    async def _ask(self, probe: Probe) -> str | None:
        """The reason why the server is unhealthy; empty = healthy. None = not known: this process lacks a resource."""
        timeout_s = self.check.timeout.total_seconds() or 5
        try:
            await within(timeout_s, probe())
        except TimeoutError:
            return f"no answer within {timeout_s:g} s"
        except (ProbeError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in OUR_LACK:
                _log.error("Health check cannot be made. service=%s error=%s", self.name, error)
                return None
            return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        except Exception as error:
            # Nothing that a server sends may end its checks.
            return f"{type(error).__name__}: {error}"
        return ""
