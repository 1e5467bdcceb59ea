"""The file provider: what it publishes, when, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.errors import Problem
from lbcore.provider import file as file_module
from lbcore.provider.base import Update
from lbcore.provider.file import FileProvider
from lbcore.provider.watch import is_being_written, signature
from tests.support.instance import becomes_true


def content(*names: str) -> str:
    """A configuration with services of these names."""
    services = "".join(f"    {name}: {{loadBalancer: {{servers: [{{url: 'http://{name}'}}]}}}}\n" for name in names)
    return f"http:\n  services:\n{services}"


class Published:
    """What a provider published: the names of the services, and when."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []
        self.times: list[float] = []
        self.problems: tuple[str, ...] = ()

    def __call__(self, update: Update) -> None:
        assert update.provider == "file"
        self.problems = update.problems
        if update.config is None:
            return
        self.names.append(sorted(update.config.http.services))
        self.times.append(time.monotonic())

    async def count(self, n: int) -> None:
        """Wait for the `n`th publication."""
        await becomes_true(lambda: len(self.names) >= n)


class CountingProvider(FileProvider):
    """One that counts how often it has read what there is, whatever came of it."""

    rounds = 0

    async def _read(self, forced: bool) -> DynamicConfig | None:
        found = await super()._read(forced)
        self.rounds += 1  # what comes of it is published before anybody else runs
        return found

    async def reads(self, change: Callable[[], object]) -> None:
        """Make a change, and wait until it was read."""
        before = self.rounds
        change()
        await becomes_true(lambda: self.rounds > before)


def watchers(path: Path) -> int:
    """How many instances of inotify of this process look at the folders in which `path` stands, or would."""
    folders = {path, path.resolve()} if path.is_dir() else {path.parent, path.resolve().parent}
    inodes = set()
    for folder in folders:
        while not folder.is_dir():
            folder = folder.parent
        inodes.add(f"ino:{folder.stat().st_ino:x} ")
    count = 0
    for file in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            text = file.read_text()
            count += "inotify" in text and all(inode in text for inode in inodes)
    return count


@contextlib.asynccontextmanager
async def provider_of(
    path: Path, *, watched: bool = True, **options: Any
) -> AsyncIterator[tuple[CountingProvider, Published]]:
    """Run one; with the block entered its watch stands, if `watched`."""
    provider, published = CountingProvider(path, **{"throttle": timedelta(0), **options}), Published()
    before = watchers(path)
    task = asyncio.create_task(provider.run(published))
    try:
        await published.count(1)
        # What is done before the watch stands would be seen only when file times are compared.
        await becomes_true(lambda: not watched or watchers(path) > before)
        yield provider, published
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def test_file_read_at_the_start_and_after_a_change(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path) as (_, published):
            path.write_text(content("a", "b"))
            await published.count(2)
            assert published.names == [["a"], ["a", "b"]]

    run(test())


def test_file_missing_at_the_start_gives_an_empty_configuration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        path = tmp_path / "later" / "dynamic.yml"
        async with provider_of(path) as (_, published):
            assert published.names == [[]]
            path.parent.mkdir()
            path.write_text(content("a"))
            await published.count(2)
            assert published.names[1] == ["a"]

    run(test())
    assert "is not there" in caplog.text


def test_file_wrong_at_the_start_gives_an_empty_configuration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text("http: [\n")
        async with provider_of(path) as (_, published):
            assert published.names == [[]]

    run(test())
    assert "configuration refused" in caplog.text


def test_file_changes_in_quick_succession_are_throttled_to_first_and_last(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path) as (provider, published):
            provider._throttle_s = 2
            provider._published_at -= 2  # as long ago
            path.write_text(content("b"))
            await published.count(2)
            path.write_text(content("c"))
            await becomes_true(provider._changed.is_set)
            for name in "de":
                path.write_text(content(name))
            await published.count(3)
            assert published.names == [["a"], ["b"], ["e"]]
            assert published.times[2] - published.times[1] >= 2

    run(test())


def test_file_reload_is_not_throttled_and_publishes_the_same_again(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path, throttle=timedelta(seconds=60)) as (provider, published):
            provider.reload()
            await published.count(2)
            async with provider_of(path) as (beside, _):  # what is seen, and not read for a minute
                await beside.reads(lambda: path.write_text(content("b")))
            provider.reload()
            await published.count(3)
            assert published.names == [["a"], ["a"], ["b"]]

    run(test())


def test_file_rewritten_with_the_same_meaning_is_not_published(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path) as (provider, published):
            for same in (content("a"), "# a comment\n" + content("a")):
                await provider.reads(lambda same=same: path.write_text(same))  # type: ignore[misc]
                assert len(published.names) == 1
            path.write_text(content("b"))
            await published.count(2)
            assert published.names == [["a"], ["b"]]

    run(test())


