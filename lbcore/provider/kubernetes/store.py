"""A cluster as a store: what its kinds mean is published, and statuses are written if there are any."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from lbcore.config.static.kubernetes import KubernetesProvider
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.access import access_of
from lbcore.provider.kubernetes.client import KubernetesClient
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.lease import Lease
from lbcore.provider.kubernetes.status import StatusWriter
from lbcore.provider.kubernetes.wanted import Wanted
from lbcore.provider.kubernetes.watch import Cluster, Kind, Snapshot, failure_lines


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a snapshot means, and the statuses that its objects should have."""

    reading: Reading
    statuses: tuple[Wanted, ...] = ()


class KubernetesStore:
    """A cluster.

    name      of the provider; `section`: of its settings below `providers`.
    make      makes the outcome of a snapshot.
    lease     namespace/name of the lease that the writer of statuses holds; empty: no statuses are written.
    Raises ConfigError for settings that cannot be used.
    """

    def __init__(
        self,
        name: str,
        section: str,
        settings: KubernetesProvider,
        kinds: Sequence[Kind],
        make: Callable[[Snapshot, Memory], Outcome],
        lease: str = "",
    ) -> None:
        self.name = name
        self._kinds = kinds
        self._make = make
        self._memory = Memory()
        access = access_of(section, settings)
        self._client = KubernetesClient(section, access)
        self._cluster = Cluster(self._client, kinds, settings.namespaces)
        namespace, _, of_lease = lease.rpartition("/")
        self._lease = (namespace or access.namespace, of_lease)
        self._writer: StatusWriter | None = None

    @property
    def place(self) -> str:
        return self._client.place

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()

    async def changes(self) -> AsyncGenerator[None, None]:
        """See Store."""
        writing: asyncio.Task[None] | None = None
        if self._lease[1]:
            self._writer = StatusWriter(self._client, Lease(self._client, *self._lease), self._cluster.note)
            writing = asyncio.create_task(self._writer.run(), name=f"statuses of {self.name}")
            writing.add_done_callback(lambda _: self._cluster.note())
        try:
            async with contextlib.aclosing(self._cluster.changes()) as changes:
                async for _ in changes:
                    if writing is not None and writing.done():
                        writing.result()
                    yield
        finally:
            self._writer = None
            if writing is not None:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def read(self) -> Reading:
        """See Store."""
        snapshot = await self._cluster.read()
        try:
            outcome = await asyncio.to_thread(self._make, snapshot, self._memory)
        except BaseException:
            self._memory = Memory()  # the thread may go on, or has left things half done
            raise
        problems, warnings = failure_lines(snapshot, self._kinds)
        if self._writer is not None:
            self._writer.want(outcome.statuses, snapshot)
            problems += self._writer.problems
        reading = outcome.reading
        return replace(reading, problems=(*problems, *reading.problems), warnings=(*warnings, *reading.warnings))
