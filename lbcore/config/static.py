"""The static configuration: what is fixed while the process runs. Keys, defaults and meaning are Traefik's. No I/O."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic.alias_generators import to_snake

from lbcore.config.model import Model, keys
from lbcore.config.network import check_address, check_network
from lbcore.config.units import Duration, status_ranges

MAX_PRIORITY = (1 << 63) - 1
DEFAULT_ENTRY_POINT = {"http": {"address": ":80"}}
INTERNAL_ENTRY_POINT = {"traefik": {"address": ":8080"}}


def seconds(value: float) -> Any:
    return Field(default=timedelta(seconds=value))


class RespondingTimeouts(Model):
    """0 = no limit. read: a request from its first byte to its last. write: its answer. idle: between requests."""

    read_timeout: Duration = seconds(60)
    write_timeout: Duration = seconds(0)
    idle_timeout: Duration = seconds(180)


class LifeCycle(Model):
    request_accept_grace_timeout: Duration = seconds(0)
    grace_time_out: Duration = seconds(10)


class EntryPointTransport(Model):
    life_cycle: LifeCycle = LifeCycle()
    responding_timeouts: RespondingTimeouts = RespondingTimeouts()
    keep_alive_max_time: Duration = seconds(0)
    keep_alive_max_requests: Annotated[int, Field(ge=0)] = 0


class ForwardedHeaders(Model):
    """Whose X-Forwarded-* are believed."""

    insecure: bool = False
    trusted_ips: list[str] = Field(default=[], alias="trustedIPs")
    connection: list[str] = []
    not_append_x_forwarded_for: bool = False

    @field_validator("trusted_ips")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        return [check_network(value) for value in values]


class EntryPointProxyProtocol(Model):
    """Connections may begin with a PROXY protocol header (version 1 or 2). `trustedIPs`: whose header is believed."""

    insecure: bool = False
    trusted_ips: list[str] = Field(default=[], alias="trustedIPs")

    @field_validator("trusted_ips")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        return [check_network(value) for value in values]

    @model_validator(mode="after")
    def _somebody(self) -> EntryPointProxyProtocol:
        if not self.insecure and not self.trusted_ips:
            raise ValueError("nobody is trusted: set trustedIPs or insecure")
        return self


class RedirectEntryPoint(Model):
    to: str
    scheme: Literal["http", "https"] = "https"
    permanent: bool = True
    priority: int = MAX_PRIORITY - 1


class Redirections(Model):
    entry_point: RedirectEntryPoint | None = None


class EncodedCharacters(Model):
    """Whether a path may hold these characters in encoded form; if not it is answered with 400."""

    allow_encoded_slash: bool = True
    allow_encoded_back_slash: bool = True
    allow_encoded_null_character: bool = True
    allow_encoded_semicolon: bool = True
    allow_encoded_percent: bool = True
    allow_encoded_question_mark: bool = True
    allow_encoded_hash: bool = True


class EntryPointHttp(Model):
    unsupported: ClassVar[frozenset[str]] = keys("tls")

    middlewares: list[str] = []
    redirections: Redirections | None = None
    sanitize_path: bool = True
    encode_query_semicolons: bool = False
    encoded_characters: EncodedCharacters = EncodedCharacters()
    max_header_bytes: Annotated[int, Field(ge=512, le=1 << 26)] = 1048576
    underscore_headers_strategy: Literal["keep", "delete", "reject"] = "keep"


def no_tracing(value: bool | None) -> bool | None:
    if value:
        raise ValueError("true is not supported by this version of lbcore")
    return value


NoTracing = Annotated[bool | None, AfterValidator(no_tracing)]


class EntryPointObservability(Model):
    """What is told about requests of routers that do not say themselves, and of those that no router takes."""

    unsupported: ClassVar[frozenset[str]] = keys("traceVerbosity")

    access_logs: bool = True
    metrics: bool = True
    tracing: NoTracing = None


class EntryPoint(Model):
    """A listener. `address` is `[host]:port[/tcp]`, or (extension) `unix:/path/of/socket`."""

    unsupported: ClassVar[frozenset[str]] = keys("http2 http3 udp allowACMEByPass")

    address: Annotated[str, BeforeValidator(check_address)]
    as_default: bool = False
    reuse_port: bool = False
    transport: EntryPointTransport = EntryPointTransport()
    proxy_protocol: EntryPointProxyProtocol | None = None
    forwarded_headers: ForwardedHeaders = ForwardedHeaders()
    http: EntryPointHttp = EntryPointHttp()
    observability: EntryPointObservability = EntryPointObservability()


class FileProvider(Model):
    """Exactly one of `filename` and `directory`."""

    unsupported: ClassVar[frozenset[str]] = keys("debugLogGeneratedTemplate")

    filename: str = ""
    directory: str = ""
    watch: bool = True

    @model_validator(mode="after")
    def _one_source(self) -> FileProvider:
        if bool(self.filename) == bool(self.directory):
            raise ValueError("set either filename or directory")
        return self


class Providers(Model):
    unsupported: ClassVar[frozenset[str]] = keys(
        "docker swarm kubernetesIngress kubernetesIngressNGINX kubernetesCRD kubernetesGateway knative rest "
        "http consulCatalog nomad ecs consul etcd zooKeeper redis plugin precedence"
    )

    providers_throttle_duration: Duration = seconds(2)
    file: FileProvider | None = None


class ForwardingTimeouts(Model):
    """0 = no limit."""

    unsupported: ClassVar[frozenset[str]] = keys("readIdleTimeout pingTimeout")

    dial_timeout: Duration = seconds(30)
    response_header_timeout: Duration = seconds(0)
    idle_conn_timeout: Duration = seconds(90)


class StaticServersTransport(Model):
    """How servers are spoken to where a service names no transport of its own."""

    unsupported: ClassVar[frozenset[str]] = keys("insecureSkipVerify rootCAs spiffe")

    max_idle_conns_per_host: Annotated[int, Field(ge=0)] = 200
    forwarding_timeouts: ForwardingTimeouts = ForwardingTimeouts()


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


class Ping(Model):
    entry_point: str = "traefik"
    manual_routing: bool = False
    terminating_status_code: Annotated[int, Field(ge=200, le=599)] = 503


class Prometheus(Model):
    """GET /metrics on `entryPoint`; buckets of the durations' histogram in seconds."""

    unsupported: ClassVar[frozenset[str]] = keys("headerLabels")

    buckets: Annotated[list[Annotated[float, Field(gt=0)]], Field(max_length=11)] = [0.1, 0.3, 1.2, 5.0]
    add_entry_points_labels: bool = True
    add_routers_labels: bool = False
    add_services_labels: bool = True
    entry_point: str = "traefik"
    manual_routing: bool = False


