"""Services that choose among services: nested weights, status that follows children, failover, mirrors, by hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.routing.balancer import Balancer
from lbcore.routing.mirroring import due
from lbcore.state.cells import EJECTED
from tests.support.tree import Tree, servers, weighted

A, B, C, D = (f"http://10.0.0.{n}:80" for n in range(1, 5))
CHECK: dict[str, Any] = {"healthCheck": {"path": "/"}}
WATCH: dict[str, Any] = {"healthCheck": {}}
STRATEGIES = ["wrr", "p2c", "leasttime", "leastconn", "peakewma", "hrw"]


def test_nested_weights_multiply_and_a_shared_child_keeps_one_position() -> None:
    tree = Tree({"x": servers(A, B), "y": servers(C), "one": weighted("x*3", "y"), "top": weighted("one*2", "x")})
    assert Counter(tree.picks("top", 24)) == {A: 10, B: 10, C: 4}


def test_a_parent_that_watches_follows_its_children_at_any_depth_and_through_diamonds() -> None:
    tree = Tree(
        {
            "dc1": servers(A, B, **CHECK),
            "dc2": servers(C, **CHECK),
            "left": weighted("dc1", "dc2*0", **WATCH),
            "right": weighted("dc1", "dc2", **WATCH),
            "top": weighted("left", "right", **WATCH),
        }
    )
    assert Counter(tree.picks("top", 8)) == {A: 3, B: 3, C: 2}
    tree.set_up("dc1", A, False)
    assert set(tree.picks("top", 8)) == {B, C}
    tree.set_up("dc1", B, False)
    assert set(tree.picks("top", 8)) == {C, None}  # left is up by a drained child, and gives it nothing, as in Traefik
    assert not tree.service("dc1").is_up
    tree.set_up("dc2", C, False)
    assert tree.picks("top", 3) == [None] * 3
    assert not tree.service("top").is_up
    tree.set_up("dc1", B, True)
    assert set(tree.picks("top", 8)) == {B}
    assert tree.service("top").is_up


def test_while_the_only_server_of_a_child_is_on_trial_siblings_take_the_other_requests() -> None:
    passive = {"passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "1s"}}
    tree = Tree(
        {
            "x": servers(A, **passive),
            "y": servers(B, C, **passive),
            "inner": weighted("x", sticky={"cookie": {"name": "s"}}),
            "top": weighted("inner*3", "y"),
        }
    )
    tree.region.set_up(tree.slot("x", A), False, EJECTED)
    tree.region.try_again(tree.slot("x", A))
    assert tree.picks("x", 2) == [A, A]  # neither goes there
    picked = Counter(tree.pick("top", under_way=True) for _ in range(8))
    assert picked[A] == 1
    assert picked[B] + picked[C] == 7
    assert tree.picks("x", 2) == [None, None]
    tree.region.clear_worker(0)  # it died with the request that tried
    assert [tree.pick("x", under_way=True) for _ in range(2)] == [A, None]


def test_middlewares_of_a_service_have_no_part_in_choosing() -> None:
    passive = {"passiveHealthCheck": {"maxFailedAttempts": 1, "failureWindow": "1s"}}
    tree = Tree(
        {
            "x": servers(A, **passive),
            "y": {**servers(B), "middlewares": ["away"]},
            "z": servers(C),
            "top": weighted("x", "y", "z"),
        },
        middlewares={"away": {"redirectScheme": {"scheme": "https"}}},
    )
    tree.region.set_up(tree.slot("x", A), False, EJECTED)
    tree.region.try_again(tree.slot("x", A))
    assert tree.pick("x", under_way=True) == A
    assert tree.picks("top", 4) == [B, C, B, C]  # that a request for B will be redirected is found out behind


def test_a_parent_that_does_not_watch_goes_on_sending() -> None:
    tree = Tree({"dead": servers(A, **CHECK), "live": servers(B), "top": weighted("dead", "live")})
    tree.set_up("dead", A, False)
    assert Counter(tree.picks("top", 4)) == {B: 2, None: 2}


def test_watching_a_child_without_status_is_refused_as_in_traefik() -> None:
    tree = Tree({"x": servers(A), "top": weighted("x", **WATCH)})
    assert tree.disabled["top@file"] == [
        "cannot register x as updater for top@file: healthCheck not enabled in config for this WRR service"
    ]


def test_mirroring_has_the_status_of_its_main_service_and_asks_for_none() -> None:
    unwatched = {"mirroring": {"service": "x", **WATCH}}
    services = {"x": servers(A), "m": unwatched, "outer": {"mirroring": {"service": "m", **WATCH}}}
    assert Tree(services).disabled == {}
    tree = Tree({**services, "top": weighted("outer", **WATCH)})
    assert list(tree.disabled) == ["top@file"]
    assert tree.disabled["top@file"][0].startswith("cannot register outer as updater for top@file: ")
    assert Tree({"x": servers(A, **CHECK), "m": unwatched, "top": weighted("m", **WATCH)}).disabled == {}


def test_recursion_is_refused_with_the_way_named() -> None:
    tree = Tree({"a": weighted("b"), "b": weighted("c"), "c": weighted("a"), "d": servers(A)})
    way = "recursion detected in service:a@file->service:b@file->service:c@file->service:a@file"
    assert tree.disabled["a@file"] == [f"could not instantiate service a@file: {way}"]
    assert tree.pick("d") == A


def test_deep_diamonds_have_linear_cost_and_too_deep_trees_are_refused() -> None:
    deep = {f"s{n}": weighted(f"s{n + 1}", f"s{n + 1}") for n in range(120)}
    tree = Tree({**deep, "s120": servers(A)})
    assert tree.pick("s21") == A
    assert tree.disabled["s20@file"] == ["services are nested more than 100 levels deep"]
    assert "s21@file" not in tree.disabled


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_a_drained_server_is_up_defect_a(strategy: str) -> None:
    """Traefik's round robin spins for ever here, holding its lock."""
    tree = Tree({"s": servers(A, f"{B}*0", strategy=strategy, **CHECK)})
    tree.set_up("s", B, False)
    tree.set_up("s", A, False)
    tree.set_up("s", B, True)
    assert tree.pick("s") is None
    tree.set_up("s", A, True)
    assert tree.pick("s") == A


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.tuples(st.integers(0, 5), st.booleans())))
def test_every_strategy_picks_an_available_server_or_none(
    strategy: str, weights: list[int], events: list[tuple[int, bool]]
) -> None:
    urls = [f"http://10.0.0.{n}:80" for n in range(len(weights))]
    tree = Tree({"s": servers(*(f"{url}*{weight}" for url, weight in zip(urls, weights)), strategy=strategy)})
    up = dict.fromkeys(urls, True)
    for index, goes_up in [(0, True), *events]:
        if index < len(urls):
            tree.set_up("s", urls[index], goes_up)
            up[urls[index]] = goes_up
        eligible = {url for url, weight in zip(urls, weights) if weight and up[url]}
        assert set(tree.picks("s", 12)) <= (eligible or {None})


