"""Explanations of decisions: rules that do not match, levels of services with weights and health. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lbcore.config.rule import And, Matcher, Not, Or, Rule
from lbcore.routing.balancer import Balancer, LoadBalancer
from lbcore.routing.failover import Failover
from lbcore.routing.matcher import Program
from lbcore.routing.mirroring import Mirroring
from lbcore.routing.service import Service

MOST_MEMBERS = 16  # members of a service that are named


def unmet(rule: Rule, holds: Callable[[Program], bool]) -> Iterator[str]:
    """The parts of a rule that would have to match and do not."""
    if holds(Program(rule)):
        return
    if isinstance(rule, (And, Or)):
        yield from unmet(rule.left, holds)
        yield from unmet(rule.right, holds)
    elif isinstance(rule, (Not, Matcher)):
        yield str(rule)


def kind_of(service: Service) -> str:
    """The kind of a service, as the key in the configuration, except for the two kinds of Weighted."""
    return "loadBalancer" if isinstance(service, LoadBalancer) else type(service).__name__.lower()


def role_of(service: Service, index: int) -> str:
    """The role of a child that is not chosen by weight."""
    if isinstance(service, Failover):
        return ("main", "fallback")[index]
    return f"mirror, {service.mirrors[index - 1].percent} %" if index and isinstance(service, Mirroring) else "main"


def level(service: Service, chosen: int) -> dict[str, Any]:
    """One level: its members with weight or role and health, and which was chosen. JSON values."""
    found: dict[str, Any] = {"service": service.name, "kind": kind_of(service), "up": service.is_up}
    members = []
    if isinstance(service, Balancer):
        effective, configured = service.effective_weights, service.configured_weights
        for index, member in enumerate(service.members):
            about = {"name": member.key, "weight": effective[index]}
            if effective[index] != configured[index]:
                about["configured"] = configured[index]
            if not service.member_stands(index):
                about["up"] = False
            members.append(about)
    else:
        for index, (key, child) in enumerate(service.children):
            members.append({"name": key, "role": role_of(service, index)} | ({} if child.is_up else {"up": False}))
    if 0 <= chosen < len(members):
        found["chosen"] = members[chosen]["name"]
    if len(members) > MOST_MEMBERS:
        found["more"] = len(members) - MOST_MEMBERS
    found["members"] = members[:MOST_MEMBERS]
    return found