def test_file_refused_is_reported_with_every_problem_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path) as (provider, published):
            path.write_text(content("a") + "  nonsense: 1\n  folly: 2\n")
            await becomes_true(lambda: "the running configuration stays" in caplog.text)
            await provider.reads(lambda: path.write_text(path.read_text()))
            assert len(published.names) == 1
            path.write_text(content("a"))
            path.write_text(content("c"))
            await published.count(2)
            assert published.names[1] == ["c"]

    run(test())
    assert caplog.text.count("configuration refused") == 2
    assert "nonsense" in caplog.text
    assert "folly" in caplog.text


def test_file_loader_that_breaks_does_not_end_the_provider(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def load(texts: Mapping[Path, str]) -> tuple[DynamicConfig, list[Problem]]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError
        return DynamicConfig(), [Problem("", "mind the gap", severity="warning")]

    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text("1")
        async with provider_of(path, load=load) as (provider, published):
            provider.reload()
            await becomes_true(lambda: "cannot be loaded" in caplog.text)
            provider.reload()
            await published.count(2)

    run(test())
    assert "mind the gap" in caplog.text


def test_file_emptied_stays_until_it_has_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path) as (_, published):
            path.write_text("")
            await becomes_true(lambda: "is empty" in caplog.text)
            path.unlink()
            await becomes_true(lambda: "is not there" in caplog.text)
            path.write_text(content("b"))
            await published.count(2)
            assert published.names == [["a"], ["b"]]

    run(test())


