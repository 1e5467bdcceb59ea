"""The static configuration: what is fixed while the process runs. Keys, defaults and meaning are Traefik's. No I/O."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator
from pydantic.alias_generators import to_snake
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.forwarding import ForwardingTimeouts
from lbcore.config.lines import Lines
from lbcore.config.model import WHEN_SET, Change, Model, keys
from lbcore.config.numbers import Size
from lbcore.config.plugins import LocalPlugin, MissingPlugin, PluginSource
from lbcore.config.routers import RuleSyntax
from lbcore.config.static.access_log import (
    AccessLog,
    AccessLogFields,
    AccessLogFilters,
    AccessLogHeaders,
    AccessLogQuery,
)
from lbcore.config.static.api import Api, Explain, Ping
from lbcore.config.static.certificates_resolvers import Acme, CertificatesResolver, DnsChallenge
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
from lbcore.config.static.fleet import Fleet, FleetPeers, FleetRedis
from lbcore.config.static.log import Log
from lbcore.config.static.metrics import Datadog, InfluxDB2, Labels, Metrics, OtlpMetrics, Prometheus, Pushed, StatsD
from lbcore.config.static.ocsp import Ocsp
from lbcore.config.static.otlp import Otlp, OtlpGrpc, OtlpHttp, OtlpLog, wrong_endpoint
from lbcore.config.static.providers import FileProvider, Providers
from lbcore.config.static.python import PythonCode
from lbcore.config.static.servers_transport import StaticServersTransport, StaticTcpServersTransport
from lbcore.config.static.spiffe import WorkloadApi
from lbcore.config.static.tracing import Tracing
from lbcore.config.tls import StaticTls
from lbcore.errors import Problem

__all__ = [
    "DEFAULT_ENTRY_POINT",
    "INTERNAL_ADDRESS",
    "MAX_PRIORITY",
    "AccessLog",
    "AccessLogFields",
    "AccessLogFilters",
    "AccessLogHeaders",
    "AccessLogQuery",
    "Acme",
    "Api",
    "CertificatesResolver",
    "Datadog",
    "DnsChallenge",
    "EncodedCharacters",
    "EntryPoint",
    "EntryPointHttp",
    "EntryPointObservability",
    "EntryPointProxyProtocol",
    "EntryPointTransport",
    "Explain",
    "FileProvider",
    "Fleet",
    "FleetPeers",
    "FleetRedis",
    "ForwardedHeaders",
    "ForwardingTimeouts",
    "Global",
    "InfluxDB2",
    "Labels",
    "LifeCycle",
    "Log",
    "Metrics",
    "Ocsp",
    "Otlp",
    "OtlpGrpc",
    "OtlpHttp",
    "OtlpLog",
    "OtlpMetrics",
    "Ping",
    "Prometheus",
    "Providers",
    "Pushed",
    "PythonCode",
    "RedirectEntryPoint",
    "Redirections",
    "RespondingTimeouts",
    "StaticConfig",
    "StaticServersTransport",
    "StaticTcpServersTransport",
    "StatsD",
    "Tracing",
    "WorkloadApi",
]

DEFAULT_ENTRY_POINT = {"http": {"address": ":80"}}
INTERNAL_ADDRESS = ":8080"  # of the entry point `traefik`, unless it has another one


class Global(Model):
    """Accepted for compatibility with Traefik: lbcore checks for no updates and sends no statistics in any case."""

    check_new_version: bool = True
    send_anonymous_usage: bool = False


class Experimental(Model):
    """Nothing of it has an effect."""

    ignored = {
        **keys("http3", "an option of entry points since Traefik 3"),
        **keys("fastProxy", "lbcore is one"),
        **keys("abortOnPluginFailure", "there are no plugins"),
        **keys("kubernetesGateway knative", "it does not concern lbcore"),
    }

    plugins: dict[str, PluginSource] = {}
    local_plugins: dict[str, LocalPlugin] = {}
    otlp_logs: bool = False  # Traefik wants it for logs that go to a collector


class Core(Model):
    """`defaultRuleSyntax`: the language of rules whose router does not say it."""

    default_rule_syntax: RuleSyntax = ""


# The entry points of the configuration that was asked last, and those of TCP among them: asked for with each router.
_streams: tuple[dict[str, EntryPoint], dict[str, EntryPoint]] = ({}, {})


class StaticConfig(Model):
    """The contents of the static file.

    closed           entry points that cannot run, for features that are missing.
    bodyMemoryBytes  (extension) limit of request bodies that are kept for fallbacks and mirrors, in all workers;
                     bodies beyond it are not kept. Default: 1/32 of the memory, 16 to 256 MiB.
    fleet            (extension) what instances that serve the same share.
    plugins          (extension) what becomes of middlewares that use a plugin of Traefik, by its name.
    """

    missing = {
        **keys("hostResolver", "name all hosts in the rule"),
    }
    ignored = {
        **keys("pilot", "gone since Traefik 3: leave it out"),
    }
    may_be_empty: ClassVar[bool] = True
    extensions: ClassVar[frozenset[str]] = frozenset({"plugins", "tls"})
    _lines: Lines = PrivateAttr(default_factory=Lines)

    entry_points: dict[str, EntryPoint] = {}
    closed: SkipJsonSchema[dict[str, EntryPoint]] = {}
    providers: Providers = Providers()
    certificates_resolvers: dict[str, CertificatesResolver] = {}
    servers_transport: StaticServersTransport = StaticServersTransport()
    tcp_servers_transport: StaticTcpServersTransport = StaticTcpServersTransport()
    log: Log = Log()
    ping: Ping | None = None
    api: Api | None = None
    explain: Explain | None = None
    metrics: Metrics | None = None
    tracing: Tracing | None = None
    access_log: AccessLog | None = None
    experimental: Experimental = Experimental()
    core: Core = Core()
    body_memory_bytes: Size | None = None
    ocsp: Ocsp | None = None
    plugins: dict[str, MissingPlugin] = {}
    spiffe: WorkloadApi | None = None
    tls: StaticTls = StaticTls()
    fleet: Annotated[Fleet | None, WHEN_SET] = None
    python: Annotated[PythonCode, WHEN_SET] = PythonCode()
    global_: Global = Field(default=Global(), alias="global")

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """As in Traefik, nothing is sent to a collector whose address is none, and all else runs."""
        changes = []
        tracing, metrics = data.get("tracing"), data.get("metrics")
        if isinstance(tracing, dict) and (text := wrong_endpoint(tracing.get("otlp"))):
            del data["tracing"]
            changes.append(Change("tracing", f"left out: {text}"))
        if isinstance(metrics, dict) and (text := wrong_endpoint(metrics.get("otlp"))):
            del metrics["otlp"]
            changes.append(Change("metrics.otlp", f"left out: {text}"))
        return changes

    def with_lines(self, lines: Lines) -> Self:
        """The same, with where its parts are written."""
        self._lines = lines
        return self

    def located(self, problem: Problem) -> Problem:
        """A problem of it, with the file and line of its path, if it was read from a file."""
        return self._lines.located(problem)

    def bypasses(self, plugin: str) -> bool:
        """Whether requests pass where a middleware uses this plugin."""
        return plugin in self.plugins and self.plugins[plugin].on_missing == "bypass"

    @property
    def has_telemetry(self) -> bool:
        """Whether anything is sent to collectors."""
        logs = self.log.otlp is not None or (self.access_log is not None and self.access_log.otlp is not None)
        return logs or self.tracing is not None or bool(self.metrics is not None and self.metrics.pushed)

    @property
    def stream_points(self) -> dict[str, EntryPoint]:
        """The entry points of TCP, and of Unix sockets."""
        global _streams
        points, found = _streams
        if points is not self.entry_points:
            found = {name: point for name, point in self.entry_points.items() if not point.is_udp}
            _streams = self.entry_points, found
        return found

    @property
    def udp_points(self) -> dict[str, EntryPoint]:
        """The entry points of UDP."""
        return {name: point for name, point in self.entry_points.items() if point.is_udp}

    @property
    def quic_points(self) -> list[str]:
        """The entry points that speak HTTP/3."""
        return [name for name, point in self.entry_points.items() if point.http3 is not None]

    @model_validator(mode="before")
    @classmethod
    def _entry_points(cls, data: Any) -> Any:
        """Add Traefik's default entry points: `http` on :80 if there is none, `traefik` on :8080 if it is needed."""
        if not isinstance(data, dict):
            return data
        points = data.get("entryPoints", data.get("entry_points")) or DEFAULT_ENTRY_POINT
        if not isinstance(points, dict):
            return data
        closed = dict(data.get("closed", {}))
        closed |= {name: point for name, point in points.items() if isinstance(point, EntryPoint) and point.faults}
        points = {name: point for name, point in points.items() if name not in closed}
        if "traefik" in points or ("traefik" not in closed and _needs_internal(data)):
            points = {**points, "traefik": _internal(points.get("traefik"))}
        if not points:
            raise ValueError("no entry point is left that can run")
        rest = {key: value for key, value in data.items() if key not in ("entryPoints", "entry_points")}
        return {**rest, "entryPoints": points, "closed": closed}


