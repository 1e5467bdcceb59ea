"""How other balancers choose, as their formulas say, in plain Python: to compare shares, smoothness and moves.

Written from the descriptions of the algorithms; each says whose it is. `turns`: endless indexes of servers for weights.
`places`: the index of a server for a key. None of them is fast, and none is used by lbcore.
"""

from __future__ import annotations

import heapq
import math
import random
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from lbcore.selection import hash_of

Turns = Callable[[Sequence[int]], Iterator[int]]
Place = Callable[[str], int]


def nginx_smooth(weights: Sequence[int]) -> Iterator[int]:
    """nginx's smooth weighted round robin."""
    current, total = [0] * len(weights), sum(weights)
    while True:
        for index, weight in enumerate(weights):
            current[index] += weight
        best = max(range(len(weights)), key=lambda index: (current[index], -index))
        current[best] -= total
        yield best


class DeadlineHeap:
    """A binary heap ordered by the deadline alone: ties fall as the heap happens to lie. The textbook's, as in Go."""

    def __init__(self) -> None:
        self.items: list[tuple[float, int]] = []

    def push(self, at: float, index: int) -> None:
        items, here = self.items, len(self.items)
        items.append((at, index))
        while here and items[here][0] < items[(here - 1) // 2][0]:
            parent = (here - 1) // 2
            items[here], items[parent] = items[parent], items[here]
            here = parent

    def pop(self) -> tuple[float, int]:
        items, here = self.items, 0
        items[0], items[-1] = items[-1], items[0]
        found = items.pop()
        while (child := 2 * here + 1) < len(items):
            if child + 1 < len(items) and items[child + 1][0] < items[child][0]:
                child += 1
            if items[child][0] >= items[here][0]:
                break
            items[here], items[child] = items[child], items[here]
            here = child
        return found


def traefik_edf(weights: Sequence[int]) -> Iterator[int]:
    """Traefik's wrr: earliest deadline first, deadlines as sums of floating-point numbers."""
    heap = DeadlineHeap()
    for index, weight in enumerate(weights):
        if weight:
            heap.push(1 / weight, index)
    while True:
        at, index = heap.pop()
        yield index
        heap.push(at + 1 / weights[index], index)


def envoy_edf(weights: Sequence[int], seed: int = 0) -> Iterator[int]:
    """Envoy's round robin: earliest deadline first, begun after a number of picks that a seed decides."""
    before = seed % 429_496_729
    total = sum(weights)
    done = [before * weight // total for weight in weights]
    heap = [((done[index] + 1) / weight, index, index) for index, weight in enumerate(weights)]
    heapq.heapify(heap)
    orders = count(len(weights))
    left = before - sum(done)
    while True:
        at, _, index = heapq.heappop(heap)
        heapq.heappush(heap, (at + 1 / weights[index], next(orders), index))
        if left > 0:
            left -= 1
        else:
            yield index


def haproxy_map(weights: Sequence[int]) -> Iterator[int]:
    """HAProxy's static-rr: a map of the total weight's length, by integer scores."""
    total = sum(weights)
    scores, table = [0] * len(weights), []
    for _ in range(total):
        values = []
        for index, weight in enumerate(weights):
            scores[index] += weight
            values.append((scores[index] + total) // total)
        best = max(range(len(weights)), key=lambda index: (values[index], -index))
        scores[best] -= total
        table.append(best)
    while True:
        yield from table


def grpc_stride(weights: Sequence[int]) -> Iterator[int]:
    """gRPC's static stride scheduler."""
    top, size = max(weights), len(weights)
    scaled = [round(65_535 * weight / top) for weight in weights]
    for turn in count():
        index, generation = turn % size, turn // size
        step = (scaled[index] * generation + index * 32_767) % 65_535
        if step >= 65_535 - scaled[index]:
            yield index


def caddy_weighted(weights: Sequence[int], down: Sequence[int] = ()) -> Iterator[int]:
    """Caddy's weighted_round_robin: a counter on the total weight, looked up among those of the servers that are up."""
    total, up = sum(weights), [index for index in range(len(weights)) if index not in down]
    for turn in count(1):
        place, found = turn % total, 0
        for index, weight in enumerate(weights):  # of all servers, although the index is used among those up
            place -= weight
            if place < 0:
                found = index
                break
        yield up[found % len(up)]


def pingora_weighted(weights: Sequence[int]) -> Iterator[int]:
    """Pingora's weighted round robin: a counter on a list in which each server stands as often as its weight."""
    table = [index for index, weight in enumerate(weights) for _ in range(weight)]
    while True:
        yield from table


TURNS: dict[str, Turns] = {
    "nginx (smooth)": nginx_smooth,
    "Traefik (EDF, floating point)": traefik_edf,
    "Envoy (EDF, pre-picked)": lambda weights: envoy_edf(weights, 12_345),
    "HAProxy (static-rr)": haproxy_map,
    "gRPC (static stride)": grpc_stride,
    "Caddy (counter)": caddy_weighted,
    "Pingora (counter)": pingora_weighted,
}

MASK = (1 << 64) - 1


def fnv1a64(data: bytes) -> int:
    """FNV-1a, 64 bits."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 & MASK
    return found


def traefik_hrw(names: Sequence[str], weights: Sequence[int]) -> Place:
    """Traefik's hrw: -w / ln(u), u from FNV-1a of key and name, of which the last bytes hardly reach the upper bits."""

    def place(key: str) -> int:
        start = fnv1a64(key.encode())
        best, most = 0, -math.inf
        for index, name in enumerate(names):
            value = start
            for byte in name.encode():
                value = (value ^ byte) * 0x100000001B3 & MASK
            score = -weights[index] / math.log(value / 2**64)
            if score > most:
                best, most = index, score
        return best

    return place


def caddy_hrw(names: Sequence[str], weights: Sequence[int]) -> Place:
    """Caddy's hashes of client, URI, header: highest random weight by xxHash64, without weights."""

    def place(key: str) -> int:
        return max(range(len(names)), key=lambda index: hash_of(names[index] + key, hash="xxh64"))

    return place


def nginx_ketama(names: Sequence[str], weights: Sequence[int]) -> Place:
    """nginx's `hash … consistent`: 160 points per weight, each from the CRC-32 of the address and the point before."""
    points: dict[int, int] = {}
    for index, name in enumerate(names):
        host, _, port = name.rpartition(":")
        base = zlib.crc32(host.encode() + b"\0" + port.encode())
        point = 0
        for _ in range(160 * weights[index]):
            point = zlib.crc32(point.to_bytes(4, "little"), base)
            points.setdefault(point, index)
    ring = sorted(points)

    def place(key: str) -> int:
        return points[ring[bisect_left(ring, zlib.crc32(key.encode())) % len(ring)]]

    return place


def nginx_hash(names: Sequence[str], weights: Sequence[int]) -> Place:
    """nginx's plain `hash`: the remainder by the total weight."""
    table = [index for index, weight in enumerate(weights) for _ in range(weight)]

    def place(key: str) -> int:
        return table[((zlib.crc32(key.encode()) >> 16) & 0x7FFF) % len(table)]

    return place


def envoy_maglev(names: Sequence[str], weights: Sequence[int], size: int = 65_537) -> Place:
    """Envoy's Maglev table, with xxHash64 and its turns by weight."""
    order = sorted(range(len(names)), key=lambda index: names[index])
    start = {index: hash_of(names[index], hash="xxh64") % size for index in order}
    skip = {index: hash_of(names[index], hash="xxh64", seed=1) % (size - 1) + 1 for index in order}
    table, filled, top = [-1] * size, 0, max(weights)
    target, step = dict.fromkeys(order, 0.0), dict.fromkeys(order, 0)
    for turn in count(1):
        for index in order:
            if filled == size:
                break
            if turn * weights[index] < target[index]:
                continue
            target[index] += top
            while True:
                slot = (start[index] + step[index] * skip[index]) % size
                step[index] += 1
                if table[slot] < 0:
                    break
            table[slot] = index
            filled += 1
        if filled == size:
            break

    def place(key: str) -> int:
        return table[hash_of(key, hash="xxh64") % size]

    return place


PLACES: dict[str, Callable[[Sequence[str], Sequence[int]], Place]] = {
    "Traefik (hrw, FNV-1a)": traefik_hrw,
    "Caddy (hashes, no weights)": caddy_hrw,
    "nginx (hash consistent)": nginx_ketama,
    "nginx (hash)": nginx_hash,
    "Envoy (maglev)": envoy_maglev,
}


def envoy_least_request(loads: Sequence[int], rng: random.Random) -> int:
    """Envoy's least request among two choices, which may be the same server twice."""
    one, other = rng.randrange(len(loads)), rng.randrange(len(loads))
    return one if loads[one] <= loads[other] else other


def traefik_p2c(loads: Sequence[int], rng: random.Random) -> int:
    """Traefik's p2c: when both choices are the same server, the second is the next one in the list."""
    one, other = rng.randrange(len(loads)), rng.randrange(len(loads))
    if one == other:
        other = (other + 1) % len(loads)
    return one if loads[one] < loads[other] else other


def caddy_least(loads: Sequence[int], rng: random.Random) -> int:
    """Caddy's random_choose 2: one of the lesser is added to those kept from before, instead of replacing them."""
    chosen = rng.sample(range(len(loads)), 2)
    best: list[int] = []
    least = -1
    for index in chosen:
        if loads[index] == 0:
            return index
        if least < 0 or loads[index] <= least:
            least = loads[index]
            best.append(index)
    return rng.choice(best)


LEAST: dict[str, Callable[[Sequence[int], random.Random], int]] = {
    "Envoy (least request)": envoy_least_request,
    "Traefik (p2c)": traefik_p2c,
    "Caddy (random_choose 2)": caddy_least,
}
