"""Trees of routers: which routers see a request after which others, by the names of their parents. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MAX_LEVELS = 100  # of routers below a router
MAX_WAYS = 10_000  # from a router to those below it that have a service
MAX_ALL_WAYS = 100_000  # from all routers that have others below them


@dataclass(slots=True)
class RouterTrees:
    """The routers below routers.

    children  by parent: the names of its children, in order. Links that would close a circle are left out.
    order     the routers that some root leads to, each before its parents.
    errors    by router: circles that it closes, or that it leads to too many others.
    ways      by root with others below it: in how many ways it leads to such that have a service.
    """

    children: dict[str, list[str]] = field(default_factory=dict)
    order: dict[str, None] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    ways: dict[str, int] = field(default_factory=dict)


def router_trees(parents: Mapping[str, Sequence[str]]) -> RouterTrees:
    """The trees of routers, by the parents of each, which need not exist. A root has none.

    Iterative, and visits each router once: linear in routers and links.
    """
    trees = RouterTrees()
    if not any(parents.values()):
        return trees
    for name, above in parents.items():
        for parent in dict.fromkeys(above):
            if parent in parents:
                trees.children.setdefault(parent, []).append(name)
    for below in trees.children.values():
        below.sort()
    visited: set[str] = set()
    sizes: dict[str, tuple[int, int]] = {}  # levels, and ways to routers with a service
    total = 0
    for root in sorted(name for name, above in parents.items() if not above):
        _walk(root, trees, visited, sizes)
        if trees.children.get(root):
            trees.ways[root] = sizes[root][1]
            total += sizes[root][1]
            if total > MAX_ALL_WAYS and root not in trees.errors:
                trees.errors[root] = [f"routers lead to others in more than {MAX_ALL_WAYS} ways"]
    return trees


def _walk(root: str, trees: RouterTrees, visited: set[str], sizes: dict[str, tuple[int, int]]) -> None:
    """Visit what a router leads to, and take out the links by which a router leads to one above it."""
    way: dict[str, Iterator[str]] = {root: iter(list(trees.children.get(root, ())))}
    visited.add(root)
    while way:
        name = next(reversed(way))
        child = next(way[name], None)
        if child is None:
            way.popitem()
            _measure(name, trees, sizes)
        elif child in way:
            names = list(way)
            circle = " -> ".join([*names[names.index(child) :], child])
            trees.errors.setdefault(name, []).append(f"cyclic reference detected in router tree: {circle}")
            trees.children[name].remove(child)
        elif child not in visited:
            visited.add(child)
            way[child] = iter(list(trees.children.get(child, ())))


def _measure(name: str, trees: RouterTrees, sizes: dict[str, tuple[int, int]]) -> None:
    """Note a router all of whose children were visited."""
    trees.order[name] = None
    below = [sizes[child] for child in trees.children.get(name, ())]
    levels = 1 + max((levels for levels, _ in below), default=0)
    ways = sum(ways for _, ways in below) or 1
    sizes[name] = levels, min(ways, MAX_WAYS + 1)
    if levels > MAX_LEVELS:
        trees.errors.setdefault(name, []).append(f"more than {MAX_LEVELS} levels of routers are below it")
    elif ways > MAX_WAYS:
        trees.errors.setdefault(name, []).append(f"it leads to others in more than {MAX_WAYS} ways")
