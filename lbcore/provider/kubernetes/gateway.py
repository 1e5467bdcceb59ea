"""`providers.kubernetesGateway`: the kinds of the Gateway API in a cluster, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbcore.config.network import port_of
from lbcore.config.static import StaticConfig
from lbcore.config.static.kubernetes import KubernetesGateway
from lbcore.provider.kubernetes.context import Source, step
from lbcore.provider.kubernetes.core import MAPS, SECRETS, SERVICES, SLICES, Core, Lacking
from lbcore.provider.kubernetes.draft import Draft, Memory
from lbcore.provider.kubernetes.gateway_backends import index_policy, judgements
from lbcore.provider.kubernetes.gateway_http import Built, HttpRoute
from lbcore.provider.kubernetes.gateway_listeners import classes_of, read_gateway
from lbcore.provider.kubernetes.gateway_model import (
    ATTACHED,
    GATEWAY,
    GROUP,
    NAMESPACES,
    Content,
    Gateway,
    GatewayContext,
    Listener,
    Point,
    condition,
    kind_of,
)
from lbcore.provider.kubernetes.gateway_rules import hosts_in_common
from lbcore.provider.kubernetes.gateway_status import (
    class_status,
    gateway_status,
    left_gateways,
    policy_status,
    route_status,
)
from lbcore.provider.kubernetes.gateway_streams import StreamRoute
from lbcore.provider.kubernetes.names import normalize
from lbcore.provider.kubernetes.shape import mapping, mappings, texts
from lbcore.provider.kubernetes.store import KubernetesStore, Outcome
from lbcore.provider.kubernetes.tasks import Seen, Step, follow
from lbcore.provider.kubernetes.wanted import Wanted
from lbcore.provider.kubernetes.watch import Kind, Snapshot, about

PROVIDER = "kubernetesgateway"
SECTION = "kubernetesGateway"  # the name of its settings below `providers`
ROUTES: dict[str, type[HttpRoute] | type[StreamRoute]] = {
    "HTTPRoute": HttpRoute,
    "GRPCRoute": HttpRoute,
    "TLSRoute": StreamRoute,
    "TCPRoute": StreamRoute,
    "UDPRoute": StreamRoute,
}
ADDRESSES = "where Gateways are reached"
WITH_HOSTS = ("HTTPRoute", "GRPCRoute", "TLSRoute")


def kinds_of(settings: KubernetesGateway) -> list[Kind]:
    """The kinds that are read."""
    experimental = [
        kind_of("TCPRoute", "tcproutes", "v1alpha2", versioned=True),
        kind_of("UDPRoute", "udproutes", "v1alpha2", versioned=True),
    ]
    return [
        kind_of("GatewayClass", "gatewayclasses", scoped=False, versioned=True, selector=settings.label_selector),
        kind_of("Gateway", "gateways", versioned=True),
        kind_of("HTTPRoute", "httproutes", versioned=True),
        kind_of("GRPCRoute", "grpcroutes", versioned=True),
        kind_of("TLSRoute", "tlsroutes", versioned=True),
        *(experimental if settings.experimental_channel else []),
        kind_of("ReferenceGrant", "referencegrants", "v1beta1"),
        kind_of("BackendTLSPolicy", "backendtlspolicies", versioned=True),
        NAMESPACES,
        SERVICES,
        SLICES,
        SECRETS,
        MAPS,
    ]


def points_of(static: StaticConfig) -> list[Point]:
    """The entry points, as listeners find them."""
    found = []
    for name, point in static.entry_points.items():
        port = port_of(point.address)
        if port.isdigit():
            found.append(Point(name, int(port), point.is_udp, point.http.tls is not None))
    return found


def gateway_store(settings: KubernetesGateway, static: StaticConfig) -> KubernetesStore:
    """A cluster. Raises ConfigError for settings that cannot be used."""
    points = points_of(static)
    lease = settings.lease or normalize(f"lbcore-{settings.controller_name}").lower()

    def make(snapshot: Snapshot, memory: Memory) -> Outcome:
        return outcome_of(snapshot, settings, points, memory)

    return KubernetesStore(PROVIDER, SECTION, settings, kinds_of(settings), make, lease)


def outcome_of(snapshot: Snapshot, settings: KubernetesGateway, points: list[Point], memory: Memory) -> Outcome:
    """What the objects of a snapshot mean."""
    draft = Draft(memory)

    def context_of(seen: Seen) -> GatewayContext:
        return GatewayContext(settings, seen, Core(seen), draft, True, False, settings, points)

    kinds = {kind.name: kind for kind in kinds_of(settings)}
    follow(snapshot, memory, _steps(kinds, settings.controller_name), context_of)
    return Outcome(draft.reading(), draft.statuses())


def _steps(kinds: Mapping[str, Kind], controller: str) -> list[Step]:
    """The steps of a reading."""

    def read_route(context: GatewayContext, source: Source) -> None:
        parents = _Route(context, source).read()
        make = route_status(parents, controller) if parents else left_gateways(source.thing, controller)
        if make is not None:
            context.draft.want(Wanted(kinds[source.kind], source.namespace, source.name, make))

    def say_of_class(context: GatewayContext, source: Source) -> None:
        is_accepted = classes_of(context).get(source.name)
        if is_accepted is not None:
            make = class_status(is_accepted, about(source.thing).get("generation"))
            context.draft.want(Wanted(kinds[source.kind], "", source.name, make))

    def say_of_policy(context: GatewayContext, source: Source) -> None:
        said = judgements(context, source.namespace, source.name)
        before = mappings(mapping(source.thing.get("status")).get("ancestors"))
        if not said and all(each.get("controllerName") != controller for each in before):
            return
        make = policy_status(said, controller)
        context.draft.want(Wanted(kinds[source.kind], source.namespace, source.name, make))
        wrong = [each for each in next(iter(said.values()), []) if each["status"] == "False"]
        context.draft.complain(*(f"{source.text}: {each['message']}" for each in wrong[:1]))

    def say_of_gateway(context: GatewayContext, source: Source) -> None:
        at = (source.namespace, source.name)
        gateway: Gateway | None = context.draft.told((GATEWAY, *at))
        if gateway is not None:
            names = [listener.name for listener in gateway.listeners]
            attached = {name: len(context.draft.notes((ATTACHED, *at, name))) for name in names}
            make = gateway_status(gateway, context.draft.told(ADDRESSES), attached)
            context.draft.want(Wanted(kinds[source.kind], *at, make))

    return [
        step("BackendTLSPolicy", index_policy),
        step("Gateway", read_gateway),
        *(step(kind, read_route, ranked=True) for kind in ROUTES if kind in kinds),
        Step("", lambda context, nothing: context.draft.tell(ADDRESSES, _addresses(context))),
        step("GatewayClass", say_of_class),
        step("Gateway", say_of_gateway),
        step("BackendTLSPolicy", say_of_policy),
    ]


def _addresses(context: GatewayContext) -> list[Content] | None:
    """Where Gateways are reached; None: that is not said, or not known yet."""
    wanted = context.options.status_address
    if wanted is None:
        return None
    if wanted.ip:
        return [{"type": "IPAddress", "value": wanted.ip}]
    if wanted.hostname:
        return [{"type": "Hostname", "value": wanted.hostname}]
    assert wanted.service is not None
    try:
        service = context.core.service(wanted.service.namespace, wanted.service.name)
    except Lacking as error:
        context.draft.complain(f"statuses of Gateways: statusAddress: {error}")
        return None
    found = mappings(mapping(mapping(service.get("status")).get("loadBalancer")).get("ingress"))
    addresses = [{"type": "IPAddress", "value": each["ip"]} for each in found if each.get("ip")]
    return addresses + [{"type": "Hostname", "value": each["hostname"]} for each in found if each.get("hostname")]


class _Route:
    """One route of any kind, at all of its Gateways."""

    def __init__(self, context: GatewayContext, source: Source) -> None:
        self.context = context
        self.source = source
        self.rank = context.snapshot.rank(source.kind, source.namespace, source.name)
        self.generation = about(source.thing).get("generation")
        self.spec = mapping(source.thing.get("spec"))
        self.attached: set[tuple[str, str, str]] = set()  # listeners that have it already: it counts once

    def read(self) -> list[Content]:
        """Add what the route becomes. Returns what is said of it at each of our Gateways."""
        found = []
        for reference in mappings(self.spec.get("parentRefs")):
            is_gateway = (reference.get("group", GROUP), reference.get("kind", "Gateway")) == (GROUP, "Gateway")
            key = (str(reference.get("namespace") or self.source.namespace), str(reference.get("name")))
            gateway = self.context.draft.told((GATEWAY, *key)) if is_gateway else None
            if gateway is not None:
                found.append({"parentRef": reference, "conditions": self.at(gateway, reference)})
        return found

    def at(self, gateway: Gateway, reference: dict[str, Any]) -> list[Content]:
        """The conditions at one Gateway."""
        reason, text = "NoMatchingParent", "no listener has this name or port"
        is_accepted = False
        built: Built | None = None
        for listener in gateway.listeners:
            if not _is_named(listener, reference):
                continue
            hosts = self.hosts(listener)
            if self.source.kind not in listener.kinds or not listener.takes(self.source.namespace):
                if reason == "NoMatchingParent":
                    reason, text = "NotAllowedByListeners", "no listener takes this kind, or this namespace"
                continue
            if hosts is None:
                reason, text = "NoMatchingListenerHostname", "no listener has one of its hostnames"
                continue
            key = (gateway.namespace, gateway.name, listener.name)
            if key not in self.attached:
                self.attached.add(key)
                self.context.draft.note((ATTACHED, *key), True)
            if not listener.is_blocked:
                is_accepted = True
                built = self.build(gateway, listener, hosts)
                self.add(built)
        if built is None and gateway.listeners:
            built = self.build(gateway, gateway.listeners[0], [])  # its references are judged in any case
        conditions = self.accepted(is_accepted, reason, text, built)
        unresolved = built.unresolved if built is not None else []
        if is_accepted:
            self.context.draft.complain(*(f"{self.source.text}: {problem}" for _, problem in unresolved))
        why, message = unresolved[0] if unresolved else ("ResolvedRefs", "")
        conditions.append(condition("ResolvedRefs", not unresolved, why, message, self.generation))
        return conditions

    def accepted(self, is_accepted: bool, reason: str, text: str, built: Built | None) -> list[Content]:
        if not is_accepted:
            return [condition("Accepted", False, reason, text, self.generation)]
        if built is None or not built.unsupported:
            return [condition("Accepted", True, "Accepted", "", self.generation)]
        message = "; ".join(dict.fromkeys(built.unsupported))
        self.context.draft.complain(*(f"{self.source.text}: {each}" for each in dict.fromkeys(built.unsupported)))
        if built.broken == built.rules:
            return [condition("Accepted", False, "UnsupportedValue", message, self.generation)]
        return [
            condition("Accepted", True, "Accepted", "", self.generation),
            condition("PartiallyInvalid", True, "UnsupportedValue", message, self.generation),
        ]

    def hosts(self, listener: Listener) -> list[str] | None:
        if self.source.kind not in WITH_HOSTS:
            return []
        return hosts_in_common(listener.hostname, [str(host) for host in texts(self.spec.get("hostnames"))])

    def build(self, gateway: Gateway, listener: Listener, hosts: list[str]) -> Built:
        return ROUTES[self.source.kind](self.context, self.source, gateway, listener, hosts, self.rank).build()

    def add(self, built: Built) -> None:
        """Add objects. What a listener on the same entry point has added already is the same."""
        draft = self.context.draft
        for (layer, kind, name), (content, at, faults) in built.made.items():
            if draft.content(layer, kind, name) != content:
                draft.put(layer, kind, name, content, self.source.text, at, faults)
        for user, reference, source in built.outside:
            draft.refer(user, reference, source)


def _is_named(listener: Listener, reference: dict[str, Any]) -> bool:
    section, port = reference.get("sectionName"), reference.get("port")
    return (not section or section == listener.name) and (not port or port == listener.port)
