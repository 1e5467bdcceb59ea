"""Consistent hashing: few servers by rendezvous, more by places, written down slowly; what moves; the vectors."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.selection import Consistent, Rendezvous, hash_of

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix64(x: int) -> int:
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def table(weights: dict[str, int]) -> list[tuple[str, int] | None]:
    quantum, size = 1, 16
    while quantum * sum(1 for weight in weights.values() if weight) < sum(weights.values()):
        quantum *= 2
    while size < 8 * sum(-(-weight // quantum) for weight in weights.values()):
        size *= 2
    places: list[tuple[str, int] | None] = [None] * size
    ids = {name: mix64(hash_of(name)) for name in weights}
    for name in sorted(ids, key=lambda name: ids[name]):
        left, part = weights[name], 0
        while left:
            step = mix64((ids[name] + part) & MASK)
            while places[step % size]:
                step = mix64(step)
            places[step % size] = (name, (min(left, quantum) << 32) // quantum - 1)
            left -= min(left, quantum)
            part += 1
    return places


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=20).filter(any), st.integers(257, 300))
def test_many_are_places_and_draws(pattern: list[int], count: int) -> None:
    servers = {f"app-{number}": pattern[number % len(pattern)] for number in range(count)}
    lb = Consistent(servers)
    places = table(servers)
    for key in range(30):
        step = mix64(hash_of(key))
        while True:
            place = places[step % len(places)]
            if place and step >> 32 <= place[1]:
                break
            step = mix64((step + GOLDEN) & MASK)
        assert lb.pick(key) == place[0]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=20).filter(any))
def test_few_are_ranked(weights: list[int]) -> None:
    servers = {f"app-{number}": weight for number, weight in enumerate(weights)}
    few, ranked = Consistent(servers), Rendezvous(servers)
    assert [few.pick(key) for key in range(50)] == [ranked.pick(key) for key in range(50)]


def moves(before: dict[str, int], after: dict[str, int], keys: int = 20_000) -> Counter[tuple[str, str]]:
    """Keys that move, by where from and where to."""
    old, new = Consistent(before), Consistent(after)
    pairs = zip(old.pick_many(range(keys)), new.pick_many(range(keys)), strict=True)
    named = ((old.servers[a], new.servers[b]) for a, b in pairs)
    return Counter((a, b) for a, b in named if a != b)


@pytest.mark.parametrize(
    ("before", "after", "needed"),
    [
        ({"a": 8, "b": 2}, {"a": 7, "b": 3}, 0.1),
        ({"a": 70, "b": 30}, {"a": 60, "b": 40}, 0.1),
        ({f"s{n}": 1 for n in range(10)}, {f"s{n}": 3 if n == 4 else 1 for n in range(10)}, 3 / 12 - 1 / 10),
        ({f"s{n}": 7 for n in range(200)}, {f"s{n}": 50 if n == 4 else 7 for n in range(200)}, 50 / 1443 - 1 / 200),
        ({f"s{n}": 10 for n in range(400)}, {f"s{n}": 40 if n == 4 else 10 for n in range(400)}, 40 / 4030 - 1 / 400),
    ],
)
def test_another_weight_moves_what_it_must_and_nothing_back(
    before: dict[str, int], after: dict[str, int], needed: float
) -> None:
    found = moves(before, after)
    gained = {server for server in after if after[server] > before[server]}
    assert {to for _, to in found} == gained and not {source for source, _ in found} & gained
    assert abs(found.total() / 20_000 - needed) < 5 * (needed / 20_000) ** 0.5


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=40))
def test_a_key_moves_only_to_a_server_that_grows_beside_its_own(pairs: list[tuple[int, int]]) -> None:
    before = {f"s{number}": old for number, (old, _) in enumerate(pairs)}
    after = {f"s{number}": new for number, (_, new) in enumerate(pairs)}
    if any(before.values()) and any(after.values()):
        for source, to in moves(before, after, 300):
            assert after[to] * before[source] > after[source] * before[to]


def test_published_vectors() -> None:
    lb = Consistent({"app-v1": 3, "app-v2": 1, "app-v3": 1})
    assert "".join(lb.pick(f"user-{number}")[-1] for number in range(20)) == "21111131321111111111"
    many = Consistent(range(300))
    assert [many.pick(f"user-{number}") for number in range(6)] == [126, 241, 203, 261, 119, 54]


def test_many_servers_of_different_weights_get_their_shares() -> None:
    weights = {number: 1 + number % 50 for number in range(2000)}
    counts = Counter(number % 50 for number in Consistent(weights).pick_many(range(200_000)))
    for number in range(50):
        wanted = 200_000 * (1 + number) * 40 / sum(weights.values())
        assert abs(counts[number] - wanted) < 5 * wanted**0.5
