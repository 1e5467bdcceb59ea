"""Another process takes servers down and up while this one chooses: one is up at any moment, so one is chosen."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from lbcore.state.cells import CHECK, EJECTED
from tests.support.tree import Tree, servers, weighted

A, B = "http://10.0.0.1:80", "http://10.0.0.2:80"
CHECKED: dict[str, Any] = {
    "healthCheck": {"path": "/"},
    "passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "1s"},
}
WATCH: dict[str, Any] = {"healthCheck": {}}
TREES: dict[str, dict[str, Any]] = {
    "weighted": {"top": weighted("x", "y", **WATCH)},
    "deeper": {"top": weighted("one", "two", **WATCH), "one": weighted("x", **WATCH), "two": weighted("y", **WATCH)},
    "failover": {"top": {"failover": {"service": "x", "fallback": "y"}}},
    "sticky": {"top": weighted("x", "y", sticky={"cookie": {"name": "s"}}, **WATCH)},
}


def pause() -> None:
    """A few microseconds: faster than any check, slower than a pick."""
    for _ in range(200):
        pass


@contextlib.contextmanager
def flapping(tree: Tree, reason: int) -> Iterator[None]:
    """A process that takes one of the two down, and up again before the other one."""
    slots = [tree.slot("x", A), tree.slot("y", B)]
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                for slot in slots:
                    tree.region.set_up(slot, False, reason)
                    pause()
                    tree.region.set_up(slot, True, reason)
                    pause()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("reason", [CHECK, EJECTED])
@pytest.mark.parametrize("shape", TREES)
def test_a_service_that_goes_down_during_a_pick_leaves_the_request_to_a_sibling(shape: str, reason: int) -> None:
    tree = Tree({"x": servers(A, **CHECKED), "y": servers(B, **CHECKED), **TREES[shape]})
    top = tree.service("top")
    with flapping(tree, reason):
        end = time.monotonic() + 1.5
        picked = 0
        while time.monotonic() < end:
            for _ in range(100):
                assert top.pick() is not None, f"none after {picked} picks"
                picked += 1
