"""What servers and weights may be given as, and `update`, which keeps what is known of the servers that stay."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import (
    EDF,
    P2C,
    LeastTime,
    OutlierDetector,
    PanicThreshold,
    Rendezvous,
    SlowStart,
    SmoothWRR,
    Tiers,
    scaled,
)
from tests.unit.selection.algorithms import ALL, Make, key

every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
weights = st.dictionaries(st.integers(0, 12), st.integers(0, 9), max_size=9)


class Index:
    """An int as other libraries have them."""

    def __index__(self) -> int:
        return 3


@every
def test_what_servers_are_given_as(make: Make) -> None:
    assert make([("a", 3), ("b", 1)]) == make({"a": 3, "b": 1}) == make(iter([("a", 3), ("b", 1)]))
    assert make(["a", "b"]) == make({"a": 1, "b": 1}) == make(("a", "b"))
    assert dict(make({("10.0.0.1", 80): 2}).items()) == {("10.0.0.1", 80): 2}
    assert make({"a": Index()})["a"] == 3  # type: ignore[dict-item]
    for wrong in ("abc", b"abc", "", 3, None, ["a", ("b", 3)], [("a", 3), "b"]):
        with pytest.raises(TypeError):
            make(wrong)
    for wrong in ({"a": 0.5}, [("a", 0.5)], {"a": Fraction(1, 2)}, {"a": "1"}, {"a": True}):
        with pytest.raises(TypeError, match="scaled"):
            make(wrong)
    for seed in ("x", 1.5, None, True):
        with pytest.raises(TypeError, match="seed"):
            make(["a"], seed=seed)


@every
def test_a_text_that_is_excluded_is_one_server(make: Make) -> None:
    lb = make(["db-1", "db-10", "d"])
    for n in range(30):
        assert lb.pick(key(lb, n), exclude="db-10") in ("db-1", "d")
        assert sorted(lb.pick_n(key(lb, n), 3, exclude="db-10")) == ["d", "db-1"]
        with lb.lease(key(lb, n), exclude="db-1") as server:
            assert server in ("db-10", "d")
    assert make([b"x", b"xy"]).pick(key(lb, 1), exclude=b"xy") == b"x"


@every
@given(before=weights, after=weights)
def test_update_sets_the_given_servers_and_weights(make: Make, before: dict[int, int], after: dict[int, int]) -> None:
    lb = make(before)
    lb.update(after)
    assert dict(lb.items()) == after
    assert list(lb) == [s for s in before if s in after] + [s for s in after if s not in before]
    eligible = {server for server, weight in after.items() if weight}
    assert set(lb.pick_n(key(lb, 1), 99)) == eligible


@every
def test_update_keeps_what_is_known_of_the_servers_that_stay(make: Make) -> None:
    lb = make({"a": 2, "b": 1, "c": 1, "d": 1})
    lb.set_up("c", False)
    leases = [lb.lease(key(lb, n)) for n in range(12)]
    held = Counter(lease.server for lease in leases)
    picks = {server: stats.picks for server, stats in lb.stats().items()}
    lb.update({"e": 5, "c": 1, "b": 7, "a": 2})
    assert list(lb) == ["a", "b", "c", "e"] and lb["b"] == 7 and not lb.is_up("c")
    for server in ("a", "b", "c"):
        assert lb.in_flight(server) == held[server] and lb.stats()[server].picks == picks[server]
    assert lb.in_flight("e") == 0
    for lease in leases:
        lease.end()
    assert {lb.in_flight(server) for server in lb} == {0}


@every
def test_update_is_whole_or_nothing(make: Make) -> None:
    lb = make({"a": 2, "b": 1})
    for wrong, error in (
        ({"a": 2, "c": -1}, ValueError),
        ({"c": 1, "a": 0.5}, TypeError),
        ([("c", 1), ("c", 2)], ValueError),
        ("abc", TypeError),
    ):
        with pytest.raises(error):
            lb.update(wrong)
        assert lb == make({"a": 2, "b": 1})


def test_positions_waits_and_latencies_stay() -> None:
    for kind in (SmoothWRR, EDF):
        lb, other = kind({"a": 5, "b": 2}), kind({"a": 5, "b": 2})
        lb.pick(), other.pick()
        lb.update({"a": 5, "b": 2})  # nothing is different: it goes on where it was
        assert [lb.pick() for _ in range(14)] == [other.pick() for _ in range(14)]
    timed = LeastTime(["a", "b", "c"])
    timed.report("b", latency_s=0.5)
    timed.update({"b": 3, "d": 1})
    assert timed.latency_s("b") == pytest.approx(0.5) and timed.latency_s("d") is None
    guarded: Any = SlowStart(OutlierDetector(P2C(["a", "b", "c"])), clock=lambda: 0.0)
    guarded.layer(OutlierDetector).eject("b")
    guarded.update(["b", "c", "d"])
    assert guarded.ejected == {"b": "by hand"} and guarded.ramp("d") == 10 and guarded.ramp("c") == 100


def test_keys_keep_their_servers() -> None:
    lb = Rendezvous({"a": 1, "b": 1, "c": 1})
    before = {n: lb.pick(n) for n in range(300)}
    lb.update(["c", "b", "d", "a"])
    assert all(lb.pick(n) in (server, "d") for n, server in before.items())


def test_fractions_as_weights() -> None:
    assert scaled({"a": 0.5, "b": 0.25}) == {"a": 2, "b": 1}
    assert scaled([("a", 0.1), ("b", 0.2), ("c", 0)]) == {"a": 1, "b": 2, "c": 0}
    assert scaled({"a": Fraction(1, 3), "b": Decimal("0.5"), "c": 2}) == {"a": 2, "b": 3, "c": 12}
    assert scaled({"a": 70.0, "b": 30.0}) == {"a": 7, "b": 3} and scaled({}) == {} and scaled({"a": 0.0}) == {"a": 0}
    lb = SmoothWRR(scaled({"a": 0.6, "b": 0.3, "c": 0.1}))
    assert Counter(lb.pick() for _ in range(1000)) == {"a": 600, "b": 300, "c": 100}
    for wrong, error in (
        ({"a": 1 / 3, "b": 1.0}, ValueError),
        ({"a": float("nan")}, ValueError),
        ({"a": float("inf")}, ValueError),
        ({"a": -0.5}, ValueError),
        ([("a", 1), ("a", 2)], ValueError),
        ({"a": "1"}, TypeError),
        ({"a": True}, TypeError),
    ):
        with pytest.raises(error):
            scaled(wrong)  # type: ignore[arg-type]


# Tiers


def shares(lb: Any) -> dict[Any, float]:
    return {server: lb.share(server) for server in lb}


def test_tiers_as_envoy_shares_them() -> None:
    first, second = [f"p{n}" for n in range(100)], [f"s{n}" for n in range(100)]
    lb = Tiers(SmoothWRR([*first, *second]), {**dict.fromkeys(first, 0), **dict.fromkeys(second, 1)})
    for up, wanted in ((100, 100), (72, 100), (71, 99), (50, 70), (25, 35), (0, 0)):
        for number, server in enumerate(first):
            lb.set_up(server, number < up)
        assert lb.loads == {0: wanted, 1: 100 - wanted}
        found = Counter(lb.pick()[0] for _ in range(10_000))
        assert abs(found["p"] - 100 * wanted) < 100
    for number, server in enumerate([*first, *second]):
        lb.set_up(server, number % 100 < 20)
    assert lb.loads == {0: 50, 1: 50}
    for server in [*first, *second]:
        lb.set_up(server, False)
    assert lb.loads == {0: 0, 1: 0} and not any(shares(lb).values())


def test_tiers_keep_weights_within_and_follow_ejections() -> None:
    lb = Tiers(
        OutlierDetector(SmoothWRR({"a": 3, "b": 1, "c": 2, "d": 5}), max_ejection_percent=100),
        [("a", 0), ("b", 0), ("c", 1)],
        overprovisioning=1.0,
    )
    assert shares(lb) == {"a": 0.75, "b": 0.25, "c": 0, "d": 0}
    assert lb.stats()["c"].state == "standby"
    lb.layer(OutlierDetector).eject("a")
    assert shares(lb) == {"a": 0, "b": 0.25, "c": 0.75, "d": 0}
    lb.set_tier("c", 3)  # the tier that was not named comes last
    assert shares(lb)["c"] == 0.75
    lb.set_up("c", False)
    assert shares(lb) == {"a": 0, "b": 0.25, "c": 0, "d": 0.75}
    lb.set_tier("d", 0)
    assert shares(lb)["b"] == pytest.approx(1 / 6) and lb.loads[0] == 66 + 34
    twin = Tiers(SmoothWRR(["a"]), {"a": 0})
    assert twin == Tiers(SmoothWRR(["a"]), {"a": 0}) and twin != Tiers(SmoothWRR(["a"]), {"a": 1})


def test_tiers_that_are_none_are_refused() -> None:
    for tiers, named, error in (
        ({"a": -1}, {}, ValueError),
        ({"a": 0.5}, {}, TypeError),
        ({"a": 0}, {"overprovisioning": 0.5}, ValueError),
        ({"a": 0}, {"overprovisioning": "x"}, TypeError),
    ):
        with pytest.raises(error):
            Tiers(SmoothWRR(["a"]), tiers, **named)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key"):
        Tiers(Rendezvous(["a"]), {"a": 0})
    with pytest.raises(TypeError):
        PanicThreshold(SmoothWRR(["a"]), True)


# Hooks


def test_hooks_are_called_after_the_update_and_may_use_the_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    seen: list[Any] = []

    def gone(server: str, reason: str) -> None:
        seen.append((server, reason, sorted({lb.pick() for _ in range(9)}), dict(lb.ejected)))

    def back(server: str) -> None:
        seen.append((server, sorted({lb.pick() for _ in range(9)})))
        raise ZeroDivisionError

    lost: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda found: lost.append(found.exc_type))
    guarded = OutlierDetector(
        SmoothWRR(["a", "b", "c"]), consecutive_failures=2, on_eject=gone, on_return=back, clock=lambda: now[0]
    )
    lb: Any = SlowStart(guarded, clock=lambda: now[0])
    for _ in range(2):
        lb.report("b", ok=False)
    assert seen == [("b", "consecutive failures", ["a", "c"], {"b": "consecutive failures"})]
    now[0] = 31.0
    lb.pick()
    assert seen[1][0] == "b" and lost == [ZeroDivisionError]
    assert guarded.eject("a") and seen[2][:2] == ("a", "by hand")
    guarded.uneject("a")
    assert seen[3][0] == "a" and len(seen) == 4
    for _ in range(2):
        with pytest.raises(ConnectionError), guarded.lease(exclude="ac"):
            raise ConnectionError
    assert seen[4][:2] == ("b", "consecutive failures") or seen[4][1] == "consecutive failures"
