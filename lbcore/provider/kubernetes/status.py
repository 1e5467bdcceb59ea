"""Statuses of objects, written by the one instance that holds the lease, and only where they say something new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from lbcore.provider.kubernetes.client import KubernetesClient, Thing
from lbcore.provider.kubernetes.lease import Lease
from lbcore.provider.kubernetes.wanted import Wanted
from lbcore.provider.kubernetes.watch import Snapshot
from lbcore.provider.web import AnswerError

AGAIN_S = 10.0  # what could not be written is tried again after this time
WHEN = "lastTransitionTime"


class StatusWriter:
    """problems  why statuses cannot be written, for the next reading. `changed` is called when they are others."""

    def __init__(self, client: KubernetesClient, lease: Lease, changed: Callable[[], None]) -> None:
        self.problems: list[str] = []
        self._client = client
        self._lease = lease
        self._changed = changed
        self._due = asyncio.Event()
        self._wanted: list[Wanted] = []
        # Of each object: the status that was wanted last, the object then, and whether they differed.
        self._known: dict[tuple[str, str, str], tuple[Wanted, Thing, bool]] = {}

    def want(self, wanted: Sequence[Wanted], snapshot: Snapshot) -> None:
        """Have these statuses written, as far as they are not those that are known."""
        known, self._known = self._known, {}
        self._wanted = []
        for each in wanted:
            key = (each.kind.name, each.namespace, each.name)
            thing = snapshot.find(*key)
            if thing is None:
                continue
            before = known.get(key)
            if before is not None and before[0] is each and before[1] is thing:
                differs = before[2]
            else:
                differs = _differs(thing.get("status") or {}, each)
            self._known[key] = each, thing, differs
            if differs:
                self._wanted.append(each)
        self._due.set()

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lease.run(self._due.set), name="lease")
            group.create_task(self._write_all(), name="statuses")

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._due.wait()
            self._due.clear()
            problems: list[str] = []
            if self._lease.problem:
                problems.append(f"statuses are not written: Lease {self._lease.place}: {self._lease.problem}")
            rest = []
            for wanted in self._wanted if self._lease.is_held else ():
                if not self._lease.is_held:
                    break
                try:
                    await self._write(wanted)
                except AnswerError as error:
                    rest.append(wanted)
                    problems.append(f"the status of {wanted.text} cannot be written: {error}")
            if self._lease.is_held:
                self._wanted = rest
            if rest:
                loop.call_later(AGAIN_S, self._due.set)
            if problems != self.problems:
                self.problems = problems
                self._changed()

    async def _write(self, wanted: Wanted) -> None:
        try:
            thing = await self._client.get(wanted.path)
        except AnswerError as error:
            if error.status == 404:
                return
            raise
        status = thing.get("status") or {}
        if not _differs(status, wanted):
            return
        changed = {**thing, "status": wanted.make(status)}
        code, answer = await self._client.write("PUT", f"{wanted.path}/status", changed)
        if code not in (200, 201, 404, 409):  # what was changed meanwhile is read, and comes here again
            raise AnswerError(f"it answers {code}: {answer.get('message')}", code)


def _differs(status: Thing, wanted: Wanted) -> bool:
    return bool(timeless(status) != timeless(wanted.make(status)))


def timeless(value: Any) -> Any:
    """Without the times at which something became so."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != WHEN}
    return [timeless(item) for item in value] if isinstance(value, list) else value
