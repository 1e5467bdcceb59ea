"""Any sequence of failures, recoveries, new weights and reloads keeps what the service tree promises."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.tree import Tree

NAMES = ["leaf0", "leaf1", "leaf2", "mid0", "mid1", "top"]
URLS = [f"http://10.0.0.{n}:80" for n in range(1, 10)]
weights = st.integers(0, 4)


class ServiceTree(RuleBasedStateMachine):
    """Three levels with a diamond; the model knows what every level has to be."""

    @initialize(
        drawn=st.lists(weights, min_size=14, max_size=14), strategy=st.sampled_from(["wrr", "p2c", "leastconn"])
    )
    def start(self, drawn: list[int], strategy: str) -> None:
        self.weights = drawn
        self.strategy = strategy
        self.up = dict.fromkeys(URLS, True)
        self.overrides: dict[tuple[str, str], int] = {}
        self.tree = Tree(self.services())

    def services(self) -> dict[str, Any]:
        check = {"healthCheck": {"path": "/"}}
        found: dict[str, Any] = {}
        for leaf in range(3):
            servers = [{"url": url, "weight": self.weights[3 * leaf + n]} for n, url in enumerate(self.urls(leaf))]
            found[f"leaf{leaf}"] = {"loadBalancer": {"servers": servers, "strategy": self.strategy, **check}}
        for name, children, first in self.parents():
            listed = [{"name": child, "weight": self.weights[first + n]} for n, child in enumerate(children)]
            found[name] = {"weighted": {"services": listed, "healthCheck": {}}}
        return found

    @staticmethod
    def urls(leaf: int) -> list[str]:
        return URLS[3 * leaf : 3 * leaf + 3]

    @staticmethod
    def parents() -> list[tuple[str, list[str], int]]:
        return [("mid0", ["leaf0", "leaf1"], 9), ("mid1", ["leaf1", "leaf2"], 11), ("top", ["mid0", "mid1"], 12)]

    # The model

    def is_up(self, name: str) -> bool:
        if name.startswith("leaf"):
            return any(self.up[url] for url in self.urls(int(name[4:])))
        children = next(found for parent, found, _ in self.parents() if parent == name)
        return any(self.is_up(child) for child in children)

    def shares(self, name: str) -> dict[str, int]:
        """Effective weight of each member of a service."""
        if name.startswith("leaf"):
            leaf = int(name[4:])
            pairs = {url: self.weights[3 * leaf + n] for n, url in enumerate(self.urls(leaf))}
            stands = self.up
        else:
            children, first = next((found, at) for parent, found, at in self.parents() if parent == name)
            pairs = {child: self.weights[first + n] for n, child in enumerate(children)}
            stands = {child: self.is_up(child) for child in children}
        return {
            member: self.overrides.get((name, member), weight) if stands[member] else 0
            for member, weight in pairs.items()
        }

    # What happens

    @rule(url=st.sampled_from(URLS), up=st.booleans())
    def server_changes(self, url: str, up: bool) -> None:
        self.up[url] = up
        self.tree.set_up(f"leaf{URLS.index(url) // 3}", url, up)

    @rule(name=st.sampled_from(NAMES), which=st.integers(0, 2), weight=st.none() | weights)
    def weight_is_overridden(self, name: str, which: int, weight: int | None) -> None:
        members = list(self.shares(name))
        member = members[which % len(members)]
        self.tree.region.set_weight(self.tree.slot(name, member), weight)
        self.overrides.pop((name, member), None)
        if weight is not None:
            self.overrides[name, member] = weight

    @rule(at=st.integers(0, 13), weight=weights)
    def configuration_is_reloaded(self, at: int, weight: int) -> None:
        self.weights[at] = weight
        self.tree.apply(self.services())

    # What holds

    @invariant()
    def statuses_follow_the_children(self) -> None:
        if not hasattr(self, "tree"):
            return
        for name in NAMES:
            assert self.tree.service(name).is_up == self.is_up(name), name

    @invariant()
    def picks_go_to_who_stands_in_the_right_shares(self) -> None:
        if not hasattr(self, "tree"):
            return
        for name in NAMES:
            shares = self.shares(name)
            total = sum(shares.values())
            if name.startswith("leaf"):
                counts = Counter(self.tree.picks(name, total or 1))
                if self.strategy == "wrr":
                    assert counts == ({url: share for url, share in shares.items() if share} if total else {None: 1})
                else:
                    assert {url for url in counts if url} <= {url for url, share in shares.items() if share}
                continue
            before = {m: self.tree.region.server_counters(self.tree.slot(name, m)).requests for m in shares}
            for _ in range(total):
                self.tree.pick(name)
            if total == 0:
                assert self.tree.pick(name) is None
            for member, share in shares.items():
                slot = self.tree.slot(name, member)
                assert self.tree.region.server_counters(slot).requests - before[member] == share


TestServiceTree = ServiceTree.TestCase
TestServiceTree.settings = settings(max_examples=60, stateful_step_count=25)
