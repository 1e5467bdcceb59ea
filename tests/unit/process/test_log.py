"""The log: one line per event whatever it quotes, both formats, events of workers, a file that was moved away."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.process import log
from lbcore.process.log import ColourFormatter, CommonFormatter, JsonFormatter, OwnEvents, RelayHandler


@pytest.fixture(autouse=True)
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def record(text: str, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "lbcore.x", "levelno": level, "msg": text, "created": 1.5, **fields})


@given(st.text())
def test_formatters_any_text_stays_one_line(text: str) -> None:
    common, lines = CommonFormatter().format(record("%s", args=(text,))), JsonFormatter().format(record(text))
    assert common.isprintable()
    assert len(lines.splitlines()) == 1
    assert json.loads(lines)["message"] == text


@pytest.mark.parametrize(
    ("level", "common", "json_"), [(5, "TRC", "trace"), (10, "DBG", "debug"), (30, "WRN", "warn"), (50, "FTL", "fatal")]
)
def test_formatters_name_the_level(level: int, common: str, json_: str) -> None:
    assert CommonFormatter().format(record("hi", level)) == f"1970-01-01T00:00:01.500Z {common} hi"
    assert json.loads(JsonFormatter().format(record("hi", level, worker=3))) == {
        "level": json_,
        "time": "1970-01-01T00:00:01.500Z",
        "message": "hi",
        "logger": "lbcore.x",
        "worker": 3,
    }


def test_configure_file_moved_away_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "lb.log"
    reopen = log.configure("warn", "common", str(path))
    logging.getLogger("lbcore.a").warning("first")
    logging.getLogger("lbcore.a").info("not at this level")
    path.rename(tmp_path / "old")
    logging.getLogger("lbcore.a").warning("second")
    reopen()
    logging.getLogger("lbcore.a").warning("third")
    assert [line.split()[-1] for line in (tmp_path / "old").read_text().splitlines()] == ["first", "second"]
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["third"]


def test_configure_without_a_file_writes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    reopen = log.configure("INFO", "json")
    reopen()
    logging.getLogger("lbcore.a").info("hello")
    assert json.loads(capfd.readouterr().err)["message"] == "hello"


def test_relay_event_of_a_worker_is_logged_with_its_number(tmp_path: Path) -> None:
    sent: list[dict[str, Any]] = []
    handler = RelayHandler(lambda event: sent.append(json.loads(json.dumps(event))))
    try:
        raise KeyError("a bug of 100%s")
    except KeyError:
        handler.handle(record("it %s broke", logging.ERROR, args=("all",), exc_info=__import__("sys").exc_info()))
    log.configure("INFO", "common", str(tmp_path / "lb.log"))
    log.replay(sent[0], worker=2)
    (line,) = (tmp_path / "lb.log").read_text().splitlines()
    assert re.match(r"1970-01-01T00:00:01.500Z ERR it all broke\\nTraceback .*a bug of 100%s.* worker=2$", line)


def test_relay_event_below_the_level_is_dropped(tmp_path: Path) -> None:
    log.configure("ERROR", "common", str(tmp_path / "lb.log"))
    log.replay({"name": "x", "level": 20, "text": "chatter", "created": 1.0}, worker=0)
    assert (tmp_path / "lb.log").read_text() == ""


@given(st.text())
def test_colours_are_around_the_words_of_a_line_alone(text: str) -> None:
    for level in (5, 10, 20, 30, 40, 50):
        event = record("%s", level, args=(text,))
        coloured, plain = ColourFormatter().format(event), CommonFormatter().format(event)
        assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
        assert coloured.startswith("\x1b[2m") and coloured.count("\x1b[") >= 4


def test_lines_of_libraries_are_left_out_unless_they_are_errors(tmp_path: Path) -> None:
    file = tmp_path / "lb.log"
    log.configure("DEBUG", "common", str(file))
    for name in ("uvicorn.error", "httpx", "kazoo.client", "asyncio"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger(name).log(level, "chatter")
    logging.getLogger("asyncio").error("a task\nwas lost")
    logging.getLogger("lbcore.provider.redis").debug("of lbcore")
    lines = [line.split(" ", 1)[1] for line in file.read_text().splitlines()]
    assert lines == ["ERR library asyncio: a task\\nwas lost", "DBG of lbcore"]
    sent: list[dict[str, Any]] = []
    handler = RelayHandler(sent.append)
    assert handler.filters and isinstance(handler.filters[0], OwnEvents)
    handler.handle(logging.makeLogRecord({"name": "uvloop", "levelno": logging.ERROR, "msg": "broke"}))
    handler.handle(logging.makeLogRecord({"name": "uvloop", "levelno": logging.WARNING, "msg": "chatter"}))
    (event,) = sent
    log.replay(event, worker=1)
    assert file.read_text().endswith("ERR library uvloop: broke worker=1\n"), "named once"
