"""`providers.consulCatalog`: the services that are registered in Consul, by their tags.

Two blocking queries tell of changes: one of the list of services with their tags, and one of all checks. Both tell the
services that are concerned, and those alone are asked for. A registration that changes neither is seen by the index
of the list, and then all are asked for: by service, or by node if there are fewer nodes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

from lbcore.config.static.providers import ConsulCatalogProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.consul_api import AgentClient
from lbcore.provider.follow import Reading
from lbcore.provider.tags import Instance, TagStore
from lbcore.provider.web import WebClient

AT_ONCE = 16  # services that are asked for at the same time
CALL_S = 30.0
SAFETY = 4  # intervals between two readings of all while changes are watched
OWN = "consul"  # the service by which servers of Consul know each other: not exposed unless its tags say so
SERVICES, CHECKS = "/v1/catalog/services", "/v1/health/state/any"
_WORST = ("maintenance", "critical", "warning", "passing")

Answer = dict[str, Any]


class CatalogStore(TagStore):
    """Services in Consul. Raises ConfigError for settings that cannot be used.

    namespace  of Consul Enterprise; empty: that of the token.
    """

    _settings: ConsulCatalogProvider
    _client: AgentClient

    def __init__(self, settings: ConsulCatalogProvider, namespace: str) -> None:
        name = f"consulcatalog-{namespace}" if namespace else "consulcatalog"
        endpoint, auth = settings.endpoint, settings.endpoint.http_auth
        address = endpoint.address
        if "://" not in address:
            secure = endpoint.tls is not None and not endpoint.scheme
            address = f"{'https' if secure else endpoint.scheme or 'http'}://{address}"
        web = WebClient(
            "consulCatalog",
            "consul",
            address,
            tls=endpoint.tls,
            username=auth.username if auth is not None else "",
            password=auth.password if auth is not None else "",
            headers={"X-Consul-Token": endpoint.token} if endpoint.token else {},
            waits_s=CALL_S,
        )
        query = {"ns": namespace, "dc": endpoint.datacenter}
        query = {key: value for key, value in query.items() if value}
        flags = {"stale": settings.stale, "consistent": settings.require_consistent, "cached": settings.cache}
        query |= {flag: "" for flag, is_set in flags.items() if is_set}
        client = AgentClient(web, query, "x-consul", endpoint.endpoint_wait_time.total_seconds())
        super().__init__("consulCatalog", name, "consulcatalog", settings, client)
        self._known: dict[str, list[Answer]] = {}  # instances by service
        self._dirty: set[str] = set()  # services of which a check has changed since the last reading
        self._all = True  # any service may have changed
        self._tags: dict[str, frozenset[str]] = {}  # of all instances of each service
        self._checks: dict[str, frozenset[tuple[str, ...]]] = {}  # by service; "" has those of nodes

    async def changes(self) -> AsyncIterator[None]:
        """See Store."""
        if not self._settings.watch:
            yield
            await asyncio.Event().wait()
        answers: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._all = True
        tasks = [asyncio.create_task(self._follow(path, answers)) for path in (SERVICES, CHECKS)]
        seen: set[str] = set()
        try:
            while True:
                path, answer = await answers.get()
                if isinstance(answer, Exception):
                    raise answer
                seen.add(path)
                if path == SERVICES:
                    self._heed_tags(answer)
                else:
                    self._heed(answer)
                if len(seen) == len(tasks):
                    yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, path: str, answers: asyncio.Queue[tuple[str, Any]]) -> None:
        try:
            async for answer in self._client.blocks(path):
                answers.put_nowait((path, answer))
        except Exception as error:
            answers.put_nowait((path, error))

    def _heed_tags(self, services: Any) -> None:
        """Record of which services the tags have changed; if of none, an instance like others has come or gone."""
        listed = services.items() if isinstance(services, dict) else ()
        now = {str(name): frozenset(map(str, tags or [])) for name, tags in listed}
        changed = {name for name in now.keys() | self._tags.keys() if now.get(name) != self._tags.get(name)}
        self._tags = now
        self._all |= not changed
        self._dirty |= changed

    def _heed(self, checks: Any) -> None:
        """Record of which services the checks have changed."""
        found: dict[str, set[tuple[str, ...]]] = {}
        for check in checks if isinstance(checks, list) else []:
            state = tuple(str(check.get(key) or "") for key in ("Node", "CheckID", "ServiceID", "Status"))
            found.setdefault(str(check.get("ServiceName") or ""), set()).add(state)
        now = {name: frozenset(states) for name, states in found.items()}
        changed = {name for name in now.keys() | self._checks.keys() if now.get(name) != self._checks.get(name)}
        self._checks = now
        self._all |= "" in changed
        self._dirty |= changed

    async def read(self) -> Reading:
        """See Store."""
        everything = self._all or not self._dirty
        dirty, self._dirty, self._all = self._dirty, set(), False
        try:
            services = await self._client.ask(SERVICES, is_all=True)
            if not isinstance(services, dict):
                raise ConfigError([Problem("", "the answer is no list of services")])
            names, problems = self.names(
                (name, tags or []) for name, tags in services.items() if name != OWN or self.labels(tags or [])
            )
            nodes = await self._nodes() if everything else []
            if everything and len(nodes) < len(names):
                await self._ask_nodes(nodes)
            else:
                await self._ask_for([name for name in names if everything or name in dirty or name not in self._known])
        except BaseException:
            self._dirty |= dirty
            self._all |= everything
            raise
        self._known = {name: self._known[name] for name in names if name in self._known}
        interval_s = self._settings.refresh_interval.total_seconds() * (SAFETY if self._settings.watch else 1)
        again_s = interval_s * random.uniform(0.9, 1.1)
        reading = await asyncio.to_thread(lambda: self.reading(self._instances(), again_s))
        return Reading(reading.config, (*problems, *reading.problems), reading.warnings, reading.again_s)

    async def _nodes(self) -> list[str]:
        answer = await self._client.ask("/v1/catalog/nodes")
        return [str(node.get("Node")) for node in answer] if isinstance(answer, list) else []

    async def _ask_nodes(self, nodes: list[str]) -> None:
        """Ask for all services by the nodes on which they are registered."""
        slots = asyncio.Semaphore(AT_ONCE)
        answers: dict[str, Answer] = {}

        async def ask(name: str) -> None:
            async with slots:
                answers[name] = await self._client.ask(f"/v1/catalog/node/{quote(name, safe='')}") or {}

        async with asyncio.TaskGroup() as group:
            for name in nodes:
                group.create_task(ask(name))
        # After that, so that an instance which has come meanwhile is not taken for one without checks.
        checks: dict[tuple[str, str], list[Answer]] = {}
        for check in await self._client.ask(CHECKS):
            checks.setdefault((str(check.get("Node")), str(check.get("ServiceID") or "")), []).append(check)
        found: dict[str, list[Answer]] = {}
        for name, answer in answers.items():
            for service in (answer.get("Services") or {}).values():
                of_both = checks.get((name, ""), []) + checks.get((name, str(service.get("ID"))), [])
                entry = {"Node": answer["Node"], "Service": service, "Checks": of_both}
                found.setdefault(str(service.get("Service")), []).append(entry)
        self._known = found

    async def _ask_for(self, names: list[str]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(name: str) -> None:
            async with slots:
                answer = await self._client.ask(f"/v1/health/service/{quote(name, safe='')}")
            if not isinstance(answer, list):
                raise ConfigError([Problem("", f"the answer is no list of instances of {name}")])
            self._known[name] = answer

        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(ask(name))

    def _instances(self) -> Iterator[Instance]:
        strict = self._settings.strict_checks
        for name, entries in self._known.items():
            for entry in entries:
                service, node = entry.get("Service") or {}, entry.get("Node") or {}
                status = _status(entry.get("Checks") or [])
                yield Instance(
                    f"{node.get('Node')}/{service.get('ID')}",
                    name,
                    tuple(str(tag) for tag in service.get("Tags") or []),
                    str(service.get("Address") or node.get("Address") or ""),
                    int(service.get("Port") or 0),
                    int(service.get("ModifyIndex") or 0),
                    status in strict or "any" in strict,
                )


def _status(checks: list[Answer]) -> str:
    """The worst state of the checks of an instance and its node, as Consul has it."""
    states = set()
    for check in checks:
        name = str(check.get("CheckID") or "")
        is_maintenance = name == "_node_maintenance" or name.startswith("_service_maintenance:")
        states.add("maintenance" if is_maintenance else str(check.get("Status") or ""))
    return next((state for state in _WORST if state in states), "passing" if not states else "critical")
