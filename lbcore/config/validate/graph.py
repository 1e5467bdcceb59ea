"""Walks through objects that refer to each other by name. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

MAX_DEPTH = 100  # of services below a service, and of chains in a chain


def find_cycle(start: str, edges: Callable[[str], list[str]], done: set[str]) -> list[str]:
    """A cycle that `start` leads to, as the names on the way and back; empty if there is none.

    done  names that lead to no cycle; grows.

    Iterative, and visits each name once: O(names and edges).
    """
    names: dict[str, None] = {start: None}  # on the way, in order
    rests = [iter(edges(start))]
    while rests:
        part = next(rests[-1], None)
        if part is None:
            done.add(names.popitem()[0])
            rests.pop()
        elif part in names:
            way = list(names)
            return [*way[way.index(part) :], part]
        elif part not in done:
            names[part] = None
            rests.append(iter(edges(part)))
    return []


def children_first(services: Mapping[str, object], children: Callable[[str], list[str]]) -> list[str]:
    """All services, each after those below it."""
    order: dict[str, None] = {}
    for root in services:
        way = [(root, False)]
        while way:
            name, below_done = way.pop()
            if name in order or name not in services:
                continue
            if below_done or all(part in order or part not in services for part in children(name)):
                order[name] = None
            else:
                way.append((name, True))
                # A service that contains itself comes up again; that error was reported before.
                on_way = {above for above, _ in way}
                way += [(part, False) for part in children(name) if part not in order and part not in on_way]
    return list(order)
