"""Layer 4 over several worker processes: limits hold for all together, and a worker that dies leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance, eventually, running
from tests.support.wire import deaf
from tests.wire.test_tcp import echoes, limited, tcp

AMOUNT = 5


@pytest.fixture
def limit_of_five(tmp_path: Path) -> Iterator[Instance]:
    with echoes("a") as (a,), running(tmp_path, limited(AMOUNT, a), workers=3) as lb:
        lb.runs(1)
        yield lb


def connect(lb: Instance, source: str = "127.0.0.1") -> socket.socket | None:
    """A connection that the server has greeted; None when it was closed."""
    sock = socket.create_connection(("127.0.0.1", lb.port), timeout=10, source_address=(source, 0))
    with contextlib.suppress(ConnectionError):
        if sock.recv(10) == b"a\n":
            return sock
    sock.close()
    return None


def fill(lb: Instance) -> list[socket.socket]:
    return [sock for sock in (connect(lb) for _ in range(40)) if sock is not None]


def test_a_limit_holds_for_all_workers_together(limit_of_five: Instance) -> None:
    lb = limit_of_five
    opened = fill(lb)
    assert len(opened) == AMOUNT
    other = connect(lb, "127.0.0.2")
    assert other is not None, "another client has its own"
    other.close()
    opened.pop().close()
    again = eventually(lambda: connect(lb), "one that closed made room")
    assert connect(lb) is None
    for sock in (*opened, again):
        sock.close()


def test_connections_of_a_worker_that_dies_are_not_counted_any_more(limit_of_five: Instance) -> None:
    lb = limit_of_five
    for round_ in range(1, 4):
        opened = eventually(lambda: found if len(found := fill(lb)) == AMOUNT else None, "there is room for five")
        for pid in lb.workers:
            os.kill(pid, signal.SIGKILL)
        lb.logged(r"ended: signal 9", times=3 * round_)
        lb.logged(r"3 workers run configuration 1", times=round_ + 1)
        for sock in opened:
            sock.close()


def test_every_address_of_a_name_is_tried(tmp_path: Path) -> None:
    """As with localhost where the server listens on one family alone; and one says nothing.

    The instance has a hosts file of its own.
    """
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 both.test\n127.0.0.3 both.test\n127.0.0.1 both.test\n")
    script = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
    with echoes("a") as (a,), deaf("127.0.0.3", a.port):
        config = tcp([f"both.test:{a.port}"], serversTransport="quick")
        config["tcp"]["serversTransports"] = {"quick": {"dialTimeout": "600ms"}}
        with running(tmp_path, config, prefix=prefix) as lb:
            lb.runs(1)
            for _ in range(4):
                sock = connect(lb)
                assert sock is not None
                sock.close()
