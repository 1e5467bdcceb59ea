"""The panic threshold."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import NoServerError, OutlierDetector, PanicThreshold, SlowStart, SmoothWRR


def seen(lb: Any, count: int = 60) -> set[Any]:
    return {lb.pick() for _ in range(count)}


def test_below_the_threshold_health_is_ignored() -> None:
    lb = PanicThreshold(SmoothWRR({"a": 1, "b": 1, "c": 1, "d": 1}))
    lb.set_up("a", False)
    lb.set_up("b", False)
    assert not lb.panicking and seen(lb) == {"c", "d"}
    lb.set_up("c", False)
    assert lb.panicking and Counter(lb.pick() for _ in range(40)) == dict.fromkeys("abcd", 10)
    lb.set_up("a")
    assert not lb.panicking and seen(lb) == {"a", "d"}


states = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=8)


@given(servers=states, percent=st.integers(0, 100))
def test_weights_decide(servers: list[tuple[int, bool]], percent: int) -> None:
    lb = PanicThreshold(SmoothWRR({n: weight for n, (weight, _) in enumerate(servers)}), percent)
    for number, (_, up) in enumerate(servers):
        lb.set_up(number, up)
    total = sum(weight for weight, _ in servers)
    healthy = sum(weight for weight, up in servers if up)
    panic = healthy * 100 < percent * total
    expected = {n for n, (weight, up) in enumerate(servers) if weight and (up or panic)}
    assert lb.panicking == panic
    if expected:
        assert seen(lb, 3 * total) == expected
    else:
        with pytest.raises(NoServerError):
            lb.pick()


def test_ejections_and_ramps_within() -> None:
    lb = PanicThreshold(SlowStart(OutlierDetector(SmoothWRR(range(4)), max_ejection_percent=100)), 60)
    detector = lb.selector.selector
    detector.eject(0)
    assert not lb.panicking and seen(lb) == {1, 2, 3}
    detector.eject(1)
    assert lb.panicking and seen(lb) == {0, 1, 2, 3}
    detector.uneject(0)
    assert not lb.panicking and lb.selector.ramp(0) < 20 and lb.share(1) == 0


def test_wrong_percentages() -> None:
    for wrong in (-1, 101):
        with pytest.raises(ValueError):
            PanicThreshold(SmoothWRR(["a", "b"]), wrong)
