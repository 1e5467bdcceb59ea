"""Subsets: which client connects to which servers."""

from __future__ import annotations

from collections import Counter

import pytest

from lbcore.selection import SmoothWRR, hash_of, subset

SERVERS = [f"10.0.0.{number}:8080" for number in range(100)]
CLIENTS = [f"web-{number}" for number in range(1000)]


def test_a_subset_is_the_smallest_hashes_by_the_clients_seed() -> None:
    for client in CLIENTS[:20]:
        seed = hash_of(client, "xxh64")
        ranked = sorted(SERVERS, key=lambda server: hash_of(server, "xxh64", seed))
        assert subset(SERVERS, 7, client) == sorted(ranked[:7], key=SERVERS.index) == subset(SERVERS, 7, seed)
    assert subset(SERVERS[:12], 3, "web-1") == ["10.0.0.7:8080", "10.0.0.9:8080", "10.0.0.11:8080"]


def test_balance() -> None:
    counts = Counter(server for client in CLIENTS for server in subset(SERVERS, 10, client))
    assert set(counts) == set(SERVERS) and sum(counts.values()) == 10_000
    spread = (sum((count - 100) ** 2 for count in counts.values()) / 100) ** 0.5
    assert 7 < spread < 12 and max(counts.values()) < 140  # binomial: 9.5
    pairs = Counter(server for number in range(1000) for server in subset(["app-v1", "app-v2"], 1, number))
    assert abs(pairs["app-v1"] - 500) < 65


def test_a_change_touches_only_those_it_concerns() -> None:
    moved = 0
    for client in CLIENTS:
        before, after = set(subset(SERVERS, 10, client)), set(subset(SERVERS[1:], 10, client))
        assert len(before - after) == len(after - before) == (SERVERS[0] in before)
        moved += before != after
    assert 70 < moved < 130


def test_shapes() -> None:
    weights = {server: number for number, server in enumerate(SERVERS)}
    part = subset(weights, 5, b"me")
    assert part == {server: weights[server] for server in subset(SERVERS, 5, b"me")}
    assert part == subset(SmoothWRR(weights), 5, b"me")
    assert subset(range(5), 9, "me") == [0, 1, 2, 3, 4] and subset([], 3, "me") == [] == subset(SERVERS, 0, "me")
    wrong = ((-1, "me", ValueError), (1.5, "me", TypeError), (True, 7, TypeError), (1, None, TypeError))
    for k, client, error in wrong:
        with pytest.raises(error):
            subset(SERVERS, k, client)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="__str__"):
        subset([object()], 1, "me")
