"""`providers.nomad`: the services that are registered in Nomad, by their tags, and the checks of their allocations."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from lbcore.config.json_text import read_json
from lbcore.config.static.providers import NomadProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.consul_api import AgentClient
from lbcore.provider.follow import Reading
from lbcore.provider.tags import Instance, TagStore
from lbcore.provider.web import AnswerError, WebClient

AT_ONCE = 16  # services, allocations or jobs that are asked for at the same time
CALL_S = 30.0
QUIET_S = 40.0  # the stream of events has a sign of life every 10 s

Answer = dict[str, Any]
_log = logging.getLogger("lbcore.provider.nomad")


class NomadStore(TagStore):
    """Services in Nomad. Raises ConfigError for settings that cannot be used.

    namespace  empty: that of the token, or `default`.
    """

    _settings: NomadProvider
    _client: AgentClient

    def __init__(self, settings: NomadProvider, namespace: str) -> None:
        name = f"nomad-{namespace}" if namespace else "nomad"
        endpoint = settings.endpoint
        self._web = WebClient(
            "nomad",
            "nomad",
            endpoint.address if "://" in endpoint.address else f"http://{endpoint.address}",
            tls=endpoint.tls,
            headers={"X-Nomad-Token": endpoint.token} if endpoint.token else {},
            waits_s=CALL_S,
        )
        query = {"namespace": namespace, "region": endpoint.region, "stale": "true" if settings.stale else ""}
        self._query = {key: value for key, value in query.items() if value}
        client = AgentClient(self._web, self._query, "x-nomad", endpoint.endpoint_wait_time.total_seconds())
        super().__init__("nomad", name, "nomad", settings, client)
        self._refused: set[str] = set()  # what the token may not see, which was logged

    async def changes(self) -> AsyncIterator[None]:
        """See Store. The stream tells of services that come and go; checks are seen by asking again."""
        if self._settings.watch:
            try:
                async with self._web.lines(
                    "/v1/event/stream", {**self._query, "topic": "Service"}, quiet_s=QUIET_S
                ) as lines:
                    yield
                    async for line in lines:
                        if read_json(line).get("Events"):
                            yield
                raise AnswerError("it has ended the stream of events")
            except AnswerError as error:
                if error.status not in (403, 404):
                    raise
                self._lack("events", error)
        yield
        await asyncio.Event().wait()

    async def read(self) -> Reading:
        """See Store."""
        listed = [each for entry in await self._list("/v1/services") for each in entry.get("Services") or []]
        names, problems = self.names((str(each.get("ServiceName") or ""), each.get("Tags") or []) for each in listed)
        answers = await self._each([f"/v1/service/{quote(name, safe='')}" for name in names])
        instances = [(name, entry) for name, found in zip(names, answers, strict=True) for entry in found or []]
        failing = await self._failing([str(entry.get("AllocID") or "") for _, entry in instances])
        found = [self._instance(name, entry, failing) for name, entry in instances]
        if self._settings.allow_empty_services:
            found += await self._empty()
        again_s = self._settings.refresh_interval.total_seconds() * random.uniform(0.9, 1.1)
        reading = await asyncio.to_thread(self.reading, found, again_s)
        return Reading(reading.config, (*problems, *reading.problems), reading.warnings, reading.again_s)

    async def _list(self, path: str) -> list[Answer]:
        answer = await self._client.ask(path, is_all=True)
        if not isinstance(answer, list):
            raise ConfigError([Problem("", f"the answer to {path} is no list")])
        return answer

    async def _each(self, paths: list[str]) -> list[Any]:
        """The answers to several questions; None for what does not exist any more."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(path: str) -> Any:
            async with slots:
                return await self._client.ask(path, missing=False) or None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(path)) for path in paths]
        return [task.result() for task in tasks]

    async def _failing(self, allocations: list[str]) -> dict[str, set[str]]:
        """The services with a check that has not succeeded, by allocation."""
        found: dict[str, set[str]] = {}
        if not self._settings.checks:
            return found
        wanted = [allocation for allocation in dict.fromkeys(allocations) if allocation]
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(allocation: str) -> None:
            async with slots:
                try:
                    checks = await self._client.ask(f"/v1/allocation/{quote(allocation, safe='')}/checks")
                except AnswerError as error:
                    if not error.status:
                        raise
                    # Its node cannot be asked, or the token may not: it is what the list says.
                    self._lack("the checks of allocations", error)
                    return
            for check in checks.values() if isinstance(checks, dict) else []:
                if check.get("Status") != "success":
                    found.setdefault(allocation, set()).add(str(check.get("Service") or ""))

        async with asyncio.TaskGroup() as group:
            for allocation in wanted:
                group.create_task(ask(allocation))
        return found

    def _instance(self, name: str, entry: Answer, failing: dict[str, set[str]]) -> Instance:
        bad = failing.get(str(entry.get("AllocID") or ""), set())
        return Instance(
            str(entry.get("ID") or ""),
            name,
            tuple(str(tag) for tag in entry.get("Tags") or []),
            str(entry.get("Address") or ""),
            int(entry.get("Port") or 0),
            int(entry.get("CreateIndex") or 0),
            not ({name, ""} & bad),
        )

    async def _empty(self) -> list[Instance]:
        """Services of groups that are scaled to none, which no list of services has."""
        jobs = await self._list("/v1/jobs")
        details = await self._each([f"/v1/job/{quote(str(job.get('ID')), safe='')}" for job in jobs])
        found = []
        for job in filter(None, details):
            for group in job.get("TaskGroups") or []:
                if int(group.get("Count") or 0) > 0 or job.get("Stop"):
                    continue
                services = [*(group.get("Services") or [])]
                for task in group.get("Tasks") or []:
                    services += task.get("Services") or []
                for service in services:
                    tags = tuple(str(tag) for tag in service.get("Tags") or [])
                    key = f"{job.get('ID')}/{group.get('Name')}/{service.get('Name')}"
                    found.append(Instance(key, str(service.get("Name") or ""), tags, "", 1, 0, False))
        return found

    def _lack(self, what: str, error: AnswerError) -> None:
        """Log once what cannot be had."""
        if what not in self._refused:
            self._refused.add(what)
            _log.warning("provider %s: %s: %s cannot be had: %s", self.name, self.place, what, error)
