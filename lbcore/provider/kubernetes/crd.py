"""`providers.kubernetesCRD`: the kinds of traefik.io/v1alpha1 in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from lbcore.config.static.kubernetes import KubernetesCrd
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.access import access_of
from lbcore.provider.kubernetes.client import KubernetesClient
from lbcore.provider.kubernetes.core import MAPS, NODES, SECRETS, SERVICES, SLICES, Core
from lbcore.provider.kubernetes.crd_middlewares import read_middlewares
from lbcore.provider.kubernetes.crd_references import PROVIDER, Context, References
from lbcore.provider.kubernetes.crd_routes import read_routes
from lbcore.provider.kubernetes.crd_services import Services
from lbcore.provider.kubernetes.crd_tls import read_tls
from lbcore.provider.kubernetes.draft import Draft, Memory
from lbcore.provider.kubernetes.watch import Cluster, Kind, Snapshot, failure_lines

OWN = (
    "IngressRoute",
    "IngressRouteTCP",
    "IngressRouteUDP",
    "Middleware",
    "MiddlewareTCP",
    "ServersTransport",
    "ServersTransportTCP",
    "TLSOption",
    "TLSStore",
    "TraefikService",
)
SETTINGS = "kubernetesCRD"  # their name below `providers`


def kinds_of(settings: KubernetesCrd) -> list[Kind]:
    """The kinds that are read."""
    own = [Kind(name, f"{name.lower()}s", "traefik.io", "v1alpha1", settings.label_selector) for name in OWN]
    nodes = [] if settings.disable_cluster_scope_resources else [NODES]
    return [*own, SERVICES, SLICES, SECRETS, MAPS, *nodes]


class CrdStore:
    """A cluster. Raises ConfigError for settings that cannot be used."""

    name = PROVIDER

    def __init__(self, settings: KubernetesCrd) -> None:
        self._settings = settings
        self._kinds = kinds_of(settings)
        client = KubernetesClient(SETTINGS, access_of(SETTINGS, settings))
        self._cluster = Cluster(client, self._kinds, settings.namespaces)
        self._memory = Memory()

    @property
    def place(self) -> str:
        return self._cluster.place

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()

    def changes(self) -> AsyncIterator[None]:
        """See Store."""
        return self._cluster.changes()

    async def read(self) -> Reading:
        """See Store."""
        return await asyncio.to_thread(self._reading, await self._cluster.read())

    def _reading(self, snapshot: Snapshot) -> Reading:
        reading = reading_of(snapshot, self._settings, self._memory)
        problems, warnings = failure_lines(snapshot, self._kinds)
        return replace(
            reading, problems=(*problems, *reading.problems), warnings=(*warnings, *reading.warnings)
        )


def reading_of(snapshot: Snapshot, settings: KubernetesCrd, memory: Memory) -> Reading:
    """What the objects of a snapshot mean."""
    draft = Draft(memory)
    references = References(settings.allow_cross_namespace, settings.cross_provider_namespaces)
    context = Context(settings, snapshot, Core(snapshot), draft, references)
    services = Services(context)
    read_tls(context)
    read_middlewares(context, services)
    services.read()
    read_routes(context, services)
    config = draft.config()
    return Reading(config, tuple(draft.problems), tuple(dict.fromkeys(draft.warnings)))
