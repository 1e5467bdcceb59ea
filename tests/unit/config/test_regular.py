"""A pipe where a file is meant is refused at once: opening it would block what a reload, or the end, waits for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lbcore.acme.dns.base import Environment
from lbcore.acme.dns.rfc2136 import read_key
from lbcore.acme.network import trust_of
from lbcore.config import blocking
from lbcore.config.regular import Content, read_regular
from lbcore.config.static import Acme
from lbcore.config.static.providers import RestProvider as RestSettings
from lbcore.middleware import users
from lbcore.middleware.users import Users
from lbcore.process.ticket_keys import key_source
from lbcore.provider.kubernetes.access import Access
from lbcore.provider.rest import RestProvider
from tests.support.instance import eventually

READERS: dict[str, Callable[[Path], object]] = {
    "a file": read_regular,
    "users": lambda file: Users([], str(file), 2),
    "keys of session tickets": lambda file: key_source(str(file)),
    "the token of an account of Kubernetes": lambda file: Access("http://a", token_file=str(file)).headers(),
    "a variable of a DNS provider": lambda file: Environment({"KEY_FILE": str(file)}).get("KEY"),
    "a key of TSIG": read_key,
    "authorities of a CA": lambda file: trust_of(Acme(ca_certificates=[str(file)]), {}),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.timeout(30)
def test_a_pipe_is_no_file(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((OSError, ValueError), match="it is a pipe, a socket or a device"):
        READERS[reader](tmp_path / "pipe")


@pytest.mark.timeout(30)
def test_a_pipe_for_what_was_put_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    config, (problem,) = RestProvider(RestSettings(storage=str(tmp_path / "pipe")))._stored()
    assert config.is_empty
    assert "it is a pipe, a socket or a device" in problem


def test_what_is_left_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    data, status = read_regular(tmp_path / "file", 2)
    assert (data, status.st_size) == (b"ab", 3)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


@pytest.mark.timeout(60)
def test_a_dead_mount_with_users_holds_up_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a dead mount, a read that does not return before the mount is back."""
    is_back, reads = threading.Event(), []

    def read(path: str, most_bytes: int) -> Content:
        reads.append(path)
        if path == str(dead) and not is_back.wait(60):
            raise AssertionError("nobody has ended the wait")
        return read_regular(path, most_bytes)

    dead, alive = tmp_path / "dead", tmp_path / "alive"
    for file in (dead, alive):
        file.write_text("ann:hash\n")
    monkeypatch.setattr(users, "read_regular", read)
    monkeypatch.setattr(users, "ANSWER_S", 0.2)
    for told in ("it has not answered for 0.2 s", "it does not answer", "it does not answer"):
        with pytest.raises(ValueError, match=told):  # once that it is known, nobody waits, and no other thread hangs
            Users([], str(dead), 2)
    assert reads == [str(dead)]
    monkeypatch.setattr(users, "ANSWER_S", 50)
    assert Users([], str(alive), 2).secrets == {b"ann": b"hash"}
    monkeypatch.setattr(blocking, "MOST_STUCK", 1)
    with pytest.raises(ValueError, match="it does not answer"):
        Users([], str(alive), 2)  # threads that wait are bounded
    is_back.set()
    eventually(lambda: not users._calls.stuck, "it answers again")
    assert Users([], str(dead), 2).secrets == {b"ann": b"hash"}
