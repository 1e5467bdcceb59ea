"""What fits one who watches single requests, what is shown, and how many of all workers."""

from __future__ import annotations

import json
import time

import pytest

from lbcore.config.static import StaticConfig
from lbcore.observability.ring import TAPS, LineReader
from lbcore.observability.tap import MOST_NAMES, Tap, Watch, hidden_keys, is_named
from lbcore.state.cells import most_taps
from lbcore.state.region import Region


def static(**settings: object) -> StaticConfig:
    return StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}, "api": {}, **settings})


def put(tap: Tap, path: bytes = b"/x", status: int = 200) -> None:
    watches = tap.wanted(status, "r@file", "s@file", "http://a")
    tap.put(
        watches, time.monotonic_ns(), status, "web", "r@file", "s@file", "http://a", b"GET", b"a.test", path, None,
        b"192.0.2.1", (1, 1), False, 1_000_000, 500_000, 0, 1, 0,
    )  # fmt: skip


def lines(region: Region) -> list[tuple[list[int], dict[str, object]]]:
    reader = LineReader(region, TAPS)
    found = reader.merge(time.monotonic_ns()).decode().splitlines()
    reader.release()
    parts = [line.partition(" ") for line in found]
    return [([int(id) for id in ids.split(",")], json.loads(text)) for ids, _, text in parts]


def test_a_record_is_made_once_for_all_whom_it_fits_and_who_want_more() -> None:
    region = Region.create(2)
    taps = [Tap(static(), region, worker) for worker in range(2)]
    watches = [{"id": 5, "slot": 0}, {"id": 6, "slot": 1, "path": "/x"}, {"id": 7, "slot": 2, "statuses": [[500, 599]]}]
    for tap in taps:
        put(tap)  # nobody watches
        tap.follow(watches)
    for slot, granted in ((0, 2), (1, 3), (2, 9)):
        assert region.grant_tap(slot, granted, 9) == 0
    put(taps[0])
    put(taps[1], b"/other")
    put(taps[0])
    put(taps[1], b"/bad", 503)
    assert [(ids, record["path"]) for ids, record in lines(region)] == [
        ([5, 6], "/x"),
        ([5], "/other"),
        ([6], "/x"),
        ([7], "/bad"),
    ]
    assert [region.grant_tap(slot, 0, 9) for slot in range(3)] == [2, 0, 0]
    taps[0].follow(watches[1:2])
    put(taps[0], b"/bad", 503)
    assert lines(region) == []
    assert region.taps_lost == 0


def test_what_is_granted_is_bounded_and_taken_back_for_the_next_one() -> None:
    region = Region.create(1)
    for _ in range(3):
        region.grant_tap(3, 4, 5)
    assert [region.take_tap(3) for _ in range(6)] == [True] * 5 + [False]
    region.grant_tap(3, 4, 5)
    assert region.grant_tap(3, 0, 0) == 1
    assert not region.take_tap(3)
    for call in (region.take_tap, lambda slot: region.grant_tap(slot, 1, 1)):
        with pytest.raises(IndexError, match=f"tap {most_taps} of {most_taps}"):
            call(most_taps)


def test_a_ring_without_room_loses_and_counts() -> None:
    region = Region.create(1)
    tap = Tap(static(), region, 0)
    tap.follow([{"id": 1, "slot": 0}])
    region.grant_tap(0, 100_000, 100_000)
    while not region.taps_lost:
        put(tap, b"/" + b"x" * 2000)
    assert region.log_lines_lost == region.spans_lost == 0


def test_names_of_routers_below_others_and_without_a_provider() -> None:
    assert is_named("shop@file", "shop")
    assert is_named("shop@file", "shop@file")
    assert is_named("parent@file -> child@docker", "child")
    assert is_named("parent@file -> child@docker", "parent@file")
    assert not is_named("shop@file", "sho")
    assert not is_named("shop@file", "shop@docker")


def test_what_is_known_of_names_is_bounded() -> None:
    watch = Watch({"id": 1, "slot": 0, "router": "r"})
    for number in range(MOST_NAMES + 10):
        assert not watch.may_fit(200, {"router": f"r{number}@file", "service": None, "server": None})
    assert len(watch._known) <= MOST_NAMES
    assert watch.may_fit(200, {"router": "r@file", "service": None, "server": None})
    assert not watch.may_fit(200, {"router": None, "service": None, "server": None})


@pytest.mark.parametrize(
    ("client", "fits"), [("10.9.8.7", True), ("192.0.2.1", False), ("::1", False), ("", False), ("x", False)]
)
def test_clients_of_a_network(client: str, fits: bool) -> None:
    watch = Watch({"id": 1, "slot": 0, "client": "10.0.0.0/8"})
    assert watch.fits(b"GET", b"/", client) is fits


def test_fields_of_the_access_log_decide() -> None:
    assert hidden_keys(static()) == {"query"}
    assert hidden_keys(static(accessLog={})) == set()
    fields = {"defaultMode": "drop", "names": {"requestmethod": "keep", "DownstreamStatus": "keep"}}
    hidden = hidden_keys(static(accessLog={"fields": fields}))
    assert "client" in hidden and "path" in hidden and not {"method", "status"} & hidden
