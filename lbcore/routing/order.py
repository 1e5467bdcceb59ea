"""The routers of an entry point in the order of trial, as a table takes them over from the one before it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable
from operator import itemgetter

from lbcore.config.claims import priority_claimed, rule_text
from lbcore.config.routers import Router
from lbcore.config.static import StaticConfig
from lbcore.config.tls import DEFAULT
from lbcore.routing.index import FiledRule
from lbcore.routing.route import Route

FEW = 8  # one of so many may change one by one; otherwise all are sorted

Compiled = tuple[FiledRule, Route]
Rank = tuple[int, int, str]  # priority with its sign turned, rank of the provider, name
CLOSED = ""  # in place of the name of TLS options: the router has no TLS, or cannot run

# The rank of a router, what it is, and the name of its TLS options.
Placed = tuple[Rank, Compiled, str]

Ranked = tuple[int, str, Router]  # priority, name


def ranked(name: str, router: Router) -> Ranked:
    """A router with its priority: the length of its rule, if it names none."""
    return priority_claimed(router) or len(rule_text(router).encode()), name, router


def rank_of(entry: Ranked, static: StaticConfig) -> Rank:
    """Highest priority first, then by provider and name, so that all workers and all runs agree."""
    return -entry[0], static.providers.rank(entry[1]), entry[1]


class Order:
    """Routers in the order of trial. Not to be changed: a table has it as long as it is in force.

    ranks      of all, in order; `compiled`: what they are; `options`: the names of their TLS options.
    is_usual   whether all have the default options.
    """

    __slots__ = ("compiled", "options", "ranks", "unusual")

    def __init__(self, placed: Iterable[Placed] = ()) -> None:
        entries = sorted(placed, key=itemgetter(0))
        self.ranks = [rank for rank, _, _ in entries]
        self.compiled = [compiled for _, compiled, _ in entries]
        self.options = [options for _, _, options in entries]
        self.unusual = sum(options != DEFAULT for options in self.options)

    @property
    def is_usual(self) -> bool:
        return not self.unusual

    def changed(self, gone: Collection[Rank], fresh: Collection[Placed]) -> Order:
        """Another one without some, which need not be in it, and with others: these are `gone` if they were in it.

        The cost of few changes is that of copying three lists, during which no other thread has a turn.
        """
        if FEW * (len(gone) + len(fresh)) > len(self.ranks):
            out = set(gone)
            stay = (each for each in zip(self.ranks, self.compiled, self.options, strict=True) if each[0] not in out)
            return Order([*stay, *fresh])
        other = Order()
        other.ranks, other.compiled, other.options = self.ranks.copy(), self.compiled.copy(), self.options.copy()
        other.unusual = self.unusual
        for rank in gone:
            at = bisect_left(other.ranks, rank)
            if at < len(other.ranks) and other.ranks[at] == rank:
                other.unusual -= other.options[at] != DEFAULT
                del other.ranks[at], other.compiled[at], other.options[at]
        for rank, compiled, options in fresh:
            at = bisect_left(other.ranks, rank)
            other.ranks.insert(at, rank)
            other.compiled.insert(at, compiled)
            other.options.insert(at, options)
            other.unusual += options != DEFAULT
        return other
