"""One type for everything that picks: for type checkers, at run time, in signatures; the stubs are the truth."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lbcore.selection
from lbcore.selection import (
    Algorithm,
    InFlightLimit,
    LeastTime,
    OutlierDetector,
    PanicThreshold,
    Prequal,
    Selector,
    SlowStart,
    SmoothWRR,
    Tiers,
    Wrapper,
)
from tests.unit.selection.algorithms import ALL

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "lbcore/selection"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
TYPED = """
from collections.abc import Callable
from lbcore.selection import *
from lbcore.selection import Selector

def use(lb: Selector[str]) -> str:
    lb.update({"a": 1}); lb.update([("a", 3)]); lb.update(lb)
    found: dict[str, str] = lb.ejected
    for name, stats in lb.stats().items():
        print(name, stats.picks, stats.in_flight, stats.latency_s, stats.state, found.get(name))
    with lb.lease("key", exclude="a", cost=3) as server:
        print(server.upper())
    lb.layer(OutlierDetector).eject("a")
    return lb.pick(exclude=["a"])

async def wait(lb: Selector[str]) -> str:
    async with await lb.acquire(timeout=1.5) as server:
        return server

def called(server: str) -> None: ...
def ejected(server: str, reason: str) -> None: ...

def retried(lb: Selector[str], budget: RetryBudget) -> None:
    for attempt in Retry(lb, "key", attempts=3, budget=budget, retry_on=(OSError,)):
        with attempt as server:
            called(server)

