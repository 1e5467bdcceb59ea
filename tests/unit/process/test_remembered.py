"""Configurations on their way to workers: the same as if all had been written and read anew."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import dynamic_of
from lbcore.process import garbage, snapshot
from lbcore.process.snapshot import Received, Remembered, to_json
from lbcore.provider.merge import merge
from lbcore.state.slots import SlotMap

ROUTERS = st.builds(
    lambda rule, priority: {"rule": f"Host(`{rule}`)", "service": "s", **({} if priority is None else {"priority": priority})},  # noqa: E501
    st.sampled_from("ab"),
    st.sampled_from([None, 0, 1]),
)
CLAIMS = st.sampled_from([1, True, "1", 1.0])
STATES = st.fixed_dictionaries(
    {},
    optional={
        "http": st.fixed_dictionaries(
            {"services": st.just({"s": {"loadBalancer": {"servers": [{"url": "http://a"}]}}})},
            optional={
                "routers": st.dictionaries(st.sampled_from("xyz"), ROUTERS, min_size=1),
                "serversTransports": st.just({"t": {"insecureSkipVerify": True}}),
                "middlewares": st.builds(
                    lambda value: {"m": {"jwtAuth": {"secret": "0" * 32, "claims": {"k": value}}}}, CLAIMS
                ),
            },
        ),
        "tcp": st.just(
            {
                "services": {"t": {"loadBalancer": {"servers": [{"address": "a:1"}]}}},
                "serversTransports": {"t": {"dialTimeout": "3s"}},
                "middlewares": {"m": {"inFlightConn": {"amount": 3}}},
            }
        ),
        "udp": st.just({"services": {"u": {"loadBalancer": {"servers": [{"address": "a:1"}]}}}}),
        "tls": st.just({"options": {"o": {"minVersion": "VersionTLS12"}}}),
    },
)


def made(state: dict[str, Any]) -> DynamicConfig:
    try:
        return merge({"file": dynamic_of(state)})
    except Exception:
        state["http"].pop("middlewares", None)  # a claim of that kind is not taken
        return merge({"file": dynamic_of(state)})


@given(st.lists(STATES, min_size=1, max_size=5))
def test_what_a_worker_reads_is_what_was_written(states: list[dict[str, Any]]) -> None:
    here, there = Remembered(), Remembered()
    for state in states:
        config = made(state)
        read = there.read(json.loads(json.dumps(here.write(config))))
        anew = DynamicConfig.model_validate(json.loads(json.dumps(to_json(config))))
        assert read == anew
        assert to_json(read) == to_json(anew)
        assert here.read(here.write(config)) == anew


def test_objects_that_stay_are_the_same() -> None:
    def config(rule: str) -> DynamicConfig:
        routers = {f"r{n}": {"rule": f"Host(`{n}`)", "service": "s"} for n in range(50)}
        return merge({"file": dynamic_of({"http": {"routers": {**routers, "r7": {"rule": rule, "service": "s"}}}})})

    here, there = Remembered(), Remembered()
    before, after = (there.read(here.write(config(rule))).http.routers for rule in ("Host(`a`)", "Host(`b`)"))
    assert [name for name in before if before[name] is not after[name]] == ["r7@file"]


class Node:
    """Something that can be a part of a cycle."""

    other: Node


def test_what_stays_is_set_aside_and_looked_at_again_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "START_S", 0.0)
    monkeypatch.setattr(garbage, "INTERVAL_S", 0.0)
    monkeypatch.setattr(garbage, "ROUNDS", 4)
    before, collect, seen = gc.get_threshold(), gc.collect, []
    one = Node()
    one.other = one
    gone = weakref.ref(one)

    def note() -> int:
        found = collect()
        # Thresholds, objects set aside before, and whether the cycle is still there.
        seen.append((gc.get_threshold()[2], gc.get_freeze_count() > 10_000, gone() is not None))
        return found

    monkeypatch.setattr(gc, "collect", note)

    async def run() -> None:
        nonlocal one
        task = asyncio.create_task(garbage.collect_seldom())
        while not seen:
            await asyncio.sleep(0)
        one = Node()  # what was set aside with a cycle is garbage now
        while len(seen) < 4:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert seen[:4] == [(garbage.NEVER, number != 4, number != 4) for number in range(1, 5)]
    assert gc.get_threshold() == before and gc.get_freeze_count() == 0


@given(st.lists(STATES, min_size=1, max_size=6), st.integers(1, 3), st.data())
def test_a_worker_joins_the_parts_of_configurations(
    states: list[dict[str, Any]], size: int, data: st.DataObject
) -> None:
    here, worker = Remembered(), Received()
    base: tuple[Any, ...] = ()
    for generation, state in enumerate(states, 1):
        written = here.write(made(state))
        slots = SlotMap({f"s{n}": n for n in range(data.draw(st.integers(0, 4)))}, {"t": generation})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot, "PART", size)
            messages = snapshot.parts_of(generation, written, slots, *base)
        *parts, prepare = [json.loads(json.dumps(message)) for message in messages]
        assert (prepare["type"], prepare["generation"]) == ("prepare", generation)
        assert all(part["type"] == "part" and len(part["entries"]) <= size for part in parts)
        assert worker.fits(prepare)
        config, found = worker.read(prepare, parts)
        assert to_json(config) == to_json(Remembered().read(written))
        assert found == slots
        if data.draw(st.booleans()):  # else it is aborted, and the next one does not build on it
            worker.commit(generation)
            base = (generation, written, slots)


def test_a_worker_gets_what_changes_alone() -> None:
    def config(rule: str) -> DynamicConfig:
        routers = {f"r{n}": {"rule": f"Host(`{n}`)", "service": "s"} for n in range(50)}
        tls = {"options": {"o": {"minVersion": "VersionTLS12"}}}
        parts = {"routers": {**routers, "r7": {"rule": rule, "service": "s"}}}
        return merge({"file": dynamic_of({"http": parts, "tls": tls})})

    here, worker, slots = Remembered(), Received(), SlotMap({"s": 1}, {})
    first, second = (here.write(config(rule)) for rule in ("Host(`a`)", "Host(`b`)"))
    *parts, prepare = snapshot.parts_of(1, first, slots)
    before, _ = worker.read(prepare, parts)
    worker.commit(1)
    part, prepare = snapshot.parts_of(2, second, slots, 1, first, slots)
    assert list(part["entries"]) == ["r7@file"]
    assert "tls" not in prepare["dynamic"]
    after, _ = worker.read(prepare, [part])
    assert after.tls is before.tls
    changed = [name for name in after.http.routers if before.http.routers[name] is not after.http.routers[name]]
    assert changed == ["r7@file"]
    assert not worker.fits({**prepare, "base": 2})  # which does not run here