def test_p2c_respects_weights() -> None:
    """Nothing is in flight, so the first of two drawn wins: the shares are those of the draw."""
    counts = Counter(Tree({"s": servers(f"{A}*3", B, strategy="p2c")}).picks("s", 4000))
    assert 2800 <= counts[A] <= 3200


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["app-v1", "app-v2"], [9, 1]),
        (["service1", "service2", "service3"], [10, 20, 30]),
        ([f"http://127.0.0.1:2200{n}" for n in range(1, 5)], [1, 1, 1, 1]),
    ],
)
def test_hashing_gives_names_that_are_alike_their_shares_defect_b(names: list[str], weights: list[int]) -> None:
    """Traefik gives the heaviest of such names everything."""
    parts = {name: servers(A) for name in names} if "://" not in names[0] else {}
    if parts:
        children = [{"name": name, "weight": weight} for name, weight in zip(names, weights)]
        tree = Tree({**parts, "s": {"highestRandomWeight": {"services": children}}})
    else:
        tree = Tree({"s": servers(*names, strategy="hrw")})
    service = tree.service("s")
    assert isinstance(service, Balancer)
    before = {member.key: tree.region.server_counters(member.slot).requests for member in service.members}
    picked = Counter(tree.pick("s", address=f"10.{n // 250}.7.{n % 250}") for n in range(6000))
    if parts:
        after = {member.key: tree.region.server_counters(member.slot).requests for member in service.members}
        picked = Counter({name: after[name] - before[name] for name in names})
    for name, weight in zip(names, weights):
        share = 6000 * weight / sum(weights)
        assert abs(picked[name] - share) < 5 * share**0.5


