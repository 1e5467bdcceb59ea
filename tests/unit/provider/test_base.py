"""The aggregator: several providers become one configuration with qualified names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.provider import base
from lbcore.provider.base import Aggregator, Publish, Update
from lbcore.provider.merge import merge
from tests.support.instance import becomes_true


def config(*services: str) -> DynamicConfig:
    lines = {name: {"loadBalancer": {"servers": [{"url": f"http://{name}"}]}} for name in services}
    return DynamicConfig.model_validate({"http": {"services": lines}})


class Scripted:
    """A provider that publishes on demand."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.updates: asyncio.Queue[DynamicConfig | Update | Exception] = asyncio.Queue()
        self.starts = 0
        self.reloads = 0

    async def run(self, publish: Publish) -> None:
        self.starts += 1
        while True:
            update = await self.updates.get()
            if isinstance(update, Exception):
                raise update
            publish(update if isinstance(update, Update) else Update(self.name, update))

    def reload(self) -> None:
        self.reloads += 1


class Accepted:
    def __init__(self) -> None:
        self.names: list[list[str]] = []

    def __call__(self, merged: DynamicConfig) -> None:
        self.names.append(sorted(merged.http.services))


def run(providers: list[Scripted], test: Callable[[Aggregator, Accepted], object]) -> None:
    async def wrapped() -> None:
        accepted = Accepted()
        aggregator = Aggregator(providers, accepted)
        task = asyncio.create_task(aggregator.run())
        try:
            await test(aggregator, accepted)  # type: ignore[misc]
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(wrapped())


def test_merge_qualifies_names_with_their_provider() -> None:
    merged = merge({"file": config("a", "b"), "consul": config("a")})
    assert sorted(merged.http.services) == ["a@consul", "a@file", "b@file"]
    assert merge({}).is_empty


def test_merge_does_not_change_its_parts() -> None:
    part = config("a")
    merge({"file": part})
    assert list(part.http.services) == ["a"]


def test_default_options_of_two_providers_are_those_of_none(caplog: pytest.LogCaptureFixture) -> None:
    tls = {"options": {"default": {"minVersion": "VersionTLS13"}}, "stores": {"default": {}}}
    part = DynamicConfig.model_validate({"tls": tls})
    alone = merge({"file": part}).tls
    assert (alone.options["default"].faults, list(alone.stores)) == ((), ["default"])
    both = merge({"file": part, "docker": part}).tls
    assert both.options["default"].faults == ("the default TLS options are defined by several providers: docker, file",)
    assert list(both.stores) == []
    assert "the default TLS store is defined by several providers" in caplog.text


def test_aggregator_waits_for_every_provider_once() -> None:
    one, two = Scripted("one"), Scripted("two")

    async def test(aggregator: Aggregator, accepted: Accepted) -> None:
        one.updates.put_nowait(config("a"))
        await becomes_true(one.updates.empty)
        assert accepted.names == []
        assert not aggregator.complete.is_set()
        two.updates.put_nowait(config())
        await aggregator.complete.wait()
        one.updates.put_nowait(config("b"))
        await becomes_true(lambda: len(accepted.names) == 2)
        assert accepted.names == [["a@one"], ["b@one"]]

    run([one, two], test)


def test_aggregator_without_providers_accepts_an_empty_configuration() -> None:
    async def test(aggregator: Aggregator, accepted: Accepted) -> None:
        await aggregator.complete.wait()
        assert accepted.names == [[]]

    run([], test)


def test_aggregator_starts_without_a_provider_that_hangs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "FIRST_S", 0.05)
    one, silent = Scripted("one"), Scripted("silent")

    async def test(aggregator: Aggregator, accepted: Accepted) -> None:
        one.updates.put_nowait(config("a"))
        await aggregator.complete.wait()
        assert accepted.names == [["a@one"]]
        silent.updates.put_nowait(config("b"))
        await becomes_true(lambda: accepted.names == [["a@one"], ["a@one", "b@silent"]])

    run([one, silent], test)
    assert "provider silent has given no configuration" in caplog.text


def test_aggregator_reports_the_problems_of_all_providers_when_they_change() -> None:
    one, two = Scripted("one"), Scripted("two")
    told: list[list[str]] = []

    async def test() -> None:
        aggregator = Aggregator([one, two], lambda merged: None, told.append)
        task = asyncio.create_task(aggregator.run())
        one.updates.put_nowait(Update("one", None, ("line 3",)))
        two.updates.put_nowait(Update("two", config("b"), ("half of it",)))
        await becomes_true(lambda: told == [["line 3"], ["line 3", "half of it"]])
        one.updates.put_nowait(Update("one", config("a")))
        await becomes_true(lambda: told[-1] == ["half of it"])
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(test())


def test_aggregator_provider_that_fails_is_started_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "RESTART_S", (0.01, 0.02))
    one = Scripted("one")

    async def test(aggregator: Aggregator, accepted: Accepted) -> None:
        for _ in range(3):
            one.updates.put_nowait(RuntimeError("lost the connection"))
        one.updates.put_nowait(config("a"))
        await becomes_true(lambda: accepted.names == [["a@one"]])
        assert one.starts == 4

    run([one], test)
    assert caplog.text.count("lost the connection") == 3


def test_aggregator_ends_although_a_provider_fails_during_its_cancellation() -> None:
    class Clumsy(Scripted):
        async def run(self, publish: Publish) -> None:
            try:
                await super().run(publish)
            finally:
                raise RuntimeError("cannot say good-bye")

    async def test() -> None:
        aggregator = Aggregator([Clumsy("one")], Accepted())
        task = asyncio.create_task(aggregator.run())
        await asyncio.sleep(0.01)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=5)
        assert done

    asyncio.run(test())


def test_aggregator_reload_asks_every_provider() -> None:
    one, two = Scripted("one"), Scripted("two")

    async def test(aggregator: Aggregator, accepted: Accepted) -> None:
        aggregator.reload()
        assert (one.reloads, two.reloads) == (1, 1)

    run([one, two], test)
