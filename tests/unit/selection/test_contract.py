"""What every selector promises, whatever its algorithm."""

from __future__ import annotations

import copy
import json
import pickle
from array import array
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.selection import NoServerError, OutlierDetector, hash_of
from tests.support.threads import together
from tests.unit.selection.algorithms import ALL, EXACT, KEYED, UNKEYED, WEIGHTED, Make, key

every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
WEIGHTS = {"app-1": 5, "app-2": 1, "app-3": 2, "app-4": 0}
masks = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=9)


def picks(lb: Any, count: int) -> list[Any]:
    return [lb.pick(key(lb, number)) for number in range(count)]


@every
def test_mapping(make: Make) -> None:
    lb = make(WEIGHTS)
    assert len(lb) == 4 and list(lb) == list(WEIGHTS) and lb.servers == tuple(WEIGHTS)
    assert "app-1" in lb and "app-9" not in lb
    assert lb["app-1"] == 5 and lb.get("app-9") is None and lb.get("app-9", 7) == 7
    assert dict(lb.items()) == WEIGHTS and dict(lb) == WEIGHTS and lb.values() == (5, 1, 2, 0)
    assert lb == make(WEIGHTS) and lb != make({"app-1": 5}) and lb != WEIGHTS
    assert repr(lb).startswith(f"{type(lb).__name__}({{'app-1': 5")
    with pytest.raises(KeyError):
        lb["app-9"]
    with pytest.raises(TypeError):
        hash(lb)
    lb["app-5"] = 3
    lb["app-1"] = 4
    del lb["app-2"]
    assert dict(lb) == {"app-1": 4, "app-3": 2, "app-4": 0, "app-5": 3}
    assert make(["a", "b"]) == make({"a": 1, "b": 1})
    assert make(lb) == lb


@every
def test_wrong_servers_are_refused_and_change_nothing(make: Make) -> None:
    lb = make(WEIGHTS)
    for server, weight, error in (("a", -1, ValueError), ("a", 1 << 31, ValueError), ("a", 1.5, TypeError)):
        with pytest.raises(error):
            lb.add(server, weight)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        lb.add("app-1")
    for change in (lb.remove, lb.set_up, lb.is_up, lb.in_flight):
        with pytest.raises(KeyError):
            change("app-9")
    with pytest.raises(ValueError):
        lb.set_weight("app-1", -5)
    assert lb == make(WEIGHTS)
    with pytest.raises(ValueError):
        make(["a", "a"])


@every
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("value", ["no", "", 0, 1, None, 0.0])
def test_what_is_no_bool_is_no_flag(make: Make, wrapped: bool, value: Any) -> None:
    bare: Any = make(WEIGHTS)
    lb = OutlierDetector(bare) if wrapped else bare
    lease = lb.lease(key(bare, 1))
    for change in (
        lambda: lb.set_up("app-1", value),
        lambda: lb.report("app-1", ok=value),
        lambda: lb.observe("app-1", ok=value) if wrapped else lb.set_up("app-2", up=value),
        lambda: lease.end(ok=value),
    ):
        with pytest.raises(TypeError, match=r"(up|ok) has to be a bool, not "):
            change()
    assert lb.is_up("app-1") and lb.is_up("app-2")
    lease.end(ok=False)


@every
def test_without_an_available_server_a_pick_raises(make: Make) -> None:
    lb = make()
    for _ in range(2):
        with pytest.raises(NoServerError, match="no servers"):
            lb.pick(key(lb, 1))
        lb.add("a", 0)
        with pytest.raises(NoServerError, match="none of 1"):
            lb.pick(key(lb, 1))
        lb.set_weight("a", 3)
        lb.set_up("a", False)
        with pytest.raises(NoServerError):
            lb.pick(key(lb, 1))
        with pytest.raises(NoServerError):
            lb.lease(key(lb, 1))
        with pytest.raises(NoServerError):
            lb.pick_many(["a"] if type(lb).__name__ in KEYED else 3)
        assert lb.pick_n(key(lb, 1), 3) == []
        lb.set_up("a")
        assert lb.pick(key(lb, 1)) == "a"
        lb.remove("a")


