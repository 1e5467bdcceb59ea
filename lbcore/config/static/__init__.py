"""The static configuration: what is fixed while the process runs. Keys, defaults and meaning are Traefik's. No I/O."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator
from pydantic.alias_generators import to_snake

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.model import Model, keys
from lbcore.config.static.access_log import (
    AccessLog,
    AccessLogFields,
    AccessLogFilters,
    AccessLogHeaders,
    AccessLogQuery,
)
from lbcore.config.static.api import Api, Explain, Ping
from lbcore.config.static.entry_points import (
    MAX_PRIORITY,
    EncodedCharacters,
    EntryPoint,
    EntryPointHttp,
    EntryPointObservability,
    EntryPointProxyProtocol,
    EntryPointTransport,
    ForwardedHeaders,
    LifeCycle,
    RedirectEntryPoint,
    Redirections,
    RespondingTimeouts,
)
from lbcore.config.static.log import Log
from lbcore.config.static.metrics import Metrics, Prometheus
from lbcore.config.static.providers import FileProvider, Providers
from lbcore.config.static.servers_transport import StaticServersTransport

__all__ = [
    "DEFAULT_ENTRY_POINT",
    "INTERNAL_ENTRY_POINT",
    "MAX_PRIORITY",
    "AccessLog",
    "AccessLogFields",
    "AccessLogFilters",
    "AccessLogHeaders",
    "AccessLogQuery",
    "Api",
    "EncodedCharacters",
    "EntryPoint",
    "EntryPointHttp",
    "EntryPointObservability",
    "EntryPointProxyProtocol",
    "EntryPointTransport",
    "Explain",
    "FileProvider",
    "ForwardedHeaders",
    "ForwardingTimeouts",
    "Global",
    "LifeCycle",
    "Log",
    "Metrics",
    "Ping",
    "Prometheus",
    "Providers",
    "RedirectEntryPoint",
    "Redirections",
    "RespondingTimeouts",
    "StaticConfig",
    "StaticServersTransport",
]

DEFAULT_ENTRY_POINT = {"http": {"address": ":80"}}
INTERNAL_ENTRY_POINT = {"traefik": {"address": ":8080"}}


class Global(Model):
    """Accepted for Traefik's sake: lbcore asks for no updates and sends no statistics, whatever stands here."""

    check_new_version: bool = True
    send_anonymous_usage: bool = False


class StaticConfig(Model):
    unsupported: ClassVar[frozenset[str]] = keys(
        "tracing certificatesResolvers tcpServersTransport hostResolver experimental core spiffe ocsp"
    )

    entry_points: dict[str, EntryPoint] = {}
    providers: Providers = Providers()
    servers_transport: StaticServersTransport = StaticServersTransport()
    log: Log = Log()
    ping: Ping | None = None
    api: Api | None = None
    explain: Explain | None = None
    metrics: Metrics | None = None
    access_log: AccessLog | None = None
    global_: Global = Field(default=Global(), alias="global")

    @model_validator(mode="before")
    @classmethod
    def _entry_points(cls, data: Any) -> Any:
        """Traefik's own entry points: `http` on :80 when there is none, `traefik` on :8080 when something needs it."""
        if not isinstance(data, dict):
            return data
        points = data.get("entryPoints", data.get("entry_points")) or DEFAULT_ENTRY_POINT
        if isinstance(points, dict) and "traefik" not in points and _needs_internal(data):
            points = {**points, **INTERNAL_ENTRY_POINT}
        rest = {key: value for key, value in data.items() if key not in ("entryPoints", "entry_points")}
        return {**rest, "entryPoints": points}


def _needs_internal(data: dict[str, Any]) -> bool:
    """Whether something is to be had on the entry point `traefik`."""
    parts = [data.get("ping"), _value(data.get("metrics"), "prometheus")]
    wanted = [
        _value(part, "entryPoint", "traefik")
        for part in parts
        if part is not None and not _is_set(part, "manualRouting")
    ]
    return "traefik" in wanted or _is_set(data.get("api"), "insecure")


def _is_set(part: Any, key: str) -> bool:
    """Whether a switch is on; it has not been read yet, so it may be text."""
    return str(_value(part, key, False)).lower() in ("true", "1")


def _value(part: Any, key: str, default: Any = None) -> Any:
    """A key of a mapping, or the attribute it stands for."""
    if isinstance(part, dict):
        return part.get(key, default)
    return getattr(part, to_snake(key), default)
