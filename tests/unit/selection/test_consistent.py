"""Consistent hashing by rejection: its places, written down slowly, and its vector."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.selection import Consistent, hash_of

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


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=20).filter(any))
def test_it_is_places_and_draws(weights: list[int]) -> None:
    servers = {f"app-{number}": weight for number, weight in enumerate(weights)}
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


def test_published_vector() -> None:
    lb = Consistent({"app-v1": 3, "app-v2": 1, "app-v3": 1})
    assert "".join(lb.pick(f"user-{number}")[-1] for number in range(20)) == "13312113211211131112"


def test_many_servers_of_unlike_weights_share_as_they_should() -> None:
    weights = {number: 1 + number % 50 for number in range(2000)}
    counts = Counter(number % 50 for number in Consistent(weights).pick_many(range(200_000)))
    for number in range(50):
        wanted = 200_000 * (1 + number) * 40 / sum(weights.values())
        assert abs(counts[number] - wanted) < 5 * wanted**0.5