def moved(tree: Tree, change: Any) -> tuple[float, dict[tuple[Any, Any], int]]:
    """The part of 3,000 clients that another server gets after `change`, and from where to where they went."""
    clients = [f"10.1.{n // 250}.{n % 250}" for n in range(3000)]
    before = {client: tree.pick("s", address=client) for client in clients}
    change()
    after = {client: tree.pick("s", address=client) for client in clients}
    ways = Counter((before[client], after[client]) for client in clients if before[client] != after[client])
    return sum(ways.values()) / len(clients), dict(ways)


def test_by_source_address_only_the_clients_of_a_failed_server_move_and_return() -> None:
    tree = Tree({"s": servers(A, B, C, D, sticky={"sourceIP": {}}, **CHECK)})
    part, ways = moved(tree, lambda: tree.set_up("s", B, False))
    assert {before for before, _ in ways} == {B}
    assert 0.2 < part < 0.3
    part, ways = moved(tree, lambda: tree.set_up("s", B, True))
    assert {after for _, after in ways} == {B}


def test_by_source_address_a_new_server_takes_only_its_share() -> None:
    tree = Tree({"s": servers(A, B, C, sticky={"sourceIP": {}})})
    part, ways = moved(tree, lambda: tree.apply({"s": servers(A, B, C, D, sticky={"sourceIP": {}})}))
    assert {after for _, after in ways} == {D}
    assert 0.2 < part < 0.3


def test_a_canary_by_user_grows_from_10_to_20_per_cent_and_no_user_moves_back() -> None:
    def canary(old: int, new: int) -> dict[str, Any]:
        return {
            "old": servers(A),
            "new": servers(B),
            "s": weighted(f"old*{old}", f"new*{new}", hashOn={"sourceIP": {}}),
        }

    tree = Tree(canary(90, 10))
    part, ways = moved(tree, lambda: tree.apply(canary(80, 20)))
    assert set(ways) == {(A, B)}
    assert 0.07 < part < 0.13
    # Whatever the weights: also where their sum changes.
    for old, new in ((4, 1), (3, 1), (1, 1), (1, 3), (1, 100)):
        part, ways = moved(tree, lambda old=old, new=new: tree.apply(canary(old, new)))  # type: ignore[misc]
        assert set(ways) <= {(A, B)}


def test_hash_key_from_header_cookie_query_and_path() -> None:
    for hash_on, with_key in (
        ({"header": "X-User"}, lambda n: (f"X-User: {n}",)),
        ({"cookie": "uid"}, lambda n: (f"Cookie: a=b; uid={n}",)),
    ):
        tree = Tree({"s": servers(A, B, C, strategy="hrw", hashOn=hash_on)})
        for n in range(20):
            assert len({tree.pick("s", *with_key(n)) for _ in range(5)}) == 1
        assert {tree.pick("s", *with_key(n)) for n in range(60)} == {A, B, C}
        assert set(tree.picks("s", 60)) == {A, B, C}


def test_depth_reads_the_address_from_the_right() -> None:
    tree = Tree({"s": servers(A, B, C, D, sticky={"sourceIP": {"depth": 2}})})
    for n in range(10):
        near = {tree.pick("s", f"X-Forwarded-For: 9.9.9.{m}, 1.2.3.{n}, 10.0.0.{m}") for m in range(10)}
        assert len(near) == 1


def test_failover_goes_to_the_fallback_while_the_main_service_is_down() -> None:
    tree = Tree(
        {
            "main": servers(A, **CHECK),
            "spare": servers(B, **CHECK),
            "s": {"failover": {"service": "main", "fallback": "spare", "healthCheck": {}}},
            "top": weighted("s", **WATCH),
        }
    )
    assert tree.pick("top") == A
    tree.set_up("main", A, False)
    assert tree.pick("top") == B
    tree.set_up("spare", B, False)
    assert tree.pick("top") is None
    assert not tree.service("top").is_up
    tree.set_up("main", A, True)
    assert tree.pick("top") == A


