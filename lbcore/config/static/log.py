"""`log`: the log of lbcore's own events. No I/O."""

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from lbcore.config.model import Change, Model, keys
from lbcore.config.static.otlp import OtlpLog

# The levels by name, as Python's logging numbers them; `NAMES`: those that a configuration may have.
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50, "PANIC": 50}
NAMES = tuple(name for name in LEVELS if name != "WARNING")


def without_quotes(data: dict[str, Any], *keys: str) -> list[Change]:
    """Take quotes for those of a shell: in a list of flags of compose they are a part of the value."""
    changes = []
    for key in keys:
        value = data.get(key)
        if isinstance(value, str) and len(value) > 2 and value[0] == value[-1] and value[0] in "'\"":
            data[key] = value[1:-1]
            changes.append(Change(key, f"{value} is taken for {data[key]}", "Traefik takes it for the default"))
    return changes


def known_format(data: dict[str, Any], usual: str, *others: str) -> list[Change]:
    """Put the usual format in place of one that does not exist, as Traefik does: a log in it keeps nobody out."""
    value = data.get("format")
    if not isinstance(value, str) or value.lower() in ("", usual.lower(), *(other.lower() for other in others)):
        return []
    data["format"] = usual
    return [Change("format", f"{value!r} is taken for {usual}", f"write one of {', '.join((usual, *others))}")]


class Log(Model):
    """`file_path` empty: standard error. `no_color`: no colours there, even if it is a terminal. `otlp`: a collector
    gets the events, too."""

    ignored = {
        **keys("maxSize maxAge maxBackups compress", "let logrotate rotate the file, and send SIGUSR1"),
    }
    may_be_empty: ClassVar[bool] = True

    level: Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"] = "ERROR"
    format: Literal["common", "json"] = "common"
    file_path: str = ""
    no_color: bool = False
    otlp: OtlpLog | None = None

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        changes = [*without_quotes(data, "level", "format"), *known_format(data, "common", "json")]
        if str(data.get("level", "")).upper() == "WARNING":
            data["level"] = "WARN"
            changes.append(Change("level", "WARNING is taken for WARN", "Traefik takes it for ERROR"))
        if data.get("level") == "":
            del data["level"]
        return changes
