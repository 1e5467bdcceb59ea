"""A look makes nodes for a limited CPU time, at least one; the next looks make the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lbcore.api.nodes import Nodes
from lbcore.state.sampler import SERVERS


def test_what_one_look_does_not_make_the_next_ones_make() -> None:
    runtime: Any = SimpleNamespace(unreached={})
    structure: Any = SimpleNamespace(nodes={}, units={SERVERS: {}})
    nodes = Nodes.__new__(Nodes)
    nodes._unreached = frozenset()
    nodes.pending = dict.fromkeys(("a", "b", "c"))
    nodes.build(runtime, structure, 0)
    assert list(nodes.pending) == ["b", "c"]
    nodes.build(runtime, structure, 60)
    assert not nodes.pending