@every
@given(mask=masks)
def test_any_mix_of_weights_and_of_up_and_down_gives_an_eligible_server_or_the_error(make: Make, mask: Any) -> None:
    lb = make({number: weight for number, (weight, _) in enumerate(mask)})
    for number, (_, up) in enumerate(mask):
        lb.set_up(number, up)
    eligible = {number for number, (weight, up) in enumerate(mask) if weight and up}
    for number in range(20):
        if eligible:
            assert lb.pick(key(lb, number)) in eligible
        else:
            with pytest.raises(NoServerError):
                lb.pick(key(lb, number))
    assert set(lb.pick_n(key(lb, 0), len(mask))) == eligible


@every
def test_accept_and_exclude(make: Make) -> None:
    lb = make({number: 1 + number % 3 for number in range(20)})
    for number in range(50):
        assert lb.pick(key(lb, number), exclude={*range(19)}) == 19
        assert lb.pick(key(lb, number), accept=lambda server: server == 3) == 3
        assert lb.pick(key(lb, number), accept=lambda server: server < 5, exclude=[0, 1, 2, 3]) == 4
        with pytest.raises(NoServerError):
            lb.pick(key(lb, number), accept=lambda server: False)
    with pytest.raises(ZeroDivisionError):
        lb.pick(key(lb, 1), accept=lambda server: 1 / 0)


@every
def test_pick_n_gives_different_servers(make: Make) -> None:
    lb = make(dict.fromkeys(range(10), 1))
    for number in range(20):
        found = lb.pick_n(key(lb, number), 4)
        assert len(set(found)) == 4
        assert sorted(lb.pick_n(key(lb, number), 99)) == list(range(10))
        assert 3 not in lb.pick_n(key(lb, number), 99, exclude=(3,))


@pytest.mark.parametrize("make", KEYED.values(), ids=KEYED)
def test_the_first_of_pick_n_is_the_pick_and_the_others_are_the_fallbacks(make: Make) -> None:
    lb = make({f"app-{number}": 1 for number in range(12)})
    for number in range(50):
        first, second, third = lb.pick_n(f"user-{number}", 3)
        assert lb.pick(f"user-{number}") == first
        assert lb.pick(f"user-{number}", exclude={first}) == second
        assert lb.pick(f"user-{number}", exclude={first, second}) == third


@pytest.mark.parametrize("make", KEYED.values(), ids=KEYED)
def test_keys(make: Make) -> None:
    lb = make({f"app-{number}": 1 for number in range(12)})
    assert lb.pick("user-1") == lb.pick("user-1") == lb.pick(b"user-1")
    assert lb.pick(5) == lb.pick(5)
    lb.pick(-1), lb.pick((1 << 64) - 1)
    for wrong, error in ((None, TypeError), (1.5, TypeError), (1 << 64, OverflowError)):
        with pytest.raises(error):
            lb.pick(wrong)  # type: ignore[arg-type]


@every
def test_the_same_calls_give_the_same_picks(make: Make) -> None:
    for seed in (0, 7):
        assert picks(make(WEIGHTS, seed=seed), 50) == picks(make(WEIGHTS, seed=seed), 50)


@every
def test_many_at_once_are_the_same_as_one_by_one(make: Make) -> None:
    one, many = make(WEIGHTS), make(WEIGHTS)
    keys = [f"user-{number}" for number in range(100)]
    found = many.pick_many(keys if type(one).__name__ in KEYED else 100)
    assert [many.servers[index] for index in found] == picks(one, 100)
    out = array("I", bytes(4 * 120))
    assert many.pick_many(keys if type(one).__name__ in KEYED else 100, out) is out
    for wrong in (bytearray(400), array("I", [1]), array("Q", [1] * 100)):
        with pytest.raises(TypeError):
            many.pick_many(keys if type(one).__name__ in KEYED else 100, wrong)


@pytest.mark.parametrize("make", UNKEYED.values(), ids=UNKEYED)
def test_a_negative_count_is_refused(make: Make) -> None:
    with pytest.raises(ValueError):
        make(WEIGHTS).pick_many(-1)


@pytest.mark.parametrize("make", KEYED.values(), ids=KEYED)
def test_hashes_in_a_buffer_are_keys(make: Make) -> None:
    lb = make({f"app-{number}": 1 for number in range(12)})
    if type(lb).__name__ == "Jump":
        return  # takes integers as they are: its own test
    hashes = array("Q", [hash_of(f"user-{number}") for number in range(100)])
    assert [lb.servers[index] for index in lb.pick_many(hashes)] == [lb.pick(f"user-{n}") for n in range(100)]


