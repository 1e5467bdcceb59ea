"""`accessLog`: a line for each request. No I/O."""

from typing import Any, ClassVar, Literal

from pydantic import field_validator

from lbcore.config.model import Change, Model
from lbcore.config.numbers import Count
from lbcore.config.static.log import known_format, without_quotes
from lbcore.config.static.otlp import OtlpLog
from lbcore.config.units import LimitDuration, seconds, status_ranges


class AccessLogFilters(Model):
    """A request is logged when one of those that are set holds."""

    status_codes: list[str] = []
    retry_attempts: bool = False
    min_duration: LimitDuration = seconds(0)

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """As in Traefik, they filter nothing if one of them is none."""
        try:
            status_ranges(data.get("statusCodes", []))
        except ValueError as error:
            del data["statusCodes"]
            return [Change("statusCodes", f"left out: {error}")]
        return []

    @field_validator("status_codes")
    @classmethod
    def _statuses(cls, values: list[str]) -> list[str]:
        status_ranges(values)
        return values

    @property
    def ranges(self) -> list[tuple[int, int]]:
        return status_ranges(self.status_codes)


class AccessLogHeaders(Model):
    default_mode: Literal["drop", "keep", "redact"] = "drop"
    names: dict[str, Literal["drop", "keep", "redact"]] = {}


class AccessLogQuery(Model):
    """`drop`: RequestPath without its query."""

    default_mode: Literal["keep", "drop"] = "keep"


class AccessLogFields(Model):
    """Names of fields and headers count without case."""

    default_mode: Literal["keep", "drop"] = "keep"
    names: dict[str, Literal["keep", "drop", "redact"]] = {}
    headers: AccessLogHeaders = AccessLogHeaders()
    query_parameters: AccessLogQuery = AccessLogQuery()

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if str(data.get("defaultMode", "")).lower() != "redact":
            return []
        data["defaultMode"] = "keep"
        return [Change("defaultMode", "redact is taken for keep, as in Traefik", "headers alone are redacted")]


class AccessLog(Model):
    """`filePath` empty: standard output. `bufferingSize` 0: lines are written within a few ms, else within a second.

    otlp          a collector gets the fields of each line, and no line is written unless `dualOutput` is set.
    addInternals  log what lbcore answers itself, too (ping, API, metrics, redirections).
    """

    may_be_empty: ClassVar[bool] = True

    add_internals: bool = False

    file_path: str = ""
    format: Literal["common", "genericCLF", "json"] = "common"
    buffering_size: Count = 0
    filters: AccessLogFilters = AccessLogFilters()
    fields: AccessLogFields = AccessLogFields()
    otlp: OtlpLog | None = None
    dual_output: bool = False

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        return [*without_quotes(data, "format"), *known_format(data, "common", "genericCLF", "json")]

    @property
    def writes_lines(self) -> bool:
        """Whether lines are written."""
        return self.otlp is None or self.dual_output
