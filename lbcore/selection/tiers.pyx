"""Tiers of servers: a later tier gets requests as far as the earlier ones lack capacity. For priorities, and zones. No I/O.

The health of a tier is min(100, 100 * overprovisioning * weight that is up / weight), in whole percent. The first tier gets as many
percent of all picks as it has health, the next tier as many of the rest, and so on; if all tiers together have less than 100, each
gets its part in proportion. Source: Envoy, priority levels, whose default is 1.4; Envoy counts hosts, lbcore counts weight.
Vectors with 1.4 and two tiers, all of the second up: 100 % of the first up: 100 and 0; 72 %: 100 and 0; 71 %: 99 and 1;
50 %: 70 and 30; 25 %: 35 and 65; 0 %: 0 and 100. Both 20 % up: 50 and 50.
"""

cimport cython

from math import gcd

from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper

cdef enum:
    WHOLE = 100
    MOST_WEIGHT = 1 << 30


cdef int checked_tier(object server, object tier) except -1:
    """Raise TypeError or ValueError unless `tier` is an int of 0 or more."""
    if isinstance(tier, bool) or not isinstance(tier, int):
        raise TypeError(f"the tier of {server!r} has to be an int, not {tier!r}")
    if tier < 0:
        raise ValueError(f"the tier of {server!r} has to be 0 at least, not {tier}")
    return 0


@cython.final
cdef class Tiers(Wrapper):
    """Tiers(selector, tiers, *, overprovisioning=1.4)\n--\n\nPick from the first tier of servers, and from later tiers as far as too little of it is up.

    selector          a selector, or a wrapper; a server that it excludes, as an ejection does, counts as down. Selectors that choose
                      by a key are refused: keys would move back and forth with the health of other servers.
    tiers             a mapping from servers to tiers, ints of 0 and more, or pairs of these; 0 comes first. Servers that it does not
                      name form one more tier, after all others. For zones: 0 for the servers of the own zone, 1 for the rest.
    overprovisioning  how much more than its share a tier can take, 1 to 100 (1.4): with 1.4 a tier of which 72 % is up still takes all.
    A pick costs as much as the selector's, plus some ns; a change is O(servers). Within a tier, shares follow the weights.
    """

    def __init__(self, selector, tiers, *, overprovisioning: float = 1.4):
        base = (<Wrapper>selector).base if isinstance(selector, Wrapper) else selector
        if isinstance(base, Algorithm) and (<Algorithm>base).keyed:
            raise TypeError(f"{type(base).__name__} chooses by a key: the health of others would move keys back and forth")
        if isinstance(overprovisioning, bool) or not isinstance(overprovisioning, (int, float)):
            raise TypeError(f"overprovisioning has to be a number, not {overprovisioning!r}")
        if not 1 <= overprovisioning <= 100:
            raise ValueError(f"overprovisioning has to be between 1 and 100, not {overprovisioning!r}")
        self.tier_of = dict(tiers)
        for server, tier in self.tier_of.items():
            checked_tier(server, tier)
        self.overprovisioning = overprovisioning
        self.load = {}
        self.wrap(selector, None)

    cdef object tier(self, object server):
        found = self.tier_of.get(server)
        return max(self.tier_of.values(), default=-1) + 1 if found is None else found

    def set_tier(self, server, tier: int) -> None:
        """Put a server into another tier. The server need not be added yet. Raises TypeError or ValueError."""
        checked_tier(server, tier)
        with cython.critical_section(self.base):
            self.tier_of[server] = tier
            self.base.change()

    @property
    def loads(self) -> dict:
        """The part of all picks that each tier gets now, in percent, by tier."""
        self.ahead()
        with cython.critical_section(self.base):
            return dict(self.load)

    cdef dict shares(self, dict health):
        """The percentage of picks of each tier, from the tiers' health: 100 in all, or 0 if all tiers are down."""
        cdef int left = WHOLE, total = min(WHOLE, sum(health.values())), part
        cdef dict found = {}
        if total == 0:
            return {tier: 0 for tier in health}
        for tier in sorted(health):
            part = min(left, health[tier] * WHOLE // total)
            found[tier] = part
            left -= part
        for tier in sorted(health):
            if found[tier]:
                found[tier] += left            # the remainder of rounding
                break
        return found

    cdef int reshape(self, Algorithm selector) except -1:
        cdef Py_ssize_t i
        cdef dict up = {}, all_of = {}, opened = {}
        cdef list tiers = [self.tier(server) for server in selector.names]
        for i in range(selector.count):
            tier = tiers[i]
            all_of[tier] = all_of.get(tier, 0) + selector.weights[i]
            if selector.open[i]:
                up[tier] = up.get(tier, 0) + selector.weights[i]
                opened[tier] = opened.get(tier, 0) + selector.open[i]
        self.load = self.shares({
            tier: min(WHOLE, <int>(WHOLE * self.overprovisioning * up.get(tier, 0) / total)) if total else 0
            for tier, total in all_of.items()
        })
        used = [tier for tier, part in self.load.items() if part]
        if len(used) < 2:
            for i in range(selector.count):
                if self.load[tiers[i]] == 0:
                    selector.open[i] = 0
            return 0
        # Scale the weights of each tier exactly to a common sum, times the tier's part; then divide all by their greatest divisor.
        common = 1
        for tier in used:
            common = common * opened[tier] // gcd(common, opened[tier])
        scaled = [
            self.load[tiers[i]] * <object>selector.open[i] * (common // opened[tiers[i]]) if selector.open[i] and self.load[tiers[i]] else 0
            for i in range(selector.count)
        ]
        divisor = gcd(*scaled)
        largest = max(scaled) // divisor
        for i in range(selector.count):
            value = scaled[i] // divisor
            if largest > MOST_WEIGHT and value:
                value = max(1, value * MOST_WEIGHT // largest)     # to a part in 2**30
            selector.open[i] = value
        return 0

    cdef dict options(self):
        return {"tiers": [[server, tier] for server, tier in self.tier_of.items()], "overprovisioning": self.overprovisioning}