@pytest.mark.parametrize("name", sorted(WEIGHTED))
def test_shares_follow_the_weights(name: str) -> None:
    lb = ALL[name]({f"app-{number}": weight for number, weight in enumerate((1, 2, 3, 4, 0))})
    counts = Counter(picks(lb, 20_000))
    for number, weight in enumerate((1, 2, 3, 4, 0)):
        assert abs(counts[f"app-{number}"] / 20_000 - weight / 10) < 0.02


@pytest.mark.parametrize("name", sorted(EXACT))
@given(weights=st.lists(st.integers(0, 30), min_size=1, max_size=9).filter(any))
def test_a_period_is_exact(name: str, weights: list[int]) -> None:
    lb = ALL[name](dict(enumerate(weights)))
    for _ in range(2):
        counts = Counter(picks(lb, sum(weights)))
        assert [counts[number] for number in range(len(weights))] == weights


@every
def test_state_is_json_and_goes_on_where_it_was(make: Make) -> None:
    lb: Any = make(WEIGHTS, seed=3)
    if hasattr(lb, "set_time"):
        lb.set_time(7.0)
    lb.set_up("app-3", False)
    for server in ("app-1", "app-2"):
        lb.report(server, latency_s=0.01)
    picks(lb, 17)
    state = json.loads(json.dumps(lb.state()))
    other = make()
    other.restore(state)
    for twin in (other, copy.copy(lb), copy.deepcopy(lb), pickle.loads(pickle.dumps(lb))):
        assert twin == lb and not twin.is_up("app-3")
        assert picks(twin, 30) == picks(copy.copy(lb), 30)
    assert picks(copy.copy(lb), 30) == picks(lb, 30)
    for wrong in ({**state, "algorithm": "Other"}, {**state, "version": 0}, {}):
        with pytest.raises(ValueError):
            lb.restore(wrong)


@every
def test_changes_keep_the_rest(make: Make) -> None:
    lb = make(dict.fromkeys(range(6), 2))
    picks(lb, 5)
    lb.add(6, 2)
    lb.remove(0)
    lb.set_weight(3, 4)
    lb.set_up(5, False)
    counts = Counter(picks(lb, 4000))
    assert set(counts) == {1, 2, 3, 4, 6}
    lb.set_up(5)
    assert 5 in picks(lb, 4000)


@every
def test_leases_count_until_they_end(make: Make) -> None:
    lb = make({"a": 1, "b": 0})
    with lb.lease(key(lb, 1)) as server:
        assert server == "a" and lb.in_flight("a") == 1
    assert lb.in_flight("a") == 0
    with pytest.raises(ZeroDivisionError), lb.lease(key(lb, 1)):
        raise ZeroDivisionError
    lease = lb.lease(key(lb, 1))
    assert lease.server == "a" and lease.selector is lb and "a" in repr(lease)
    lease.end(ok=False, latency_s=0.2)
    lease.end()
    assert lb.in_flight("a") == 0
    lb.lease(key(lb, 1))  # dropped at once: it ends by itself
    assert lb.in_flight("a") == 0
    lease = lb.lease(key(lb, 1))
    lb.remove("a")
    lb.add("a", 1)
    lease.end()  # of the former one
    assert lb.in_flight("a") == 0


@every
def test_threads_may_pick_change_and_pick_many_at_once(make: Make) -> None:
    lb = make({number: 1 + number % 3 for number in range(50)})
    wanted: Any = [f"user-{number}" for number in range(3000)] if type(lb).__name__ in KEYED else 3000

    def work(number: int) -> None:
        for turn in range(100):
            if number == 0:
                lb.set_up(turn % 50, turn % 3 > 0)
            elif number == 1:
                assert max(lb.pick_many(wanted)) < 51
            elif number == 2:
                with lb.lease(key(lb, turn)) as server:
                    assert server in lb or server == 50
            elif turn % 2:
                lb.add(50, 3)
            else:
                lb.get(50) and lb.remove(50)

    together(*(partial(work, number) for number in range(4)))
    assert all(lb.in_flight(number) == 0 for number in range(50))