@pytest.mark.parametrize(
    ("percent", "requests"),
    [(0, []), (1, [1, 101]), (10, [1, 11, 21]), (25, [1, 5, 9, 13]), (33, [1, 4, 7, 10, 13]), (50, [1, 3, 5]),
     (66, [1, 2, 4, 5, 7, 8, 10]), (90, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]), (100, [1, 2, 3])],
)  # fmt: skip
def test_mirrored_requests_are_those_that_traefik_mirrors(percent: int, requests: list[int]) -> None:
    found = [number for number in range(1, 500) if due(number, percent)]
    assert found[: len(requests)] == requests


def test_min_healthy_takes_a_service_down_early_and_back_late() -> None:
    check = {"healthCheck": {"minHealthy": "50%", "recoverHealthy": "75%"}}
    tree = Tree({"s": servers(A, B, C, D, **check), "spare": servers("http://10.0.0.9:80"),
                 "top": {"failover": {"service": "s", "fallback": "spare"}}})  # fmt: skip
    spare = "http://10.0.0.9:80"
    for url, expected in ((A, True), (B, True), (C, False)):
        tree.set_up("s", url, False)
        assert tree.service("s").is_up is expected
    assert tree.pick("top") == spare
    tree.set_up("s", C, True)
    assert tree.pick("top") == spare
    tree.set_up("s", B, True)
    assert tree.pick("top") in (B, C, D)


def test_status_survives_a_reload_and_what_is_new_is_up() -> None:
    tree = Tree({"s": servers(A, B, **CHECK)})
    tree.set_up("s", A, False)
    tree.apply({"s": servers(A, B, C, **CHECK), "other": servers(D)})
    assert set(tree.picks("s", 6)) == {B, C}


# Sticky sessions


def sticky(**cookie: Any) -> dict[str, Any]:
    return {"sticky": {"cookie": {"name": "lb", **cookie}}}


def value(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def test_sticky_cookie_holds_its_server_through_reloads_until_it_fails() -> None:
    tree = Tree({"s": servers(A, B, C, **sticky(), **CHECK)})
    cookie = f"Cookie: x=y; lb={value(B)}; z"
    assert set(tree.picks("s", 9, cookie)) == {B}
    tree.apply({"s": servers(A, B, C, D, **sticky(), **CHECK)})
    assert set(tree.picks("s", 9, cookie)) == {B}
    tree.set_up("s", B, False)
    assert B not in tree.picks("s", 9, cookie)
    tree.set_up("s", B, True)
    assert set(tree.picks("s", 9, cookie)) == {B}


def test_sticky_sessions_of_a_drained_server_stay_and_no_new_one_comes() -> None:
    tree = Tree({"s": servers(f"{A}*0", B, **sticky())})
    assert set(tree.picks("s", 5, f"Cookie: lb={value(A)}")) == {A}
    assert set(tree.picks("s", 9)) == {B}


def test_sticky_picks_count_in_the_shares() -> None:
    """Every second request is of A's session; the others go to B until the shares are even."""
    tree = Tree({"s": servers(A, B, **sticky())})
    counts = Counter(tree.pick("s", *((f"Cookie: lb={value(A)}",) if n % 2 else ())) for n in range(400))
    assert abs(counts[A] - counts[B]) <= 4


def test_sticky_picks_of_one_busy_session_do_not_starve_its_server_for_long() -> None:
    tree = Tree({"s": servers(A, B, **sticky())})
    tree.picks("s", 10_000, f"Cookie: lb={value(A)}")
    assert A in tree.picks("s", 200)


def test_sticky_at_two_levels_names_both() -> None:
    tree = Tree({"one": servers(A, B, **sticky(name="in")), "two": servers(C), "s": weighted("one", "two", **sticky())})
    assert set(tree.picks("s", 6, f"Cookie: lb={value('one')}; in={value(B)}")) == {B}
    assert set(tree.picks("s", 6, f"Cookie: lb={value('two')}; in={value(B)}")) == {C}
