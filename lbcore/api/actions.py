"""What an operator changes in a running instance: weights, and servers that get no requests. No I/O but the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbcore.api import audit
from lbcore.api.condition import weights_after
from lbcore.api.refused import RefusedError
from lbcore.api.runtime import LAYERS, Runtime
from lbcore.api.structure import inner_of
from lbcore.routing.balancer import Balancer
from lbcore.routing.service import Service
from lbcore.state.cells import ADMIN, EJECTED

MOST_WEIGHT = 1 << 30
ACTIONS = ("drain", "undrain", "eject", "reset")


@dataclass(frozen=True, slots=True)
class Target:
    """A service whose members have weights. `slots`: of the members, by key as written."""

    layer: str
    name: str
    service: Service
    slots: Mapping[str, int]

    @property
    def about(self) -> str:
        return f"{LAYERS[self.layer].prefix}service {self.name}"


def target_of(runtime: Runtime, layer: str, name: str) -> Target:
    """The service of a layer, by name; one without a provider is of the provider `file`. Raises RefusedError."""
    name = name if "@" in name else f"{name}@file"
    services = runtime.services_of(layer)
    if name not in services:
        raise RefusedError(404, f"service not found: {name}")
    inner = inner_of(services[name])
    if not isinstance(inner, Balancer):
        raise RefusedError(400, f"{name} has no weights: it does not choose among its members by weight")
    return Target(layer, name, services[name], {member.key: member.slot for member in inner.members})


def set_weights(runtime: Runtime, target: Target, weights: Mapping[str, int | None], force: bool, asker: str) -> None:
    """Override weights of members until they are reset, or the members leave.

    weights  by key as written; None ends an override.
    Raises RefusedError.
    """
    if unknown := [key for key in weights if key not in target.slots]:
        raise RefusedError(400, f"no such member: {', '.join(unknown)}; known: {', '.join(target.slots)}")
    if any(weight is not None and not 0 <= weight <= MOST_WEIGHT for weight in weights.values()):
        raise RefusedError(400, f"a weight is between 0 and {MOST_WEIGHT}")
    _afford(runtime, target, weights, force)
    for key, weight in weights.items():
        runtime.region.set_weight(target.slots[key], weight)
    _share(runtime, target, weights)
    text = ", ".join(f"{key}={'as configured' if weight is None else weight}" for key, weight in weights.items())
    audit.log.info("%s: weights set by %s: %s", target.about, asker, text)


def change_member(runtime: Runtime, target: Target, key: str, action: str, force: bool, asker: str) -> str:
    """Do one of ACTIONS to a member. Returns what was done, for people. Raises RefusedError."""
    if key not in target.slots:
        raise RefusedError(404, f"no such member: {key}; known: {', '.join(target.slots)}")
    slot, region = target.slots[key], runtime.region
    if action == "drain":
        _afford(runtime, target, {key: 0}, force)
        region.set_weight(slot, 0)
        _share(runtime, target, {key: 0})
        text = "drains: it gets no new clients, and keeps its sessions"
    elif action == "undrain":
        region.set_weight(slot, None)
        _share(runtime, target, {key: None})
        text = "has its configured weight again"
    elif action == "eject":
        _afford(runtime, target, {key: 0}, force)
        region.set_up(slot, False, ADMIN)
        text = "is taken out: it gets no requests"
    elif action == "reset":
        region.set_weight(slot, None)
        _share(runtime, target, {key: None})
        region.set_up(slot, True, ADMIN | EJECTED)
        text = "is as configured again: neither taken out nor ejected, without an override of its weight"
    else:
        raise RefusedError(400, f"no such action: {action}; known: {', '.join(ACTIONS)}")
    audit.log.info("%s: %s %s (by %s)", target.about, key, text, asker)
    return f"{key} {text}"


def _share(runtime: Runtime, target: Target, weights: Mapping[str, int | None]) -> None:
    """Have weights hold for all instances of the fleet."""
    identities = {slot: identity for identity, slot in runtime.slots.servers.items()}
    runtime.share_weights({identities[target.slots[key]]: weight for key, weight in weights.items()})


def _afford(runtime: Runtime, target: Target, weights: Mapping[str, int | None], force: bool) -> None:
    if not force and not weights_after(runtime, target.service, weights):
        units = LAYERS[target.layer].units
        end = " with 503" if target.layer == "http" else ""
        message = f"{target.name} would be left without a member to choose: all of its {units} would be refused{end}"
        raise RefusedError(409, message, True)
