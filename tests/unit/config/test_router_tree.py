"""Trees of routers: circles are opened, what no root leads to stays out, and the number of ways is bounded."""

from __future__ import annotations

import pytest

from lbcore.config import router_tree
from lbcore.config.load import parse_dynamic, parse_static
from lbcore.config.router_tree import MAX_LEVELS, MAX_WAYS, router_trees
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems


def test_without_parents_there_is_nothing() -> None:
    trees = router_trees({"a": [], "b": []})
    assert (trees.children, trees.order, trees.errors) == ({}, {}, {})


def test_children_come_before_parents() -> None:
    trees = router_trees({"c": ["b"], "a": [], "b": ["a", "a"], "d": ["a", "c", "nobody"]})
    assert trees.children == {"b": ["c"], "a": ["b", "d"], "c": ["d"]}
    order = list(trees.order)
    assert sorted(order) == ["a", "b", "c", "d"]
    for parent, below in trees.children.items():
        assert all(order.index(child) < order.index(parent) for child in below)


def test_circles_are_opened_where_they_close() -> None:
    trees = router_trees({"a": [], "b": ["a", "c"], "c": ["b"], "d": ["c", "d"], "x": ["y"], "y": ["x"]})
    assert trees.errors == {
        "c": ["cyclic reference detected in router tree: b -> c -> b"],
        "d": ["cyclic reference detected in router tree: d -> d"],
    }
    assert trees.children == {"a": ["b"], "b": ["c"], "c": ["d"], "d": [], "x": ["y"], "y": ["x"]}
    assert "x" not in trees.order and "y" not in trees.order


def test_depth_is_bounded() -> None:
    chain: dict[str, list[str]] = {"r0": []}
    chain |= {f"r{n}": [f"r{n - 1}"] for n in range(1, MAX_LEVELS + 2)}
    assert list(router_trees(chain).errors) == ["r1", "r0"]
    assert "levels" in router_trees(chain).errors["r0"][0]
    long: dict[str, list[str]] = {"r0": []}
    long |= {f"r{n}": [f"r{n - 1}"] for n in range(1, 20_000)}
    assert len(router_trees(long).order) == 20_000


def test_the_number_of_ways_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    diamonds: dict[str, list[str]] = {"top": []}
    above = ["top"]
    for level in range(40):  # 2 ** 40 ways
        pair = [f"l{level}a", f"l{level}b"]
        diamonds |= dict.fromkeys(pair, above)
        above = pair
    trees = router_trees(diamonds)
    assert trees.errors["top"] == [f"it leads to others in more than {MAX_WAYS} ways"]
    monkeypatch.setattr(router_tree, "MAX_ALL_WAYS", 3)
    wide = {"a": [], "b": [], "plain": [], **{f"k{n}": ["a", "b"] for n in range(3)}}
    assert router_trees(wide).errors == {"b": ["routers lead to others in more than 3 ways"]}


def test_a_tree_with_too_many_ways_is_disabled_and_the_rest_runs() -> None:
    lines = ["http:", "  routers:", "    top: {rule: 'Host(`top`)'}", "    fine: {rule: 'Host(`f`)', service: s}"]
    above = "top"
    for level in range(30):
        for side in "ab":
            lines.append(f"    l{level}{side}: {{rule: 'PathPrefix(`/{side}`)', parentRefs: [{above}]}}")
        above = f"l{level}a, l{level}b"
    lines.append(f"    end: {{rule: 'PathPrefix(`/`)', parentRefs: [{above}], service: s}}")
    lines += ["  services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}", ""]
    dynamic, _ = parse_dynamic("\n".join(lines))
    static, _ = parse_static("entryPoints: {web: {address: ':0'}}")
    disabled, _ = find_problems(merge({"file": dynamic}), static)
    out = {entry.name for entry in disabled}
    assert "top@file" in out and "end@file" in out
    assert "fine@file" not in out
    assert any("more than 10000 ways" in text for entry in disabled for text in entry.errors)