def test_file_not_watched_is_read_on_reload_only(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        unwatched = provider_of(path, watched=False, watch=False)
        async with unwatched as (provider, published), provider_of(path) as (beside, _):
            await beside.reads(lambda: path.write_text(content("b")))
            assert published.names == [["a"]]
            provider.reload()
            await published.count(2)

    run(test())


def test_file_behind_a_symbolic_link_is_watched_where_it_is(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "srv").mkdir()
        path, target = tmp_path / "etc" / "dynamic.yml", tmp_path / "srv" / "v1.yml"
        target.write_text(content("a"))
        path.symlink_to(target)
        async with provider_of(path) as (_, published):
            target.write_text(content("b"))
            await published.count(2)
            (tmp_path / "srv" / "v2.yml").write_text(content("c"))
            (tmp_path / "etc" / "next").symlink_to(tmp_path / "srv" / "v2.yml")
            os.replace(tmp_path / "etc" / "next", path)
            await published.count(3)
            (tmp_path / "srv" / "v2.yml").write_text(content("d"))
            await published.count(4)
            assert published.names == [["a"], ["b"], ["c"], ["d"]]

    run(test())


def test_file_directory_is_read_whole_and_watched_below(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "team").mkdir()
        (tmp_path / "one.yml").write_text(content("a"))
        (tmp_path / "team" / "two.yaml").write_text(content("b"))
        (tmp_path / ".hidden.yml").write_text("nonsense: [")
        (tmp_path / "README.md").write_text("not a configuration")
        async with provider_of(tmp_path) as (_, published):
            assert published.names == [["a", "b"]]
            (tmp_path / "team" / "three.yml").write_text(content("c"))
            await published.count(2)
            (tmp_path / "one.yml").unlink()
            await published.count(3)
            assert published.names[1:] == [["a", "b", "c"], ["b", "c"]]

    run(test())


def test_file_that_cannot_be_watched_is_compared_by_its_times(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_watch(*paths: Path, **options: Any) -> Iterator[None]:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("lbcore.provider.watch.watch", no_watch)
    monkeypatch.setattr("lbcore.provider.watch.POLL_S", 0.05)

    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path, watched=False) as (_, published):
            await becomes_true(lambda: "cannot watch" in caplog.text)
            path.write_text(content("b"))
            await published.count(2)

    run(test())
    assert caplog.text.count("cannot watch") == 1


def test_is_being_written_follows_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not is_being_written(path)
    with path.open("w"):
        assert is_being_written(path)
    with path.open():
        assert not is_being_written(path)


def test_signature_of_a_directory_changes_with_its_files_only(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("1")
    before = signature(tmp_path)
    (tmp_path / "note.txt").write_text("1")
    assert signature(tmp_path) == before
    (tmp_path / "b.toml").write_text("1")
    assert signature(tmp_path) != before


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_file_that_blocks_is_left_out_and_the_others_are_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        os.mkfifo(tmp_path / "a.yml")
        path = tmp_path / "b.yml"
        path.write_text(content("b"))
        async with provider_of(tmp_path) as (_, published):
            assert published.names == [["b"]]
            path.write_text(content("c"))
            await published.count(2)
            assert published.names[1] == ["c"]
            assert "is not a file" in published.problems[0]

    run(test())
    assert caplog.text.count("a.yml") == 1


def test_file_on_a_mount_that_is_gone_is_taken_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "READ_S", 0.2)
    blocked, gone = threading.Event(), threading.Event()
    read = file_module.read_text

    def slow(path: Path) -> str:
        if path.name == "a.yml" and gone.is_set():
            blocked.wait()
        return read(path)

    monkeypatch.setattr(file_module, "read_text", slow)

    async def test() -> None:
        (tmp_path / "a.yml").write_text(content("a"))
        (tmp_path / "b.yml").write_text(content("b"))
        async with provider_of(tmp_path) as (_, published):
            gone.set()
            (tmp_path / "b.yml").write_text(content("c"))
            await published.count(2)
            (tmp_path / "b.yml").write_text(content("d"))
            await published.count(3)
            assert published.names == [["a", "b"], ["a", "c"], ["a", "d"]]
            assert "a.yml" in published.problems[0]
            blocked.set()
            (tmp_path / "a.yml").write_text(content("e"))
            await published.count(4)
            assert published.names[3] == ["d", "e"]
            await becomes_true(lambda: published.problems == ())

    run(test())


def test_file_behind_links_in_a_circle_is_followed_once_it_is_one(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        async with provider_of(path) as (_, published):
            await becomes_true(lambda: published.names == [["a"]])
            path.unlink()
            path.symlink_to(path.name)
            await becomes_true(lambda: any("is not there" in problem for problem in published.problems))
            (tmp_path / "real.yml").write_text(content("b"))
            path.unlink()
            path.symlink_to("real.yml")
            await becomes_true(lambda: published.names[-1] == ["b"])

    run(test())


def test_file_is_followed_on_after_watching_it_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(file_module, "WATCH_AGAIN_S", 0.05)
    looks = 0

    async def changes(*args: Any) -> AsyncIterator[None]:
        nonlocal looks
        looks += 1
        raise RuntimeError("no idea")
        yield

    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(content("a"))
        monkeypatch.setattr(file_module, "changes", changes)
        async with provider_of(path, watched=False) as (_, published):
            await becomes_true(lambda: published.names == [["a"]])
            path.write_text(content("b"))
            await becomes_true(lambda: published.names[-1] == ["b"])

    run(test())
    assert looks > 1
    assert "watching" in caplog.text
    assert "no idea" in caplog.text


def test_certificates_that_do_not_answer_hold_up_no_configuration_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a dead network mount, where each look at a file blocks until the mount is back."""
    known, back = file_module._signature, threading.Event()

    def look(name: Path) -> tuple[int, ...]:
        if "dead" in name.name:
            back.wait(60)
        return known(name)

    monkeypatch.setattr(file_module, "_signature", look)
    monkeypatch.setattr(file_module, "READ_S", 0.2)
    path = tmp_path / "dynamic.yml"
    dead = "tls:\n  certificates: [{certFile: dead.crt, keyFile: dead.key}]\n"

    async def test() -> None:
        path.write_text(content("a"))
        async with provider_of(path) as (_, published):
            await published.count(1)
            path.write_text(content("b") + dead)
            await becomes_true(lambda: any("do not answer: one of dead.crt, dead.key" in p for p in published.problems))
            path.write_text(content("c"))
            await published.count(2)
            path.write_text(content("d") + dead)
            await becomes_true(lambda: any("do not answer" in p for p in published.problems))
            back.set()
            await published.count(3)
        assert published.names == [["a"], ["c"], ["d"]]

    try:
        run(test())
    finally:
        back.set()


def test_file_change_is_seen_though_another_file_of_its_folder_is_written_all_the_time(tmp_path: Path) -> None:
    async def test() -> None:
        for number, name in enumerate("ab"):
            (tmp_path / str(number)).mkdir()
            (tmp_path / str(number) / "dynamic.yml").write_text(content(name))
        (tmp_path / "current").symlink_to("0")
        async with provider_of(tmp_path / "current" / "dynamic.yml") as (_, published):

            written = 0

            async def write() -> None:
                nonlocal written
                with (tmp_path / "0" / "access.log").open("a") as log:
                    while True:
                        log.write("x\n")
                        log.flush()
                        written += 1
                        await asyncio.sleep(0.05)

            writing = asyncio.create_task(write())
            await becomes_true(lambda: written >= 4)
            (tmp_path / "next").symlink_to("1")
            os.replace(tmp_path / "next", tmp_path / "current")
            await published.count(2)
            assert published.names == [["a"], ["b"]]
            writing.cancel()

    run(test())