use(SmoothWRR({"a": 1}))
use(SmoothWRR([("a", 3)]))
use(SmoothWRR(["a"]))
use(SlowStart(SmoothWRR(["a"])))
use(PanicThreshold(SlowStart(OutlierDetector(SmoothWRR(["a"]), on_eject=ejected))))
use(Tiers(InFlightLimit(PeakEWMA(["a"]), 8), {"a": 0}))
use(Rendezvous({"a": 3}, bounded_load=1.25))
make: Callable[..., Selector[str]] = SmoothWRR
weights: dict[str, int] = scaled({"a": 0.5})
"""
REFUSED = (
    'OutlierDetector(SmoothWRR(["a"]), atempts=3)',
    'SmoothWRR(["a"], sed=1)',
    'Retry(SmoothWRR(["a"]), atempts=3)',
    'InFlightLimit(SmoothWRR(["a"]), 3, max_wating=4)',
    'SlowStart(SmoothWRR(["a"]), window=3)',
    'SlowStart({"a": 1})',
    'SmoothWRR(["a"], seed="x")',
    'SmoothWRR(["a"]).ejectd',
    'SmoothWRR(["a"]).set_up("a", "no")',
    'OutlierDetector(SmoothWRR(["a"])).observe("a", ok="no")',
)


def test_a_strict_type_checker_takes_every_selector_and_refuses_what_is_misspelt(tmp_path: Path) -> None:
    (tmp_path / "used.py").write_text(TYPED + "\n".join(REFUSED) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), "used.py"]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    refused = {int(number) for number in re.findall(r"^used\.py:(\d+): error", found, re.MULTILINE)}
    begins = TYPED.count("\n") + 1
    assert refused == set(range(begins, begins + len(REFUSED))), found
    assert len(re.findall(r": error", found)) == len(re.findall(r"^used\.py:\d+: error", found, re.MULTILINE)), found


@pytest.mark.parametrize("line", REFUSED)
def test_the_same_is_refused_at_run_time(line: str) -> None:
    with pytest.raises((TypeError, AttributeError)):
        eval(line, {name: getattr(lbcore.selection, name) for name in lbcore.selection.__all__})


def test_stubs_are_the_truth() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "--mypy-config-file", "pyproject.toml", "lbcore.selection"]
    found = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    assert (ROOT / "lbcore/py.typed").exists()


def wrapped() -> list[Selector[Any]]:
    base = lambda: SmoothWRR({"a": 3, "b": 1})  # noqa: E731
    return [
        SlowStart(base()),
        OutlierDetector(base()),
        PanicThreshold(base()),
        InFlightLimit(base(), 3),
        Tiers(base(), {"a": 0, "b": 0}),
        PanicThreshold(Tiers(InFlightLimit(SlowStart(OutlierDetector(base())), 3), {"a": 0, "b": 0})),
    ]


def test_everything_is_a_selector_with_the_same_methods() -> None:
    plain = SmoothWRR({"a": 3, "b": 1})
    for lb in wrapped():
        assert isinstance(lb, Selector) and isinstance(lb, Wrapper) and lb.algorithm == "SmoothWRR"
        assert [lb.pick() for _ in range(4)] == ["a", "a", "b", "a"] and lb.stats()["a"].picks == 3
        assert (dict(lb.items()), lb.keys(), lb.values(), len(lb), list(lb)) == (
            {"a": 3, "b": 1}, ("a", "b"), (3, 1), 2, ["a", "b"],
        )  # fmt: skip
        assert lb.ejected == {} and lb.panicking is False and lb.ramp("a") == 100 and lb.latency_s("b") is None
        assert lb.share("a") == plain.share("a") == 0.75
        assert lb.layer(SmoothWRR).pick() in "ab" and lb.layer(type(lb)) is lb
        with pytest.raises(LookupError, match="no LeastTime"):
            lb.layer(LeastTime)
        lb.tick()
        lb.update({"a": 2, "c": 1})
        lb["d"] = 1
        del lb["a"]
        assert dict(lb.items()) == {"c": 1, "d": 1} and lb.get("a") is None and "c" in lb
        with pytest.raises(KeyError):
            lb.share("a")
    for make in ALL.values():
        assert isinstance(make(["a"]), Algorithm) and isinstance(make(["a"]), Selector)
    assert not isinstance({"a": 1}, Selector)
    with pytest.raises(NotImplementedError):
        Selector().pick()


def test_what_a_part_knows_is_seen_through_all_that_is_around_it() -> None:
    now = [0.0]
    lb: Selector[str] = PanicThreshold(SlowStart(OutlierDetector(LeastTime(["a", "b", "c"])), clock=lambda: now[0]))
    assert lb.layer(OutlierDetector).eject("b") and lb.ejected == {"b": "by hand"}
    lb.add("d")
    lb.report("a", latency_s=0.25)
    lb.set_weight("c", 0)
    stats = lb.stats()
    assert {server: found.state for server, found in stats.items()} == {
        "a": "up", "b": "ejected", "c": "drained", "d": "starting",
    }  # fmt: skip
    assert lb.ramp("d") == 10 and lb.latency_s("a") == stats["a"].latency_s == 0.25
    lb.set_up("a", False)
    assert lb.stats()["a"].state == "down" and lb.panicking
    assert "picks=0" in repr(stats["a"])


@pytest.mark.parametrize("name", sorted(lbcore.selection.__all__))
def test_signatures_can_be_read(name: str) -> None:
    found = getattr(lbcore.selection, name)
    if callable(found) and name not in ("Key", "Lease", "NoServerError"):
        signature = inspect.signature(found)
        assert not any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values()), signature
        assert inspect.getdoc(found)
    if name in ALL:
        assert list(signature.parameters)[:2] == ["servers", "seed"]
    if inspect.isclass(found) and issubclass(found, Selector):
        for method in ("pick", "lease", "acquire", "update", "report"):
            assert next(iter(inspect.signature(getattr(found, method)).parameters)) == "self"
            assert inspect.getdoc(getattr(found, method))


def test_stubs_have_the_docstrings_of_the_sources() -> None:
    found = subprocess.run([sys.executable, "ci/stubs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_prequal_is_reached_through_wrappers() -> None:
    lb = SlowStart(Prequal(["a", "b"]))
    probed = lb.layer(Prequal)
    probed.probe("a", 1, 0.1)
    probed.probe("b", 1, 0.2)
    assert lb.pick() == "a"