def _internal(point: Any) -> Any:
    """The entry point `traefik`, with its address."""
    if isinstance(point, EntryPoint):
        has_one = "address" in point.model_fields_set
        return point if has_one else point.model_copy(update={"address": INTERNAL_ADDRESS})
    return {"address": INTERNAL_ADDRESS, **(point or {})} if isinstance(point or {}, dict) else point


def _needs_internal(data: dict[str, Any]) -> bool:
    """Whether the entry point `traefik` is needed."""
    parts = [data.get("ping"), _value(data.get("metrics"), "prometheus")]
    wanted = [
        _value(part, "entryPoint", "traefik")
        for part in parts
        if part is not None and not _is_set(part, "manualRouting")
    ]
    rest = _value(data.get("providers"), "rest")
    return "traefik" in wanted or _is_set(data.get("api"), "insecure") or _is_set(rest, "insecure")


def _is_set(part: Any, key: str) -> bool:
    """Whether a switch is on; it has not been read yet, so it may be text."""
    return str(_value(part, key, False)).lower() in ("true", "1")


def _value(part: Any, key: str, default: Any = None) -> Any:
    """A key of a mapping, or the attribute it stands for."""
    if isinstance(part, dict):
        return part.get(key, default)
    return getattr(part, to_snake(key), default)
