"""Gateways, listeners and conditions of the Gateway API, as far as all of its routes share them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lbcore.config.static.kubernetes import KubernetesGateway
from lbcore.provider.kubernetes.context import Context
from lbcore.provider.kubernetes.shape import mapping, mappings, texts
from lbcore.provider.kubernetes.watch import Kind, about

GROUP = "gateway.networking.k8s.io"
TRAEFIK = "traefik.io"  # group of Middleware and TraefikService, which filters and backends may name
NAMESPACES = Kind("Namespace", "namespaces", scoped=False, trim=lambda thing: {})

# What tasks tell each other: of a Gateway, of the routes at a listener, of the policies for a service, of a policy.
GATEWAY, ATTACHED, POLICIES, JUDGED = "Gateway", "attached routes", "policies of a service", "what became of a policy"

Content = dict[str, Any]
Conditions = list[Content]


def kind_of(name: str, plural: str, version: str = "v1", **more: Any) -> Kind:
    """A kind of the Gateway API."""
    return Kind(name, plural, GROUP, version, **more)


@dataclass(frozen=True, slots=True)
class Point:
    """An entry point, as far as listeners have to find it."""

    name: str
    port: int
    is_udp: bool
    has_tls: bool


@dataclass(frozen=True)
class GatewayContext(Context):
    """One reading of a cluster with Gateways.

    points  the entry points of the static configuration.
    """

    options: KubernetesGateway
    points: list[Point]


@dataclass(slots=True)
class Listener:
    """A listener of a Gateway.

    point       the entry point; empty: there is none.
    kinds       of routes that it takes.
    namespaces  whose routes may be its own; None: all.
    conditions  what is wrong with it; empty: nothing.
    is_blocked  whether it can serve nothing because of that.
    """

    name: str
    port: int
    protocol: str
    hostname: str
    passes: bool = False
    point: str = ""
    kinds: list[str] = field(default_factory=list)
    namespaces: frozenset[str] | None = frozenset()
    conditions: Conditions = field(default_factory=list)
    is_blocked: bool = False

    def takes(self, namespace: str) -> bool:
        """Whether routes of a namespace may be its own."""
        return self.namespaces is None or namespace in self.namespaces


@dataclass(slots=True)
class Gateway:
    """A Gateway of a class of ours. `problem`: why none of it is accepted."""

    namespace: str
    name: str
    generation: Any
    listeners: list[Listener] = field(default_factory=list)
    problem: str = ""


def condition(kind: str, is_true: bool, reason: str, message: str, generation: Any) -> Content:
    """One that a status has. The time is added when it is written."""
    found: Content = {"type": kind, "status": "True" if is_true else "False", "reason": reason, "message": message}
    if isinstance(generation, int):
        found["observedGeneration"] = generation
    return found


def granted(context: Context, kind: str, namespace: str, group: str, to_kind: str, to_name: str, to: str) -> bool:
    """Whether a `kind` of the Gateway API in `namespace` may refer to an object in namespace `to`."""
    if to == namespace:
        return True
    for thing in context.snapshot.all("ReferenceGrant"):
        if about(thing).get("namespace") != to:
            continue
        spec = mapping(thing.get("spec"))
        is_from = any(
            each.get("group") == GROUP and each.get("kind") == kind and each.get("namespace") == namespace
            for each in mappings(spec.get("from"))
        )
        is_to = any(
            (each.get("group") or "") == group
            and each.get("kind") == to_kind
            and (not each.get("name") or each["name"] == to_name)
            for each in mappings(spec.get("to"))
        )
        if is_from and is_to:
            return True
    return False


def matches_labels(selector: Any, labels: Mapping[str, Any]) -> bool:
    """Whether labels fit a selector of labels. Raises ValueError for one that means nothing."""
    selector = selector if isinstance(selector, dict) else {}
    if any(labels.get(key) != value for key, value in mapping(selector.get("matchLabels")).items()):
        return False
    for each in mappings(selector.get("matchExpressions")):
        key, operator, values = str(each.get("key")), each.get("operator"), texts(each.get("values"))
        if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            raise ValueError(f"operator {operator!r} of a selector")
        fits = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[operator]
        if not fits:
            return False
    return True