class Metrics(Model):
    """`addInternals`: count what lbcore answers itself, too (ping, API, metrics, redirections)."""

    unsupported: ClassVar[frozenset[str]] = keys("datadog statsD influxDB2 otlp")

    add_internals: bool = False
    prometheus: Prometheus | None = None


class AccessLogFilters(Model):
    """A request is logged when one of those that are set holds."""

    status_codes: list[str] = []
    retry_attempts: bool = False
    min_duration: Duration = seconds(0)

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
    names: dict[str, Literal["keep", "drop"]] = {}
    headers: AccessLogHeaders = AccessLogHeaders()
    query_parameters: AccessLogQuery = AccessLogQuery()


class AccessLog(Model):
    """`filePath` empty: standard output. `bufferingSize` 0: lines are written within a few ms, else within a second.

    addInternals  log what lbcore answers itself, too (ping, API, metrics, redirections).
    """

    unsupported: ClassVar[frozenset[str]] = keys("otlp dualOutput")

    add_internals: bool = False

    file_path: str = ""
    format: Literal["common", "genericCLF", "json"] = "common"
    buffering_size: Annotated[int, Field(ge=0)] = 0
    filters: AccessLogFilters = AccessLogFilters()
    fields: AccessLogFields = AccessLogFields()


class Api(Model):
    """The view from outside. `insecure`: on the entry point `traefik`, open to everybody who reaches it.

    token  (extension) lets who sends it (`Authorization: Bearer ...`) change weights; without one nobody can.
    """

    unsupported: ClassVar[frozenset[str]] = keys("dashboardName disableDashboardAd disabledashboardad")

    insecure: bool = False
    dashboard: bool = True
    debug: bool = False
    base_path: str = "/"
    token: str = ""

    @field_validator("debug")
    @classmethod
    def _off(cls, value: bool) -> bool:
        if value:
            raise ValueError("true is not supported by this version of lbcore")
        return value

    @field_validator("token")
    @classmethod
    def _long(cls, value: str) -> str:
        if value and len(value) < 16:
            raise ValueError("a token of less than 16 characters can be guessed")
        return value


class Explain(Model):
    """Extension: who sends `secret` in `header` is told there, by the answer, why it went where it went."""

    header: str = "X-Lbcore-Explain"
    secret: str

    @field_validator("header")
    @classmethod
    def _own(cls, value: str) -> str:
        if not re.fullmatch(r"[Xx]-[A-Za-z0-9-]*[A-Za-z0-9]", value) or value.lower().startswith("x-forwarded-"):
            raise ValueError(f"{value!r} is no name for a header of its own: write X-Something")
        return value

    @field_validator("secret")
    @classmethod
    def _long(cls, value: str) -> str:
        if len(value) < 16:
            raise ValueError("a secret of less than 16 characters can be guessed")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ValueError("a secret has to fit into a header: printable ASCII, no space at its ends")
        return value


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
