"""The log: one line per event, in Traefik's common or JSON format; workers send their events to the supervisor."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from lbcore.config.static import Log
from lbcore.config.static.log import LEVELS
from lbcore.process.colour import BLUE, BOLD, CYAN, DIM, GREEN, RED, RESET, YELLOW
from lbcore.process.log_file import LogFile

_SHORT = {5: "TRC", logging.DEBUG: "DBG", logging.INFO: "INF", logging.WARNING: "WRN", logging.ERROR: "ERR"}
_COLOURS = {5: CYAN, logging.DEBUG: BLUE, logging.INFO: GREEN, logging.WARNING: YELLOW, logging.ERROR: RED}
_LONG = {5: "trace", logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}


def level_of(settings: Log, is_terminal: bool) -> str:
    """The level in force: as configured, else INFO on a terminal and ERROR elsewhere, as in Traefik."""
    if "level" in settings.model_fields_set or settings.file_path or not is_terminal:
        return settings.level
    return "INFO"


def name_of(level: int) -> str:
    """The name of a level, as `log.level` has it; that of the next lower one for a number between two of them."""
    names = {number: name for name, number in reversed(LEVELS.items()) if name != "WARNING"}
    return names[max((number for number in names if number <= level), default=min(names))]


class CommonFormatter(logging.Formatter):
    """`2026-11-24T09:00:00.000Z INF worker 1 is ready worker=1`, line breaks escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = f"{_timestamp(record)} {_SHORT.get(record.levelno, 'FTL')} {_text(self, record)}"
        worker = getattr(record, "worker", None)
        if worker is not None:
            line += f" worker={worker}"
        return _escape(line)


class ColourFormatter(CommonFormatter):
    """The common format for a terminal: the time is dim, the level has its colour, and errors are bold."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        time_text, _, rest = super().format(record).partition(" ")
        level, _, text = rest.partition(" ")
        colour = _COLOURS.get(record.levelno, RED + BOLD)
        text = f"{BOLD}{text}{RESET}" if record.levelno >= logging.ERROR else text
        return f"{DIM}{time_text}{RESET} {colour}{level}{RESET} {text}"


class OwnEvents(logging.Filter):
    """Lets lbcore's own events through, and of libraries only errors, which say whose they are."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        return record.name.partition(".")[0] == "lbcore" or record.levelno >= logging.ERROR


class JsonFormatter(logging.Formatter):
    """One JSON object per line: level, time, message, logger; worker for a worker's event."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields: dict[str, Any] = {
            "level": _LONG.get(record.levelno, "fatal"),
            "time": _timestamp(record),
            "message": _text(self, record),
            "logger": record.name,
        }
        worker = getattr(record, "worker", None)
        if worker is not None:
            fields["worker"] = worker
        text = json.dumps(fields, ensure_ascii=False)
        return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _timestamp(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.created % 1 * 1000):03d}Z"


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.name.partition(".")[0] != "lbcore":
        text = f"library {record.name}: {text}"
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return text


def _escape(text: str) -> str:
    """Escape line breaks, so that an event that quotes a request or a file cannot forge another line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def configure(level: str, format: str, file_path: str = "", is_coloured: bool = False) -> Callable[[], None]:
    """Write the log of this process to standard error, or append it to `file_path`, whose folder is created.

    is_coloured  lines of the common format on standard error have colours.

    Returns a function that reopens the file, after it was moved aside. Raises OSError when the file cannot be opened.
    """
    handler = LogFile(file_path)
    common = ColourFormatter() if is_coloured and not file_path else CommonFormatter()
    handler.setFormatter(JsonFormatter() if format == "json" else common)
    handler.addFilter(OwnEvents())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(LEVELS[level.upper()])
    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # it reports every event of a watched directory
    return handler.reopen


class RelayHandler(logging.Handler):
    """Sends the events of a worker to the supervisor, which writes the log."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send
        self.addFilter(OwnEvents())

    def emit(self, record: logging.LogRecord) -> None:
        """Send one event."""
        text = _text(logging.Formatter(), record)  # says whose it is, if it is not lbcore's
        self._send(
            {"type": "log", "level": record.levelno, "name": record.name, "text": text, "created": record.created}
        )


def replay(message: dict[str, Any], worker: int) -> None:
    """Log the event that a worker's RelayHandler has sent."""
    name = str(message["name"])
    name = name if name.partition(".")[0] == "lbcore" else "lbcore.library"
    fields = {
        "name": name,
        "levelno": int(message["level"]),
        "levelname": logging.getLevelName(int(message["level"])),
        "msg": "%s",
        "args": (message["text"],),
        "created": float(message["created"]),
        "worker": worker,
    }
    logger = logging.getLogger(name)
    if logger.isEnabledFor(int(message["level"])):
        logger.handle(logging.makeLogRecord(fields))
