"""Logs changes of services (which lose traffic or redundancy, and which recover) and of certificates."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lbcore.api.condition import LOST, service_problems
from lbcore.api.runtime import Runtime
from lbcore.api.unreached import Unreached
from lbcore.config.difference import changed_names, qualify
from lbcore.routing.table import Table

if TYPE_CHECKING:
    from lbcore.tls.describe import Described

CERTIFICATES_S = 3600.0  # longest interval of checks whether a certificate is about to end, or has ended
NAMED = 3  # routers that a line names; of more it tells the number
OF_HTTP = "service "  # how the problem of a service of HTTP begins
LOOK_S = 0.5  # interval of checks whether any server has gone up or down, which are cheap if none has

_log = logging.getLogger("lbcore.health")
_tls = logging.getLogger("lbcore.tls")


class ServiceWatch:
    """Compares the problems of services with the previous ones whenever a server changes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._seen: tuple[int, Table | None] = (-1, None)
        self._known: dict[str, dict[str, Any]] = {}
        self._all_lost = False
        self._since: dict[str, float] = {}  # by service: the monotonic time at which it lost something
        self._certificates = CertificateWatch(runtime)
        self._unreached = Unreached()
        self._looked_up: Table | None = None  # the table whose health checks have told which servers they watch

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look_at_counters()
            self.look()
            await self._certificates.look()

    def look_at_counters(self) -> None:
        """Find out which servers cannot be reached, and what is being lost."""
        runtime, region = self._runtime, self._runtime.region
        # Another configuration may have health checks where there were none, or none where there were.
        if self._unreached.look(region) or (self._unreached.since and runtime.table is not self._looked_up):
            before, runtime.unreached = runtime.unreached, _unwatched(runtime, self._unreached.since)
            self._looked_up = runtime.table
            if runtime.unreached != before:
                self._seen = (-1, self._seen[1])
        runtime.losses.look(
            {
                "lines of the access log": region.log_lines_lost,
                "lines of the log": runtime.log_lines_lost(),
                "spans for the collector": region.spans_lost,
                "records of the access log for the collector": region.log_records_lost,
            }
        )

    def look(self) -> None:
        """Log changes since the last look. Costs nothing if no server, weight or configuration has changed."""
        now = self._runtime.region.eligibility, self._runtime.table
        if now == self._seen or now[1] is None:
            return
        before, self._seen = self._seen, now
        names = None if before[0] != now[0] or before[1] is None else _touched(before[1], now[1])
        found = {problem["object"]: problem for problem in service_problems(self._runtime, names)}
        if names is not None:
            others = (about for about in self._known if about.startswith(OF_HTTP))
            found |= {about: self._known[about] for about in others if about.removeprefix(OF_HTTP) not in names}
        for about, problem in found.items():
            self._since.setdefault(about, time.monotonic())
            if self._known.get(about, {}).get("text") != problem["text"]:
                _log.warning("%s%s", problem["text"], _concerned(problem["traffic"]))
        for about in sorted(self._known.keys() - found.keys()):
            _log.info("%s is well again, after %.1f s", about, time.monotonic() - self._since.pop(about))
        self._known = found
        lost = sum(problem["severity"] == LOST and problem["share"] == 1.0 for problem in found.values())
        all_lost = lost > 0 and lost == sum(1 for _ in self._runtime.roots())
        if all_lost and not self._all_lost:
            _log.warning("DOWN: none of the services that routers lead to has a server for a request")
        elif self._all_lost and not all_lost:
            _log.warning("UP: a service that routers lead to has servers again")
        self._all_lost = all_lost


def _unwatched(runtime: Runtime, unreached: Mapping[int, float]) -> dict[int, float]:
    """Those of servers that no active health check watches: the check says it where there is one."""
    http, tcp = runtime.dynamic.http.services, runtime.dynamic.tcp.services
    found = {}
    for identity, slot in runtime.slots.servers.items():
        if slot in unreached:
            name = identity.partition("|")[0]
            service = tcp.get(name.removeprefix("tcp:")) if name.startswith("tcp:") else http.get(name)
            balancer = service.load_balancer if service is not None else None
            if balancer is not None and balancer.health_check is None:
                found[slot] = unreached[slot]
    return found


def _touched(before: Table, after: Table) -> set[str]:
    """The services of HTTP whose condition may differ in two tables although no server has changed."""
    was, now = before.made_of.services.http, after.made_of.services.http
    changed, gone = changed_names(was.routers, now.routers)
    out = {each.name for each in before.disabled} ^ {each.name for each in after.disabled}
    above: set[str] = set()  # what has another middleware may be led elsewhere
    touched = [("middleware", name) for some in changed_names(was.middlewares, now.middlewares) for name in some]
    for table in (before, after):
        above |= table.made_of.checked.users.above(touched)["router"]
    some = {*changed, *gone, *out, *above}
    routers = [(name, http.routers[name]) for http in (was, now) for name in some & http.routers.keys()]
    names = {qualify(router.service, name) for name, router in routers}
    for others in changed_names(before.services, after.services):
        names.update(others)
    return names


def _concerned(traffic: list[str]) -> str:
    """The routers that lead to a service."""
    if not traffic:
        return ""
    more = f", and {len(traffic) - NAMED} more" if len(traffic) > NAMED else ""
    return f"; router{'s' if len(traffic) > 1 else ''} {', '.join(traffic[:NAMED])}{more}"


class CertificateWatch:
    """Compares the certificates in force with the previous ones, and with the clock."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._table: Table | None = None
        self._due = 0.0
        self._known: dict[str, Described] = {}
        self._status: dict[str, str] = {}

    async def look(self) -> None:
        """Log what has changed since the last look. Costs nothing while the configuration stays, but for each hour, and
        when a certificate ends."""
        table, now = self._runtime.table, time.monotonic()
        if table is None or (table is self._table and now < self._due):
            return
        # They are read and described in a thread: there may be many.
        found = {each.fingerprint: each for each in await asyncio.to_thread(self._runtime.certificates)}
        # Those of the start are not told, unless another configuration has come before the first look.
        is_first = self._table is None and self._runtime.reload.generation <= 1
        left_s = [each.not_after.timestamp() - time.time() for each in found.values()]
        self._table, self._due = table, now + min([CERTIFICATES_S, *(rest + 1 for rest in left_s if rest > 0)])
        for fingerprint, each in found.items():
            if fingerprint not in self._known and not is_first:
                _tls.info("certificate for %s, until %s", _names(each), _day(each))
            status = _status(each)
            if status and status != self._status.get(fingerprint):
                level = logging.ERROR if status == "has expired" else logging.WARNING
                _tls.log(level, "the certificate for %s %s on %s", _names(each), status, _day(each))
        for each in (self._known[gone] for gone in self._known.keys() - found.keys()):
            _tls.info("certificate for %s, until %s, is gone", _names(each), _day(each))
        self._known = found
        self._status = {fingerprint: _status(each) for fingerprint, each in found.items()}


def _status(certificate: Described) -> str:
    """What is wrong with a certificate: less is left than its renewal leaves."""
    left_s = certificate.not_after.timestamp() - time.time()
    if left_s < 0:
        return "has expired"
    life_s = (certificate.not_after - certificate.not_before).total_seconds()
    return "expires" if left_s < min(life_s / 6, 14 * 86400) else ""


def _names(certificate: Described) -> str:
    names = list(certificate.dns_names) or [certificate.common_name or "no name"]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _day(certificate: Described) -> str:
    return f"{certificate.not_after:%Y-%m-%d}"
