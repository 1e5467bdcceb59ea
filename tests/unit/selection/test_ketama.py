"""Rings: nginx's points by their published vector, uhashring's beside the real one, our own by an obvious version."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uhashring import HashRing

from lbcore.selection import Ketama, NoServerError, hash_of

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
NGINX = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
names = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(1, 6), min_size=1, max_size=8)


def mix64(x: int) -> int:
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ x >> 33


def test_nginx_published_vector() -> None:
    lb = Ketama(NGINX, compatible="nginx")
    points = lb.points()
    assert len(points) == 480
    assert points[:3] == [(3751338, NGINX[0]), (15858338, NGINX[1]), (21967852, NGINX[0])]
    assert [int(lb.pick(f"k{n}")[7]) for n in range(12)] == [3, 2, 3, 2, 2, 3, 3, 3, 3, 2, 1, 3]


def test_nginx_names_without_a_port_and_of_sockets() -> None:
    first = {
        name: Ketama([name], compatible="nginx").points()[0][0]
        for name in ("a", "a:", "a:b", "unix:/a", "UNIX:/a", "/a")
    }
    assert first["a"] == first["a:"] and first["a:b"] not in (first["a"], first["a:"])
    assert first["unix:/a"] == first["UNIX:/a"] == first["/a"]


def test_nginx_integers_are_their_digits() -> None:
    lb = Ketama(NGINX, compatible="nginx")
    assert all(lb.pick(number) == lb.pick(str(number)) == lb.pick(str(number).encode()) for number in range(100))


@settings(max_examples=40, deadline=None)
@given(names, st.sampled_from([1, 7, 40]), st.lists(st.text(max_size=9) | st.integers(0, 1 << 63), max_size=40))
def test_uhashring_is_the_real_one(nodes: dict[str, int], vnodes: int, keys: list[str | int]) -> None:
    real = HashRing(nodes, hash_fn="ketama", vnodes=vnodes)
    lb = Ketama(nodes, compatible="uhashring", vnodes=vnodes)
    assert lb.points() == sorted(real.ring.items())
    for key in keys:
        if not real.size:
            with pytest.raises(NoServerError):
                lb.pick(key)
        else:
            assert lb.pick(key) == real.get_node(key)
            fallbacks = list(real.iterate_nodes(str(key)))
            assert lb.pick_n(key, len(nodes))[: len(fallbacks)] == fallbacks


def test_uhashring_with_many_nodes_and_changes() -> None:
    nodes = {f"10.0.0.{number}:11211": 1 + number % 3 for number in range(60)}
    real = HashRing(dict(nodes), hash_fn="ketama")
    lb = Ketama(nodes, compatible="uhashring")
    for change in range(3):
        if change == 1:
            real.remove_node("10.0.0.7:11211")
            lb.remove("10.0.0.7:11211")
        if change == 2:
            real.add_node("10.0.0.99:11211", 2)
            lb.add("10.0.0.99:11211", 2)
        assert lb.points() == [(h, real.ring[h]) for h in sorted(real.ring)]
        assert all(lb.pick(f"user-{n}") == real.get_node(f"user-{n}") for n in range(3000))


@settings(deadline=None)
@given(names, st.sampled_from([1, 3, 160]), st.integers(0, 3), st.data())
def test_our_ring_is_sorted_points_and_the_next_of_them(
    nodes: dict[str, int], vnodes: int, seed: int, data: st.DataObject
) -> None:
    lb = Ketama(nodes, vnodes=vnodes, seed=seed)
    points = []
    for name, weight in nodes.items():
        id = mix64(hash_of(name, seed=seed))
        points += [(mix64((id + (j + 1) * GOLDEN) & MASK) >> 32, id, name) for j in range(vnodes * weight)]
    points.sort()
    assert lb.points() == [(h, name) for h, _, name in points]
    closed = data.draw(st.sets(st.sampled_from(sorted(nodes)), max_size=len(nodes) - 1))
    for name in closed:
        lb.set_up(name, False)
    for key in range(20):
        at = bisect.bisect_left(points, (mix64(hash_of(key, seed=seed)) >> 32,))
        order = [name for _, _, name in points[at:] + points[:at] if name not in closed]
        assert lb.pick(key) == order[0]
        assert lb.pick_n(key, 99) == list(dict.fromkeys(order))


def test_weights_that_would_need_too_many_points_have_fewer_each() -> None:
    lb = Ketama({"a": 3 << 20, "b": 1 << 20, "c": 1})
    assert abs(sum(index == 0 for index in lb.pick_many(range(20_000))) / 20_000 - 0.75) < 0.02
    with pytest.raises(ValueError, match="points"):
        Ketama({"a": 1 << 20}, compatible="nginx").pick("x")


def test_full_servers_overflow_to_the_next_point_or_to_all() -> None:
    servers = [f"app-{number}" for number in range(10)]
    heirs = {}
    for overflow in ("walk", "jump"):
        lb = Ketama(servers, vnodes=1, bounded_load=1.25, overflow=overflow)
        keys = [f"user-{n}" for n in range(4000) if lb.pick(f"user-{n}") == "app-0"]
        held = [lb.lease(keys[0]) for _ in range(2)]
        heirs[overflow] = {lb.pick(key) for key in keys} - {"app-0"}
        assert len(held) == 2
    assert len(heirs["walk"]) == 1 and len(heirs["jump"]) > 5


def test_options_that_are_none_are_refused() -> None:
    for wrong in (
        {"vnodes": 0}, {"vnodes": 1 << 20}, {"compatible": "haproxy"}, {"overflow": "random"},
        {"compatible": "nginx", "vnodes": 40}, {"compatible": "nginx", "seed": 1},
        {"compatible": "uhashring", "hash": "xxh64"},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            Ketama([], **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Ketama([], vnodes="9")  # type: ignore[arg-type]
    assert "compatible='nginx'" in repr(Ketama(NGINX, compatible="nginx"))
