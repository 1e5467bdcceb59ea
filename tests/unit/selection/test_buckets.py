"""Jump, AnchorHash and MementoHash: published vectors, and the papers' algorithms written down slowly."""

from __future__ import annotations

import copy
import ctypes
import json
import random
import subprocess
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lbcore.selection
from lbcore.selection import Anchor, Jump, Memento, hash_of, jump_hash

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
KEYS = [f"user-{number}" for number in range(3000)]
changes = st.lists(st.integers(-9, 9).filter(bool), max_size=40)


def mix64(x: int) -> int:
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def jump(key: int, count: int) -> int:
    found, following = -1, 0
    while following < count:
        found = following
        key = (key * 2862933555777941757 + 1) & MASK
        following = int((found + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return found


def rehash(key: int, bucket: int, limit: int) -> int:
    return mix64((key + (bucket + 1) * GOLDEN) & MASK) * limit >> 64


class SlowAnchor:
    """Who is in use when a bucket goes is kept as it is, and asked for instead of followed (section 3 of the paper)."""

    def __init__(self, capacity: int, n: int) -> None:
        self.removed: list[tuple[int, list[int]]] = []
        self.capacity = capacity
        self.used = list(range(capacity))
        for bucket in range(capacity - 1, n - 1, -1):
            self.remove(bucket)

    def remove(self, bucket: int) -> None:
        at, last = self.used.index(bucket), self.used[-1]
        self.used[at] = last
        self.used.pop()
        self.removed.append((bucket, list(self.used)))

    def add(self) -> int:
        bucket, _ = self.removed.pop()
        self.used = list(self.removed[-1][1] if self.removed else range(self.capacity))
        return bucket

    def find(self, key: int) -> int:
        left = dict(self.removed)
        found = mix64(key) * self.capacity >> 64
        while found in left:
            found = left[found][rehash(key, found, len(left[found]))]
        return found


class SlowMemento:
    """As `MementoEngine` of the authors: jump, then notes."""

    def __init__(self, size: int) -> None:
        self.size, self.notes = size, dict[int, int]()

    def remove(self, bucket: int) -> None:
        if not self.notes and bucket == self.size - 1:
            self.size -= 1
        else:
            self.notes[bucket] = self.size - len(self.notes) - 1

    def add(self) -> int:
        if self.notes:
            return self.notes.popitem()[0]
        self.size += 1
        return self.size - 1

    def find(self, key: int) -> int:
        found = jump(key, self.size)
        while found in self.notes:
            left = self.notes[found]
            found = rehash(key, found, left)
            while self.notes.get(found, -1) >= left:
                found = self.notes[found]
        return found


@given(st.integers(-(1 << 63), MASK), st.integers(1, 1 << 31))
def test_jump_hash_gives_the_published_bucket(key: int, buckets: int) -> None:
    assert jump_hash(key, buckets) == jump(key & MASK, buckets)


@given(st.integers(-20, 20), st.integers(0, (1 << 33) - 1))
def test_jump_hash_rounds_as_published_where_the_last_bucket_begins(off: int, low: int) -> None:
    """Keys whose first step is by 2**31 over about 2**30: just within two buckets, or just beyond."""
    stepped = ((1 << 30) - 1 + off) << 33 | low
    key = (stepped - 1) * pow(2862933555777941757, -1, 1 << 64) & MASK
    assert jump_hash(key, 2) == jump(key, 2) == (off > 0)


def test_jump_hash_refuses_what_is_no_key_and_no_number_of_buckets() -> None:
    class Index:
        def __index__(self) -> int:
            return MASK

    assert jump_hash(Index(), 7) == jump_hash(MASK, 7) == jump_hash(-1, 7)
    assert jump_hash(True, 7) == jump_hash(1, 7)
    for key in (1 << 64, -(1 << 63) - 1, 1 << 90, -(1 << 90)):
        with pytest.raises(OverflowError):
            jump_hash(key, 7)
    for wrong in ("a", b"a", 1.5, None):
        with pytest.raises(TypeError):
            jump_hash(wrong, 7)  # type: ignore[arg-type]
    for buckets in (0, -1, (1 << 31) + 1):
        with pytest.raises(ValueError, match=f"not {buckets}"):
            jump_hash(1, buckets)


def test_jump_published_vectors() -> None:
    for key, count, bucket in (
        (256, 1024, 520), (10863919174838991, 11, 6), (2016238256797177309, 11, 3), (1673758223894951030, 11, 5),
        (0xDEADBEEF, 666, 285), (0, 1, 0), (3, 1, 0), (0, 2, 0), (4, 2, 1), (7, 2, 0),
    ):  # fmt: skip
        lb = Jump(range(count))
        assert lb.pick(key) == bucket == lb.pick_many(array("Q", [key]))[0]


@settings(deadline=None)
@given(st.integers(0, MASK), st.integers(1, 1 << 16))
def test_jump_is_the_paper(key: int, count: int) -> None:
    lb = Jump(range(min(count, 300)))
    assert lb.pick(key) == jump(key, min(count, 300))
    assert lb.pick(f"user-{key}") == jump(hash_of(f"user-{key}"), min(count, 300))


@pytest.mark.parametrize("count", [2, 7, 1000, 200_000])
def test_jump_by_integers_is_jump_by_floating_point(count: int) -> None:
    keys = array("Q", [mix64(number) for number in range(20_000)])
    assert list(Jump(range(count)).pick_many(keys)) == [jump(key, count) for key in keys]


LANES = """
#include "jump_lanes.h"

/* The buckets of `n` keys by one of the ways there are; 0 = there is no such way here. */
int lanes(int way, const uint64_t *keys, uint32_t *out, long n, int64_t count)
{
#if defined(__x86_64__) && defined(__GNUC__)
    jump_batch *batch = way == 0 ? jump_avx2 : jump_avx512;
    long each = way == 0 ? JUMP_AVX2 * JUMP_AVX2_VECTORS : JUMP_AVX512 * JUMP_AVX512_VECTORS, i;
    if (way == 0 ? !__builtin_cpu_supports("avx2") : !__builtin_cpu_supports("avx512dq"))
        return 0;
    for (i = 0; i + each <= n; i += each)
        batch(keys + i, out + i, count);
    return 1;
#else
    return 0;
#endif
}
"""


def test_jump_by_lanes_is_the_paper(tmp_path: Path) -> None:
    (tmp_path / "lanes.c").write_text(LANES)
    include = Path(lbcore.selection.__file__).parent
    command = ["cc", "-O2", "-shared", "-fPIC", f"-I{include}", "-o", "lanes.so", "lanes.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "lanes.so"))
    keys = array("Q", [0, 1, MASK, *(mix64(number) for number in range(4800 - 3))])
    for count in (1, 2, 3, 1000, 1 << 24, (1 << 24) + 1, (1 << 31) - 1, 1 << 31):
        expected = [jump(key, count) for key in keys]
        assert [jump_hash(key, count) for key in keys] == expected
        for way in (0, 1):
            out = array("I", bytes(4 * len(keys)))
            arrays = [(ctypes.c_char * (len(each) * each.itemsize)).from_buffer(each) for each in (keys, out)]
            if library.lanes(way, *arrays, ctypes.c_long(len(keys)), ctypes.c_int64(count)):
                assert list(out) == expected


@pytest.mark.parametrize("make", [Jump, Anchor, Memento])
@pytest.mark.parametrize("weights", ["alike", "different", "one in a thousand", "closed"])
def test_many_keys_at_once_go_where_each_goes(make: Any, weights: str) -> None:
    """However many there are beyond whole batches and blocks."""
    rng = random.Random(7)
    weight = {"alike": 1, "closed": 1, "different": 0, "one in a thousand": 1}[weights]
    lb = make({n: weight or rng.randrange(1, 9) for n in range(500)})
    if weights == "one in a thousand":
        lb.set_weight(77, 100_000)
    if weights == "closed":
        for n in range(3, 500):
            lb.set_up(n, False)
    if make is not Jump:
        lb.pick(1)  # from now on numbers are kept
        for n in range(100, 200):
            lb.remove(n)
    for count in [*range(40), 1023, 1024, 1025, 2500]:
        keys = [rng.getrandbits(64) for _ in range(count)]
        assert [lb.servers[index] for index in lb.pick_many(keys)] == [lb.pick(key) for key in keys]


@pytest.mark.parametrize("make", [Jump, Anchor, Memento])
@pytest.mark.parametrize("weights", [dict.fromkeys(range(500), 1), {n: 1 + n % 5 for n in range(500)}])
def test_picks_may_be_written_over_the_keys(make: Any, weights: dict[int, int]) -> None:
    lb = make(weights)
    lb.pick(1)  # from now on numbers are kept
    if make is not Jump:
        for n in range(0, 500, 3):
            lb.remove(n)
    keys = array("Q", [mix64(number) for number in range(3000)])
    expected = list(lb.pick_many(keys))
    out = memoryview(keys).cast("B").cast("I")[:3000]
    assert list(lb.pick_many(keys, out)) == expected


def test_jump_with_a_seed_hashes_integers_too() -> None:
    lb = Jump(range(50), seed=3)
    assert [lb.pick(key) for key in range(90)] == [jump(hash_of(key, seed=3), 50) for key in range(90)]


def test_jump_moves_numbers_when_one_in_the_middle_goes() -> None:
    lb = Jump(range(10))
    before = [lb.pick(key) for key in KEYS]
    lb.remove(4)
    assert [lb.pick(key) for key in KEYS] == [[*range(4), *range(5, 10)][jump(hash_of(key), 9)] for key in KEYS]
    lb.add(10)
    assert sum(lb.pick(key) == server for key, server in zip(KEYS, before)) / len(KEYS) < 0.6


def apply(lb: Any, slow: Any, buckets: dict[int, int], steps: list[int], most: int) -> None:
    """Remove the -n-th server, or add one, on both sides; keys go where the slow one says."""
    new = 100
    for step in steps:
        if step > 0 and len(lb) < most:
            lb.add(new)
            buckets[new] = slow.add()
            new += 1
        elif step < 0 and len(lb) > 1:
            server = lb.servers[step % len(lb)]
            lb.remove(server)
            slow.remove(buckets.pop(server))
        servers = {bucket: server for server, bucket in buckets.items()}
        for key in KEYS[:25]:
            assert lb.pick(key) == servers[slow.find(hash_of(key))]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 6), changes)
def test_anchor_is_the_paper(count: int, more: int, steps: list[int]) -> None:
    lb = Anchor(range(count), capacity=count + more)
    lb.pick("user-1")
    apply(lb, SlowAnchor(count + more, count), {n: n for n in range(count)}, steps, count + more)


@settings(deadline=None)
@given(st.integers(1, 9), changes)
def test_memento_is_the_paper(count: int, steps: list[int]) -> None:
    lb = Memento(range(count))
    lb.pick("user-1")
    apply(lb, SlowMemento(count), {n: n for n in range(count)}, steps, 99)


@pytest.mark.parametrize("make", [Anchor, Memento])
def test_vectors(make: Any) -> None:
    lb = make(["a", "b", "c", "d", "e"], capacity=8) if make is Anchor else make(["a", "b", "c", "d", "e"])
    lb.pick("user-0")
    lb.remove("c")
    found = "".join(lb.pick(f"user-{number}") for number in range(20))
    assert found == ("abadebaeabdabebaedea" if make is Anchor else "daadbedeabeabadeebea")


@pytest.mark.parametrize("make", [Anchor, Memento])
def test_whatever_comes_and_goes_only_its_keys_move(make: Any) -> None:
    lb = make([f"app-{number}" for number in range(30)])
    before = [lb.pick(key) for key in KEYS]
    for removed in (3, 17, 29, 0, 11, 5):
        lb.remove(f"app-{removed}")
        after = [lb.pick(key) for key in KEYS]
        assert all(a == b or a == f"app-{removed}" for a, b in zip(before, after))
        before = after
    for added in range(6):
        lb.add(f"new-{added}")
        after = [lb.pick(key) for key in KEYS]
        assert all(a == b or b == f"new-{added}" for a, b in zip(before, after))
        before = after
    counts = Counter(before)
    assert len(counts) == 30 and max(counts.values()) < 160 and min(counts.values()) > 55


@pytest.mark.parametrize("make", [Anchor, Memento])
def test_a_state_has_the_history(make: Any) -> None:
    lb = make(range(30))
    lb.pick("user-1")
    for server in (7, 3, 20, 29, 28):
        lb.remove(server)
    lb.add(99)
    other = make()
    other.restore(json.loads(json.dumps(lb.state())))
    twins = [lb, other, copy.copy(lb)]
    for change in range(4):
        first, second, third = ([twin.pick(key) for key in KEYS] for twin in twins)
        assert first == second == third
        for twin in twins:
            twin.remove(twin.servers[4])
            if change != 1:
                twin.add(200 + change)


def test_capacity() -> None:
    lb = Anchor(range(4), capacity=5)
    lb.add(4)
    before = [lb.pick(key) for key in KEYS]
    with pytest.raises(ValueError, match="capacity of 5"):
        lb.add(5)
    assert [lb.pick(key) for key in KEYS] == before and "capacity=5" in repr(lb)
    for wrong, error in ((0, ValueError), (1 << 40, ValueError), ("5", TypeError)):
        with pytest.raises(error, match="capacity"):
            Anchor([], capacity=wrong)  # type: ignore[arg-type]
    free = Anchor(range(4))
    for server in range(4, 100):
        free.add(server)
        assert free.pick("user-1") in free
    assert len({free.pick(key) for key in KEYS}) == 100


def test_all_servers_go_and_others_come() -> None:
    for make in (Anchor, Memento, Jump):
        lb: Any = make(["a"])
        for _ in range(3):
            assert lb.pick("user-1") == "a"
            lb.remove("a")
            lb.add("b", 2)
            lb.add("c", 2)
            assert {lb.pick(key) for key in KEYS} == {"b", "c"}
            lb.remove("b")
            lb.remove("c")
            lb.add("a")
