"""Session tickets that one instance issues and another one takes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore.process import ticket_keys
from lbcore.process.ticket_keys import EPOCH_S, KEY_BYTES, keep_ticket_keys, key_source, keys_of
from lbcore.state.region import Region
from lbcore.tls.tickets import TicketKeys
from tests.integration.test_redis import Server
from tests.integration.test_tls import asked, connected, context, secured
from tests.support.certificates import Files, certificate
from tests.support.command import run_command
from tests.support.instance import Backend, Instance, becomes_true, eventually, running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificate(tmp_path_factory.mktemp("certificates"), "a", "a.test")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("redis"))
    yield found
    found.stop()


@contextlib.contextmanager
def two(folder: Path, files: Files, backend: Backend, source: str) -> Iterator[list[Instance]]:
    static: dict[str, Any] = {"lbcore": {"tls": {"ticketKeys": source}}} if source else {}
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(2):
            (folder / str(number)).mkdir()
            found.append(
                stack.enter_context(
                    running(folder / str(number), secured(files, backend), static=static, workers=1)
                )
            )
        for instance in found:
            instance.runs(1)
        yield found


def is_resumed(first: Instance, second: Instance, version: ssl.TLSVersion) -> bool:
    """Whether the second instance resumes a session of the first one."""
    trust = context()
    trust.maximum_version = version
    with connected(first.port, trust) as sock:
        assert asked(sock) == b"200"
        session = sock.session
    with connected(second.port, trust, session=session) as sock:
        assert asked(sock) == b"200"
        return bool(sock.session_reused)


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def test_keys_from_a_secret(files: Files, backend: Backend, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("5" * 64)
    secret.chmod(0o600)
    with two(tmp_path, files, backend, str(secret)) as (first, second):
        eventually(lambda: is_resumed(first, second, VERSIONS[1]), "the keys are known")
        assert all(is_resumed(*pair, version) for pair in ((first, second), (second, first)) for version in VERSIONS)
        assert "5" * 64 not in first.log
        # An instance that does not share them knows none of these sessions.
        (tmp_path / "2").mkdir()
        with running(tmp_path / "2", secured(files, backend), workers=1) as third:
            third.runs(1)
            assert is_resumed(third, third, VERSIONS[1])
            assert not is_resumed(first, third, VERSIONS[1])


def test_keys_in_a_redis(server: Server, files: Files, backend: Backend, tmp_path: Path) -> None:
    with two(tmp_path, files, backend, f"redis://127.0.0.1:{server.port}/0#edge") as (first, second):
        eventually(lambda: is_resumed(first, second, VERSIONS[1]), "the keys are known")
        assert all(is_resumed(*pair, version) for pair in ((first, second), (second, first)) for version in VERSIONS)
    names = sorted(name.decode() for name in server.client.keys("lbcore/tickets/edge/*"))
    assert len(names) == 3
    assert all(EPOCH_S < server.client.ttl(name) <= 4 * EPOCH_S for name in names)


def test_keys_change_with_the_clock_and_two_older_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(32)))
    secret.chmod(0o600)
    source = str(secret)
    five, six = keys_of(source, 5), keys_of(source, 6)
    assert five[1:] == six[:2]
    assert {len(key) for key in five} == {KEY_BYTES}
    assert len({*five, *six}) == 4
    with pytest.raises(ValueError):
        TicketKeys(Region.create(1)).use(1, [b"short"])

    used: list[tuple[int, list[bytes]]] = []

    class Noted:
        def __init__(self, region: Region) -> None:
            pass

        def use(self, epoch: int, keys: list[bytes]) -> None:
            used.append((epoch, keys))

    async def run() -> None:
        monkeypatch.setattr(ticket_keys, "LOOK_S", 0.01)
        monkeypatch.setattr(ticket_keys, "AGAIN_S", 0.01)
        monkeypatch.setattr(ticket_keys, "TicketKeys", Noted)
        now = 5 * EPOCH_S
        monkeypatch.setattr(time, "time", lambda: now)
        task = asyncio.create_task(keep_ticket_keys(Region.create(1), source))
        await becomes_true(lambda: used == [(5, five)])
        now += EPOCH_S
        await becomes_true(lambda: used[1:] == [(6, six)])
        secret.unlink()  # what is there stays
        now += EPOCH_S
        await becomes_true(lambda: "are not known, the present ones stay: " in caplog.text)
        secret.write_bytes(bytes(range(32)))
        secret.chmod(0o600)
        await becomes_true(lambda: [epoch for epoch, _ in used] == [5, 6, 7])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


SHORT_S = 1  # that a key encrypts in the test below


@pytest.mark.parametrize("is_shared", [False, True], ids=["own keys", "keys of a secret"])
def test_sessions_outlive_the_change_of_keys_at_all_workers(
    files: Files, backend: Backend, tmp_path: Path, is_shared: bool
) -> None:
    """Whoever comes back in time is resumed by any worker, while the keys change; whoever comes late is not."""
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "sitecustomize.py").write_text(
        f"from lbcore.process import ticket_keys\nticket_keys.EPOCH_S = {SHORT_S}.0\nticket_keys.LOOK_S = 0.02\n"
    )
    secret = tmp_path / "secret"
    secret.write_text("7" * 64)
    secret.chmod(0o600)
    static: dict[str, Any] = {"lbcore": {"tls": {"ticketKeys": str(secret)}}} if is_shared else {}
    environ = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "quick"), *filter(None, sys.path)])}
    with running(tmp_path, secured(files, backend), static=static, workers=3, environ=environ) as lb:
        lb.runs(1)
        for version in VERSIONS:
            trust = context()
            trust.maximum_version = version

            def visit(session: ssl.SSLSession | None, trust: ssl.SSLContext = trust) -> tuple[bool, ssl.SSLSession]:
                with connected(lb.port, trust, session=session) as sock:
                    assert asked(sock) == b"200"
                    assert sock.session is not None
                    return bool(sock.session_reused), sock.session

            first = latest = visit(None)[1]
            came, late = time.monotonic(), 0
            give_up = came + 60
            while late < 10:
                began = time.monotonic()
                assert began < give_up, "the keys do not change"
                is_resumed, latest = visit(latest)
                assert is_resumed or time.monotonic() - came > 1.5 * SHORT_S  # this machine was too slow
                came = began
                late = 0 if visit(first)[0] else late + 1  # until ten handshakes in a row, at any worker, did not


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    short, open_ = tmp_path / "short", tmp_path / "open"
    short.write_text("secret")
    open_.write_text("5" * 64)
    open_.chmod(0o644)
    for source, reason in (
        (str(tmp_path / "nowhere"), "cannot be read: no such file"),
        (str(short), "fewer than 32 bytes"),
        (str(open_), "all users of the system may read"),
        ("redis://127.0.0.1:port", "the URL cannot be used"),
    ):
        with pytest.raises(ValueError, match=reason):
            key_source(source)
    (tmp_path / "static.yml").write_text(f"lbcore: {{tls: {{ticketKeys: {short}}}}}")
    done = run_command("check", str(tmp_path / "static.yml"))
    assert done.returncode == 1
    assert "tls.ticketKeys: " in done.stderr
