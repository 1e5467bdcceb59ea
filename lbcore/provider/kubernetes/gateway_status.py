"""Statuses of the Gateway API: what lbcore says of classes, Gateways, routes and policies. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.gateway_model import GROUP, Conditions, Content, Gateway, Listener, condition
from lbcore.provider.kubernetes.shape import mapping, mappings
from lbcore.provider.kubernetes.status import WHEN

MOST_ANCESTORS = 16  # of a policy

# What passes the expectations of the conformance suite: see tests/integration/test_gateway.py.
FEATURES = (
    "BackendTLSPolicy",
    "GRPCRoute",
    "Gateway",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TLSRoute",
)


def dated(conditions: Conditions, before: Any) -> Conditions:
    """Conditions with the times since which they are so."""
    known = {str(each.get("type")): each for each in mappings(before)}
    found = []
    for each in conditions:
        old = known.get(each["type"], {})
        since = old.get(WHEN) if old.get("status") == each["status"] else None
        found.append({**each, WHEN: since or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")})
    return found


def class_status(is_accepted: bool, generation: Any) -> Callable[[Thing], Thing]:
    """The status of a GatewayClass that names lbcore as its controller."""
    said = condition("Accepted", True, "Accepted", "handled by lbcore", generation)
    if not is_accepted:
        text = "spec.parametersRef: lbcore has no parameters"
        said = condition("Accepted", False, "InvalidParameters", text, generation)
    features = [{"name": name} for name in sorted(FEATURES)] if is_accepted else []

    def make(status: Thing) -> Thing:
        conditions = mappings(status.get("conditions"))
        others = [each for each in conditions if each.get("type") != "Accepted"]
        return {**status, "conditions": [*others, *dated([said], conditions)], "supportedFeatures": features}

    return make


def gateway_status(
    gateway: Gateway, addresses: list[Content] | None, attached: Mapping[str, int]
) -> Callable[[Thing], Thing]:
    """The status of a Gateway with its listeners. `attached`: how many routes these have, by name."""
    generation = gateway.generation
    usable = [listener for listener in gateway.listeners if not listener.is_blocked]
    all_fine = not any(listener.conditions for listener in gateway.listeners)
    reason = "Accepted" if all_fine and not gateway.problem else "ListenersNotValid"
    text = gateway.problem or ("" if all_fine else "not all listeners can be used")
    accepted = condition("Accepted", bool(usable), "Invalid" if gateway.problem else reason, text, generation)
    programmed = condition("Programmed", bool(usable), "Programmed" if usable else "Invalid", text, generation)

    def make(status: Thing) -> Thing:
        known = {str(each.get("name")): each for each in mappings(status.get("listeners"))}
        listeners = []
        for listener in gateway.listeners:
            before = known.get(listener.name, {}).get("conditions")
            listeners.append(
                {
                    "name": listener.name,
                    "supportedKinds": [{"group": GROUP, "kind": kind} for kind in listener.kinds],
                    "attachedRoutes": attached[listener.name],
                    "conditions": dated(_of_listener(listener, generation), before),
                }
            )
        made: Thing = {
            **status,
            "conditions": dated([accepted, programmed], status.get("conditions")),
            "listeners": listeners,
        }
        if addresses is not None:
            made["addresses"] = addresses
        return made

    return make


def _of_listener(listener: Listener, generation: Any) -> Conditions:
    said = {each["type"]: each for each in reversed(listener.conditions)}
    blocked = listener.is_blocked
    usual = {
        "Accepted": condition("Accepted", True, "Accepted", "", generation),
        "Conflicted": condition("Conflicted", False, "NoConflicts", "", generation),
        "ResolvedRefs": condition("ResolvedRefs", True, "ResolvedRefs", "", generation),
        "Programmed": condition("Programmed", not blocked, "Invalid" if blocked else "Programmed", "", generation),
    }
    if "Conflicted" in said:
        usual["Accepted"] = condition("Accepted", False, said["Conflicted"]["reason"], "", generation)
    return [said.get(kind, each) for kind, each in usual.items()]


def route_status(parents: list[Content], controller: str) -> Callable[[Thing], Thing]:
    """The status of a route. What other controllers have said of their own Gateways stays."""

    def make(status: Thing) -> Thing:
        before = [each for each in mappings(status.get("parents")) if isinstance(each, dict)]
        others = [each for each in before if each.get("controllerName") != controller]
        ours = [each for each in before if each.get("controllerName") == controller]
        found = []
        for parent in parents:
            old = next((each for each in ours if each.get("parentRef") == parent["parentRef"]), {})
            conditions = dated(parent["conditions"], old.get("conditions"))
            found.append({**parent, "controllerName": controller, "conditions": conditions})
        return {**status, "parents": [*others, *found]}

    return make


def left_gateways(thing: Thing, controller: str) -> Callable[[Thing], Thing] | None:
    """Of a route at none of our Gateways: without those that it names no more; None: its status has no such one.

    What is said of Gateways that it names stays: they may be of another instance with the same controller.
    """
    spec, namespace = mapping(thing.get("spec")), mapping(thing.get("metadata")).get("namespace")
    named = [_place(each, namespace) for each in mappings(spec.get("parentRefs"))]

    def stays(parent: Content) -> bool:
        is_ours = parent.get("controllerName") == controller
        return not is_ours or _place(mapping(parent.get("parentRef")), namespace) in named

    def make(status: Thing) -> Thing:
        return {**status, "parents": [each for each in mappings(status.get("parents")) if stays(each)]}

    return None if all(map(stays, mappings(mapping(thing.get("status")).get("parents")))) else make


def _place(reference: Content, namespace: Any) -> tuple[Any, ...]:
    """What a reference to a Gateway means, whatever of it is written."""
    usual = {"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": None, "sectionName": None, "port": None}
    return tuple(reference.get(key) or default for key, default in usual.items())


def policy_status(
    by_gateway: dict[tuple[str, str], Conditions], controller: str
) -> Callable[[Thing], Thing]:
    """The status of a BackendTLSPolicy: what became of it at each Gateway."""

    def make(status: Thing) -> Thing:
        before = [each for each in mappings(status.get("ancestors")) if isinstance(each, dict)]
        others = [each for each in before if each.get("controllerName") != controller]
        ours = [each for each in before if each.get("controllerName") == controller]
        found = []
        for (namespace, name), conditions in sorted(by_gateway.items())[: MOST_ANCESTORS - len(others)]:
            reference = {"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": name}
            old = next((each for each in ours if each.get("ancestorRef") == reference), {})
            made = {"ancestorRef": reference, "controllerName": controller}
            found.append({**made, "conditions": dated(conditions, old.get("conditions"))})
        return {**status, "ancestors": [*others, *found]}

    return make
