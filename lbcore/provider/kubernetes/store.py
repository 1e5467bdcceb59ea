"""A cluster as a store: what its kinds mean is published, and statuses are written if there are any."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from lbcore.config.static.kubernetes import KubernetesProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.access import access_of
from lbcore.provider.kubernetes.client import EXTRA, KubernetesClient
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.lease import Lease
from lbcore.provider.kubernetes.status import StatusWriter
from lbcore.provider.kubernetes.wanted import Wanted
from lbcore.provider.kubernetes.watch import Cluster, Kind, Snapshot, failure_lines
from lbcore.provider.web import library


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
    lack      why it is not known where the cluster is: that is found out again each time, as lbcore may start before
              its kubeconfig is there.
    Raises ConfigError for settings that cannot be used.
    """

    lack: Sequence[Problem] = ()

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
        self._section = section
        self._settings = settings
        self._lease = lease
        self._writer: StatusWriter | None = None
        self._connected: tuple[KubernetesClient, Cluster, str] | None = None
        library(section, EXTRA)
        try:
            self._connection()
        except ConfigError as error:
            if settings.endpoint:
                raise
            self.lack = error.problems

    @property
    def place(self) -> str:
        return self._connected[0].place if self._connected is not None else "the API server of the cluster"

    def _connection(self) -> tuple[KubernetesClient, Cluster, str]:
        """The client, what is known of the cluster, and the namespace lbcore runs in. Raises ConfigError."""
        if self._connected is None:
            access = access_of(self._section, self._settings)
            client = KubernetesClient(self._section, access)
            self._connected = client, Cluster(client, self._kinds, self._settings.namespaces), access.namespace
        return self._connected

    async def close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            await self._connected[1].close()

    async def changes(self) -> AsyncGenerator[None, None]:
        """See Store."""
        writing: asyncio.Task[None] | None = None
        client, cluster, own_namespace = self._connection()
        if self._lease:
            namespace, _, name = self._lease.rpartition("/")
            self._writer = StatusWriter(client, Lease(client, namespace or own_namespace, name), cluster.note)
            writing = asyncio.create_task(self._writer.run(), name=f"statuses of {self.name}")
            writing.add_done_callback(lambda _: cluster.note())
        try:
            async with contextlib.aclosing(cluster.changes()) as changes:
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
        snapshot = await self._connection()[1].read()
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
