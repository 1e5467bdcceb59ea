"""The file of the log: full disks, readers that stop, rotation to where no file can be; and standard descriptors."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.process.log import CommonFormatter
from lbcore.process.log_file import LogFile


def event(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "lbcore.x", "levelno": logging.INFO, "msg": text, "created": 1.5})


def opened(path: str) -> LogFile:
    log = LogFile(path)
    log.setFormatter(CommonFormatter())
    return log


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Ends of a pipe that holds one page."""
    import fcntl

    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_a_full_disk_costs_lines_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    log = opened("/dev/full")
    for _ in range(3):
        log.handle(event("a"))
    assert log.lost == 3
    assert capfd.readouterr().err == "lbcore: the log /dev/full takes no lines (1 lost): No space left on device\n"
    log.close()


def test_lost_lines_are_reported_before_the_next_line(tmp_path: Path) -> None:
    log = opened(str(tmp_path / "log"))
    log._use(os.open("/dev/full", os.O_WRONLY))
    log.handle(event("one"))
    log.handle(event("two"))
    os.close(log._fd)
    log._use(os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND))
    log.handle(event("three"))
    log.handle(event("four"))
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "ERR 2 lines of the log lost: No space left on device", "INF three", "INF four",
    ]  # fmt: skip
    assert log.lost == 2
    log.close()


def test_a_line_that_was_cut_off_stays_a_line_of_its_own(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = opened("")
    log._use(writer)
    log.handle(event("x" * 6000))
    assert log.lost == 1
    assert os.read(reader, 8192).endswith(b"xx")
    log.handle(event("next"))
    cut, told, following, rest = os.read(reader, 8192).split(b"\n")
    assert (cut, rest) == (b"", b"")
    assert told.endswith(b"1 line of the log lost: no process reads it")
    assert following.endswith(b"INF next")


def test_a_reader_that_has_stopped_is_waited_for_once(pipe: tuple[int, int]) -> None:
    log = opened("")
    log._use(pipe[1])
    began = time.monotonic()
    for _ in range(200):
        log.handle(event("y" * 100))
    assert time.monotonic() - began < 10  # each line would take 0.2 s
    assert log.lost > 100


def test_a_log_whose_folder_went_away_is_opened_anew(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    log = opened(str(folder / "log"))
    folder.rename(tmp_path / "old")
    log.reopen()
    log.handle(event("one"))
    assert (folder / "log").read_text().endswith("INF one\n")
    log.close()


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = opened(str(file))
    file.rename(tmp_path / "old")
    file.mkdir()
    log.reopen()
    for text in ("one", "two"):
        log.handle(event(text))
    said = [line.split(" ", 1)[1] for line in (tmp_path / "old").read_text().splitlines()]
    failed = f"ERR the log {file} cannot be opened anew: Is a directory; it is tried again"
    assert said == [failed, "INF one", "INF two"]
    file.rmdir()
    log._retry_at = 0.1
    log.handle(event("three"))
    assert file.read_text().endswith("INF three\n")
    log.close()


def test_a_pipe_without_a_reader_can_be_the_log(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    log = opened(str(tmp_path / "pipe"))
    log.handle(event("one"))
    with open(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)) as reader:
        assert reader.readline().endswith("INF one\n")
    log.close()


@pytest.mark.parametrize("closed", ["0", "1", "2", "012"])
def test_standard_descriptors_that_were_closed_lead_nowhere(tmp_path: Path, closed: str) -> None:
    script = (
        "import os, socket, sys\n"
        "from lbcore.process.standard import fill\n"
        "fill()\n"
        "found = [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)]\n"
        "print('x', file=sys.stdout); print('x', file=sys.stderr); sys.stdin.read()\n"
        f"open({str(tmp_path / 'found')!r}, 'w').write(' '.join(found))\n"
        "assert socket.socket().fileno() > 2\n"
    )
    closing = " ".join(f"{fd}{'<' if fd == '0' else '>'}&-" for fd in closed)
    command = ["bash", "-c", f'exec "$0" -c "$1" {closing}', sys.executable, script]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "found").read_text().split(" ")
    assert [found[int(fd)] for fd in closed] == ["/dev/null"] * len(closed)
