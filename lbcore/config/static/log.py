"""`log`: what lbcore says about itself. No I/O."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from lbcore.config.model import Model, keys


class Log(Model):
    """`file_path` empty: standard error."""

    unsupported: ClassVar[frozenset[str]] = keys("maxSize maxAge maxBackups compress noColor otlp")

    level: Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "PANIC"] = "ERROR"
    format: Literal["common", "json"] = "common"
    file_path: str = ""

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value
