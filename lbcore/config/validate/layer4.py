"""Validation of services below the level of HTTP: what TCP and UDP have in common. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from lbcore.config.difference import qualify
from lbcore.config.validate.findings import Fault
from lbcore.config.validate.graph import children_first, find_cycle


class Service(Protocol):
    """A service of TCP or UDP."""

    @property
    def children(self) -> list[str]:
        """Names of the services among which it chooses, as written."""

    @property
    def watches(self) -> bool:
        """Whether it has a health check."""


def check_tree(
    services: Mapping[str, Service],
    found: dict[str, list[str]],
    kind: str,
    following: set[tuple[str, str]],
    some: Mapping[str, Service] | None = None,
) -> None:
    """Add the errors of services that other services cause: circles, missing and broken children.

    some       those that are looked at, with all that are above them; None: all.
    found      the errors of each service by itself, to which is added.
    following  gets the `kind` and name of those that only others keep from running.
    """

    def children(name: str) -> list[str]:
        return [qualify(child, name) for child in services[name].children] if name in services else []

    # Those without others below them cause nothing.
    parents = {name: service for name, service in (services if some is None else some).items() if service.children}
    done: set[str] = set()
    for name in parents:
        if name not in found and (cycle := find_cycle(name, children, done)):
            way = "->service:".join(cycle)
            found[name] = [f"could not instantiate service {name}: recursion detected in service:{way}"]
    for name in children_first(parents, children):
        if name not in found and (errors := _errors_below(name, children, services, found)):
            found[name] = errors[0]
            if errors[1]:
                following.add((kind, name))


def _errors_below(
    name: str, children: Callable[[str], list[str]], services: Mapping[str, Service], found: Mapping[str, list[str]]
) -> tuple[list[str], bool] | None:
    """The errors that the children of a service cause it, and whether they are the children's own."""
    for part in children(name):
        if part not in services:
            return [Fault(f'the service "{part}" does not exist', missing=part)], False
        if part in found:
            return [found[part][0]], True
        if services[name].watches and not services[part].watches:
            return [f"cannot register {part} as updater for {name}: healthCheck not enabled in config"], False
    return None
