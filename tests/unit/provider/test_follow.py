"""The mechanism of providers with a store: what is read, when, and what is published."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static.providers import RestProvider as RestSettings
from lbcore.errors import ConfigError, Problem
from lbcore.provider import follow, rest
from lbcore.provider.base import Aggregator, Update
from lbcore.provider.follow import Backoff, Reading, StoreProvider
from lbcore.provider.rest import RestProvider
from lbcore.tls.material import settle
from tests.support.instance import becomes_true
from tests.support.keys import reading_of


def config(*services: str) -> DynamicConfig:
    lines = {name: {"loadBalancer": {"servers": [{"url": f"http://{name}"}]}} for name in services}
    return DynamicConfig.model_validate({"http": {"services": lines}})


class Store:
    """Holds what a test puts into it."""

    name = "scripted"
    place = "a place"

    def __init__(self, *services: str) -> None:
        self.holds: Reading | Exception = Reading(config(*services))
        self.reads = 0
        self.connections = 0
        self.closed = 0
        self.lost: Exception | None = None
        self.events: asyncio.Queue[None] = asyncio.Queue()

    async def changes(self) -> AsyncIterator[None]:
        self.connections += 1
        if self.lost is not None:
            raise self.lost
        yield
        while True:
            await self.events.get()
            if self.lost is not None:
                raise self.lost
            yield

    async def read(self) -> Reading:
        self.reads += 1
        if isinstance(self.holds, Exception):
            raise self.holds
        return self.holds

    async def close(self) -> None:
        self.closed += 1

    def put(self, *services: str) -> None:
        self.holds = Reading(config(*services))
        self.events.put_nowait(None)


Test = Callable[[StoreProvider, list[Update]], Awaitable[None]]


def follows(store: Store, test: Test, throttle_s: float = 0, **more: bool) -> None:
    async def wrapped() -> None:
        provider = StoreProvider(store, throttle=timedelta(seconds=throttle_s), **more)
        updates: list[Update] = []
        task = asyncio.create_task(provider.run(updates.append))
        try:
            await test(provider, updates)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert store.closed == 1

    asyncio.run(wrapped())


def published(updates: list[Update]) -> list[list[str]]:
    return [sorted(update.config.http.services) for update in updates if update.config is not None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(follow, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(follow, "EMPTY_AGAIN_S", 0.05)


def test_publishes_what_is_new_alone() -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        store.put("a")
        await becomes_true(lambda: store.reads == 2 and len(updates) == 2)
        assert updates[1] == Update("scripted", None, (), is_read=True)
        store.put("a", "b")
        await becomes_true(lambda: published(updates) == [["a"], ["a", "b"]])

    follows(store, test)


def test_a_reload_publishes_even_what_is_known() -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        provider.reload()
        await becomes_true(lambda: published(updates) == [["a"], ["a"]])

    follows(store, test, throttle_s=3600)


def test_without_watching_it_reads_at_the_start_and_on_reload() -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        assert store.connections == 0
        store.holds = Reading(config("b"))
        provider.reload()
        await becomes_true(lambda: published(updates) == [["a"], ["b"]])

    follows(store, test, watch=False)


def test_changes_at_once_are_one_reading() -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        for number in range(1000):
            store.put(f"s{number}")
        await becomes_true(lambda: published(updates)[-1] == ["s999"])
        assert store.reads < 20

    follows(store, test)


def test_the_throttle_holds_back_all_but_the_first_and_the_last() -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        loop = asyncio.get_running_loop()
        first = loop.time()
        for number in range(20):
            store.put(f"s{number}")
            await asyncio.sleep(0.01)
        await becomes_true(lambda: published(updates)[-1] == ["s19"])
        assert loop.time() - first >= 0.4
        assert len(published(updates)) <= 3

    follows(store, test, throttle_s=0.5)


def test_an_error_keeps_what_runs_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        store.holds = OSError("no route")
        store.events.put_nowait(None)
        await becomes_true(lambda: store.reads > 6)
        assert updates[-1] == Update("scripted", None, ("provider scripted: a place: no route",), is_away=True)
        store.holds = Reading(config("a"))  # it is read again without an event
        await becomes_true(lambda: updates[-1] == Update("scripted", None, (), is_read=True))

    with caplog.at_level(logging.INFO):
        follows(store, test)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == ["provider scripted: a place: no route, what runs stays"]


def test_what_changes_while_the_store_is_lost_is_read_when_it_is_back() -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        store.lost = ConnectionResetError("cut")
        store.events.put_nowait(None)
        await becomes_true(lambda: store.connections > 3)
        store.holds, store.lost = Reading(config("b")), None
        await becomes_true(lambda: published(updates)[-1] == ["b"])

    follows(store, test)


def test_a_store_that_is_away_at_the_start_publishes_when_it_comes() -> None:
    store = Store("a")
    store.lost = store_away = ConnectionRefusedError("refused")
    store.holds = store_away

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: store.connections > 3)
        assert not published(updates)
        store.holds, store.lost = Reading(config("a")), None
        await becomes_true(lambda: published(updates) == [["a"]])

    follows(store, test)


def test_an_empty_store_is_believed_when_it_stays_so(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        before = store.reads
        store.put()
        await becomes_true(lambda: published(updates) == [["a"], []])
        assert store.reads - before >= follow.EMPTY_READS
        assert any("is empty: what runs stays" in problem for update in updates for problem in update.problems)

    follows(store, test)
    assert "a place is empty: nothing of it runs any more" in caplog.text


def test_a_store_that_is_empty_for_a_moment_wipes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "EMPTY_AGAIN_S", 3600)
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        store.put()
        await becomes_true(lambda: bool(updates[-1].problems))
        store.put("a")
        await becomes_true(lambda: updates[-1] == Update("scripted", None, (), is_read=True))
        assert published(updates) == [["a"]]

    follows(store, test)


def test_an_empty_store_is_believed_at_once_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "EMPTY_AGAIN_S", 3600)
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        store.put()
        await becomes_true(lambda: published(updates) == [["a"], []])

    follows(store, test, allow_empty=True)


def test_parts_that_cannot_be_used_do_not_hinder_the_others(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.holds = Reading(config("a"), ("container x: no port",), ("a note",))

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        assert updates[-1].problems == ("container x: no port",)
        store.events.put_nowait(None)
        await becomes_true(lambda: store.reads == 2 and len(updates) == 2)

    follows(store, test)
    assert caplog.text.count("container x: no port") == 1
    assert caplog.text.count("a note") == 1


def test_what_is_wrong_in_tls_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """No router need use it, and the API has no place for it."""
    store = Store()
    texts = {"traefik/tls/options/o/sniStrict": "yes", "traefik/tls/certificates/0/certFil": "x"}
    texts |= {"traefik/tls/stores/default/defaultCertificate/x": "y", "traefik/http/services/a/loadBalancer": "true"}
    store.holds = reading_of(texts, "traefik", "etcd")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: published(updates) == [["a"]])
        assert [problem.partition(": etcd: ")[0] for problem in updates[-1].problems] == [
            "TLS options o",
            "TLS store default",
            "TLS certificate",
        ]

    follows(store, test)
    assert "TLS options o: etcd: traefik/tls/options/o/sniStrict: 'yes' is neither true nor false" in caplog.text


def test_the_state_of_a_provider() -> None:
    store = Store("a", "b")

    async def wrapped() -> None:
        provider = StoreProvider(store, throttle=timedelta(0))
        aggregator = Aggregator([provider], lambda merged: None)
        task = asyncio.create_task(aggregator.run())
        (state,) = aggregator.states
        await becomes_true(lambda: state.objects == 2)
        assert state.problems == ()
        assert state.succeeded_unix_s > 0
        store.holds = ConfigError([Problem("", "no list")])
        store.events.put_nowait(None)
        await becomes_true(lambda: state.failures > 0)
        assert state.problems == ("provider scripted: a place: no list",)
        assert state.objects == 2
        store.put("a")
        await becomes_true(lambda: state.objects == 1 and not state.problems)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(wrapped())


def test_waits_become_longer_and_differ() -> None:
    backoff = Backoff()
    waits = [backoff.next_s() for _ in range(20)]
    assert len(set(waits)) == len(waits)
    assert max(waits) <= follow.LONGEST_WAIT_S * (1 + follow.JITTER)


class DeadMount:
    """In place of `settle`: a configuration that names a file called dead waits until the mount is back."""

    def __init__(self) -> None:
        self.is_back = threading.Event()

    def settle(self, config: DynamicConfig, before: DynamicConfig | None = None) -> tuple[DynamicConfig, list[Problem]]:
        if any(pair.cert_file == "dead" for pair in config.tls.certificates):
            self.is_back.wait(60)
            return config, []
        return settle(config, before)


DEAD = {"tls": {"certificates": [{"certFile": "dead", "keyFile": "dead"}]}}


@pytest.fixture(name="mount")
def dead_mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeadMount]:
    mount = DeadMount()
    monkeypatch.setattr(follow, "settle", mount.settle)
    monkeypatch.setattr(rest, "settle", mount.settle)
    yield mount
    mount.is_back.set()


def test_certificates_that_do_not_answer_hold_up_no_reading_without_them(
    mount: DeadMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MATERIAL_S", 0.2)
    store = Store("a")

    async def test(provider: StoreProvider, updates: list[Update]) -> None:
        await becomes_true(lambda: updates)
        store.holds = Reading(DynamicConfig.model_validate(DEAD))
        provider.reload()
        await becomes_true(lambda: any("do not answer" in text for each in updates for text in each.problems))
        monkeypatch.setattr(follow, "MATERIAL_S", 60)
        store.put("b")
        await becomes_true(lambda: updates[-1].config is not None and "b" in updates[-1].config.http.services)

    follows(store, test)


def test_a_put_that_names_them_holds_up_no_other_one(mount: DeadMount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "READ_S", 0.2)

    async def test() -> None:
        provider, updates = RestProvider(RestSettings()), list[Update]()
        task = asyncio.create_task(provider.run(updates.append))
        await becomes_true(lambda: updates)
        with pytest.raises(OSError, match="do not answer"):
            await provider.put(json.dumps(DEAD).encode())
        monkeypatch.setattr(rest, "READ_S", 60)
        assert await provider.put(config("a").model_dump_json(by_alias=True, exclude_defaults=True).encode()) == []
        assert updates[-1].config is not None and "a" in updates[-1].config.http.services
        task.cancel()

    asyncio.run(test())
