"""Weighted rendezvous hashing, against its formula in floating point."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.selection import Rendezvous, hash_of

MASK = (1 << 64) - 1


def mix64(x: int) -> int:
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def oracle(weights: dict[Any, int], key: str | int, seed: int = 0) -> Any:
    def score(server: Any) -> float:
        h = mix64(hash_of(key, seed=seed) ^ mix64(hash_of(server, seed=seed)))
        u = ((h >> 11) + 0.5) / 2**53
        return weights[server] / -(math.log1p(u - 1) if u > 0.5 else math.log(u))

    return max((server for server in weights if weights[server]), key=score)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1 << 30), min_size=1, max_size=20).filter(any), st.integers(0, 1 << 64))
def test_picks_follow_the_formula(weights: list[int], seed: int) -> None:
    servers = {f"app-{number}": weight for number, weight in enumerate(weights)}
    lb = Rendezvous(servers, seed=seed)
    for key in range(30):
        assert lb.pick(key) == oracle(servers, key, seed & MASK)


def test_published_vector() -> None:
    lb = Rendezvous({"app-v1": 3, "app-v2": 1, "app-v3": 1})
    assert "".join(lb.pick(f"user-{number}")[-1] for number in range(20)) == "21111131321111111111"


def test_many_servers_of_two_weights_get_their_shares() -> None:
    lb = Rendezvous({f"10.0.{n // 256}.{n % 256}:80": 1 + 2 * (n < 500) for n in range(1000)})
    heavy = sum(index < 500 for index in lb.pick_many(range(40_000)))
    assert abs(heavy / 40_000 - 0.75) < 0.01


def test_servers_of_one_name_are_different_servers() -> None:
    class Server:
        def __str__(self) -> str:
            return "app"

    servers = [Server() for _ in range(3)]
    lb = Rendezvous(servers)
    assert {lb.pick(key) for key in range(100)} == set(servers)
