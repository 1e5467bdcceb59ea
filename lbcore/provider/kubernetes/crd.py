"""`providers.kubernetesCRD`: the kinds of traefik.io/v1alpha1 in a cluster."""

from __future__ import annotations

from lbcore.config.static.kubernetes import KubernetesCrd
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.core import MAPS, NODES, SECRETS, SERVICES, SLICES, Core
from lbcore.provider.kubernetes.crd_middlewares import MIDDLEWARE_STEPS
from lbcore.provider.kubernetes.crd_references import CLAIMS, PROVIDER, CrdContext, References
from lbcore.provider.kubernetes.crd_routes import ROUTE_STEPS
from lbcore.provider.kubernetes.crd_services import SERVICE_STEP
from lbcore.provider.kubernetes.crd_tls import TLS_STEPS
from lbcore.provider.kubernetes.draft import Draft, Memory
from lbcore.provider.kubernetes.store import KubernetesStore, Outcome
from lbcore.provider.kubernetes.tasks import Seen, follow
from lbcore.provider.kubernetes.watch import Kind, Snapshot

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
SECTION = "kubernetesCRD"  # their name below `providers`
STEPS = (*CLAIMS, *TLS_STEPS, *MIDDLEWARE_STEPS, SERVICE_STEP, *ROUTE_STEPS)


def kinds_of(settings: KubernetesCrd) -> list[Kind]:
    """The kinds that are read."""
    own = [Kind(name, f"{name.lower()}s", "traefik.io", "v1alpha1", settings.label_selector) for name in OWN]
    nodes = [] if settings.disable_cluster_scope_resources else [NODES]
    return [*own, SERVICES, SLICES, SECRETS, MAPS, *nodes]


def crd_store(settings: KubernetesCrd) -> KubernetesStore:
    """A cluster. Raises ConfigError for settings that cannot be used."""

    def make(snapshot: Snapshot, memory: Memory) -> Outcome:
        return Outcome(reading_of(snapshot, settings, memory))

    return KubernetesStore(PROVIDER, SECTION, settings, kinds_of(settings), make)


def reading_of(snapshot: Snapshot, settings: KubernetesCrd, memory: Memory) -> Reading:
    """What the objects of a snapshot mean."""
    draft = Draft(memory)
    references = References(settings.allow_cross_namespace, settings.cross_provider_namespaces, draft)
    keeps_empty, wanted = settings.allow_empty_services, settings.ingress_class
    sees_nodes = not settings.disable_cluster_scope_resources

    def context_of(seen: Seen) -> CrdContext:
        return CrdContext(settings, seen, Core(seen), draft, keeps_empty, sees_nodes, references, wanted)

    follow(snapshot, memory, STEPS, context_of)
    return draft.reading()
