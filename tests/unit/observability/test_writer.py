"""The writer of the access log: full disks, files that cannot be opened, pipes without a reader, several writers."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.observability import writer as module
from lbcore.observability.ring import LineReader, LineWriter
from lbcore.observability.writer import LogWriter
from lbcore.state.region import Region
from tests.support.instance import eventually


class Log:
    """A writer with the ring of one worker."""

    def __init__(self, path: Path | str, region: Region | None = None) -> None:
        self.region = region or Region.create(1, 16, 16)
        self.lines = LineWriter(self.region, 0)
        self.said: list[tuple[int, str]] = []
        self.writer = LogWriter(
            str(path), self.region.fd, LineReader(self.region), lambda: self.lines.pending_bytes,
            lambda: self.region.log_lines_lost, 0.005, lambda level, text: self.said.append((level, text)),
        )  # fmt: skip

    def put(self, text: str) -> None:
        self.lines.put(text.encode() + b"\n", time.monotonic_ns())

    def written(self) -> None:
        eventually(lambda: self.lines.pending_bytes == 0, "all is written, or lost")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A disk with `room` bytes, for what is written by the thread of the access log."""
    state = {"room": 1 << 40}
    write = os.write

    def limited(fd: int, data: bytes) -> int:
        if threading.current_thread().name != "lbcore access log":
            return write(fd, data)
        if state["room"] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = write(fd, data[: state["room"]])
        state["room"] -= count
        return count

    monkeypatch.setattr(module.os, "write", limited)
    yield state


def test_a_full_disk_is_said_once_and_counted_and_the_next_line_is_whole(tmp_path: Path, disk: dict[str, int]) -> None:
    path = tmp_path / "log"
    log = Log(path)
    log.put("first")
    log.written()
    disk["room"] = 4  # a part of the next line
    for number in range(20):
        log.put(f"lost {number}")
        log.written()
    assert log.region.log_lines_lost == 20
    disk["room"] = 1 << 40
    log.put("whole")
    log.written()
    log.writer.close()
    assert path.read_text() == "first\nlost\nwhole\n"
    assert log.said[0] == (logging.ERROR, f"access log {path}: 1 line lost: No space left on device")
    assert log.said[1:] == [(logging.ERROR, f"access log {path}: 19 lines lost: No space left on device")]  # at the end


def test_a_file_whose_last_line_has_no_end_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("torn by a crash")
    log = Log(path)
    log.put("whole")
    log.writer.close()
    assert path.read_text() == "torn by a crash\nwhole\n"


def test_a_file_that_cannot_be_opened_anew_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    folder = tmp_path / "logs"
    folder.mkdir()
    log = Log(folder / "log")
    log.put("one")
    log.written()
    folder.rename(tmp_path / "moved")
    folder.write_text("no folder")
    log.writer.reopen()
    eventually(lambda: log.said, "the problem is said")
    log.put("two")
    log.written()
    folder.unlink()
    eventually(lambda: len(log.said) == 2, "it is open again")
    log.put("three")
    log.written()
    log.writer.close()
    assert (tmp_path / "moved" / "log").read_text() == "one\ntwo\n"
    assert (folder / "log").read_text() == "three\n"
    assert [level for level, _ in log.said] == [logging.ERROR, logging.WARNING]
    assert "cannot be opened: Not a directory" in log.said[0][1]
    assert log.region.log_lines_lost == 0


def test_lines_before_a_rotation_are_in_the_old_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = Log(path)
    for number in range(100):
        log.put(str(number))
    path.rename(old)
    log.writer.reopen()
    eventually(path.exists, "it is opened anew")
    log.put("new")
    log.writer.close()
    assert old.read_text().split() == [str(number) for number in range(100)]
    assert path.read_text() == "new\n"


def test_a_pipe_without_a_reader_blocks_nothing_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    log = Log(path)
    for _ in range(3):
        log.put("p" * 8_000_000)
    assert log.region.log_lines_lost >= 1
    eventually(lambda: log.said, "it is said")
    assert "not read fast enough" in log.said[0][1]
    begun = time.monotonic()
    log.writer.close()
    assert time.monotonic() - begun < 10


def test_a_file_that_cannot_be_opened_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "log", tmp_path):
        with pytest.raises(OSError, match=r"Not a directory|Is a directory"):
            Log(path)


PROCESS = """
import sys, time
from lbcore.observability.ring import LineReader, LineWriter
from lbcore.observability.writer import LogWriter
from lbcore.state.region import Region
region, worker = Region.attach(int(sys.argv[1])), int(sys.argv[2])
lines = LineWriter(region, worker)
writer = LogWriter(sys.argv[3], region.fd, LineReader(region), lambda: lines.pending_bytes,
                   lambda: region.log_lines_lost, 0.02, print)
print("ready", flush=True)
for command in sys.stdin:
    lines.put(command.encode(), time.monotonic_ns())
    print("put", flush=True)
writer.close()
"""


def test_workers_take_turns_and_the_lines_of_all_are_in_order(tmp_path: Path) -> None:
    region = Region.create(2, 16, 16)
    path = tmp_path / "log"

    def start(worker: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(region.fd), str(worker), str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[region.fd],
        )  # fmt: skip
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    def tell(process: subprocess.Popen[str], number: int) -> None:
        assert process.stdin and process.stdout
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "put\n"

    processes = [start(0), start(1)]
    for number in range(200):
        tell(processes[number % 2], number)
    processes[0].kill()  # whichever of the two writes: the other one goes on
    processes[0].wait()
    for number in range(200, 300):
        tell(processes[1], number)
    processes[0] = start(0)
    processes[1].kill()
    processes[1].wait()
    for number in range(300, 400):
        tell(processes[0], number)
    assert processes[0].stdin
    processes[0].stdin.close()
    assert processes[0].wait(20) == 0
    numbers = [int(line) for line in path.read_text().split()]
    # Of a worker that is killed between writing and saying so, the lines are written once more.
    assert list(dict.fromkeys(numbers)) == list(range(400))
