"""`entryPoints`: addresses to listen on, and the options of requests before routing. No I/O."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from lbcore.config.model import WHEN_SET, Change, Model, Object
from lbcore.config.network import NetworkList, check_address
from lbcore.config.numbers import SHORT, OrNone
from lbcore.config.observability import Observability, Verbosity
from lbcore.config.tls import RouterTls
from lbcore.config.units import Duration, LimitDuration, SignedDuration, seconds

MAX_PRIORITY = (1 << 63) - 1
MIN_HEADER_BYTES, MAX_HEADER_BYTES = 512, 1 << 26


class RespondingTimeouts(Model):
    """0, or below: no limit, as in Traefik. read: a request from its first byte to its last. write: its answer. idle:
    between requests, where 0 stands for `read_timeout`.

    Extensions: header: the head of a request from its first byte to its last. min_body_rate: bytes of a body a second,
    from 10 s on, while the server takes them.
    """

    read_timeout: LimitDuration = seconds(60)
    write_timeout: LimitDuration = seconds(0)
    idle_timeout: SignedDuration = seconds(180)
    header_timeout: Annotated[Duration, WHEN_SET] = seconds(10)
    min_body_rate: Annotated[int, Field(ge=0, le=1 << 30), WHEN_SET] = 240


class LifeCycle(Model):
    request_accept_grace_timeout: LimitDuration = seconds(0)
    grace_time_out: LimitDuration = seconds(10)


class EntryPointTransport(Model):
    life_cycle: LifeCycle = LifeCycle()
    responding_timeouts: RespondingTimeouts = RespondingTimeouts()
    keep_alive_max_time: LimitDuration = seconds(0)
    keep_alive_max_requests: OrNone = 0


class ForwardedHeaders(Model):
    """The clients whose X-Forwarded-* headers are trusted."""

    insecure: bool = False
    trusted_ips: NetworkList = Field(default=[], alias="trustedIPs")
    connection: list[str] = []
    not_append_x_forwarded_for: bool = False


class EntryPointProxyProtocol(Model):
    """Connections may begin with a PROXY protocol header (version 1 or 2), trusted from `trustedIPs` alone."""

    may_be_empty: ClassVar[bool] = True

    insecure: bool = False
    trusted_ips: NetworkList = Field(default=[], alias="trustedIPs")

    @model_validator(mode="after")
    def _trusts_a_client(self) -> "EntryPointProxyProtocol":
        if not self.insecure and not self.trusted_ips:
            raise ValueError("no client is trusted: set trustedIPs or insecure")
        return self


class RedirectEntryPoint(Model):
    """`to` empty: it leads nowhere, and is left out."""

    to: str = ""
    scheme: Literal["http", "https"] = "https"
    permanent: bool = True
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = MAX_PRIORITY - 1


class Redirections(Model):
    entry_point: RedirectEntryPoint | None = None


class EncodedCharacters(Model):
    """Whether paths may contain these characters in encoded form; otherwise they are answered with 400."""

    allow_encoded_slash: bool = True
    allow_encoded_back_slash: bool = True
    allow_encoded_null_character: bool = True
    allow_encoded_semicolon: bool = True
    allow_encoded_percent: bool = True
    allow_encoded_question_mark: bool = True
    allow_encoded_hash: bool = True


class EntryPointHttp(Model):
    middlewares: list[str] = []
    redirections: Redirections | None = None
    tls: RouterTls | None = None
    sanitize_path: bool = True
    encode_query_semicolons: bool = False
    encoded_characters: Annotated[EncodedCharacters, WHEN_SET] = EncodedCharacters()
    max_header_bytes: Annotated[int, Field(ge=MIN_HEADER_BYTES, le=MAX_HEADER_BYTES)] = 1048576
    max_header_lines: Annotated[int, Field(ge=16, le=1000000), WHEN_SET] = 10000
    alias_headers_strategy: Literal["keep", "delete", "reject"] | None = None
    # Deprecated: it sees underscores only.
    underscore_headers_strategy: Annotated[Literal["keep", "delete", "reject"], WHEN_SET] = "keep"

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        return [*cls._bounded_heads(data), *cls._underscores(data)]

    @staticmethod
    def _bounded_heads(data: dict[str, Any]) -> list[Change]:
        least, most = MIN_HEADER_BYTES, MAX_HEADER_BYTES
        wanted = data.get("maxHeaderBytes", least)
        if least <= wanted <= most:
            return []
        if wanted > most:
            data["maxHeaderBytes"] = most
            return [Change("maxHeaderBytes", f"{wanted} is taken for {most}", f"write {most} or less")]
        if wanted <= 0:
            del data["maxHeaderBytes"]
            return [Change("maxHeaderBytes", f"{wanted} is taken for the default", "no head goes without a limit")]
        data["maxHeaderBytes"] = least
        return [Change("maxHeaderBytes", f"{wanted} is taken for {least}", f"write {least} or more")]

    @staticmethod
    def _underscores(data: dict[str, Any]) -> list[Change]:
        if "underscoreHeadersStrategy" not in data:
            return []
        text = "is deprecated" if "aliasHeadersStrategy" not in data else "has no effect beside aliasHeadersStrategy"
        return [Change("underscoreHeadersStrategy", text, "use aliasHeadersStrategy: it sees every alias")]


class EntryPointObservability(Observability):
    """Whether requests are logged, counted and traced, unless their router says so; includes those that no router
    matches."""

    access_logs: bool = True
    metrics: bool = True
    tracing: bool = True
    trace_verbosity: Verbosity = "minimal"


class EntryPointHttp2(Model):
    """Streams that a client may have open on a connection, and bytes of the tables by which fields are encoded."""

    max_concurrent_streams: Annotated[int, Field(ge=1, lt=1 << 31)] = 250
    max_decoder_header_table_size: Annotated[int, Field(ge=0, le=1 << 20)] = 4096
    max_encoder_header_table_size: Annotated[int, Field(ge=0, le=1 << 20)] = 4096

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if data.get("maxConcurrentStreams") != 0:
            return []
        del data["maxConcurrentStreams"]
        return [Change("maxConcurrentStreams", "0 is taken for the default", "no connection goes without a limit")]


class EntryPointHttp3(Model):
    """HTTP/3 over the UDP port of the same number. `advertisedPort`: the one that clients are told of; 0 = that one."""

    may_be_empty: ClassVar[bool] = True

    advertised_port: Annotated[int, Field(ge=0, le=65535)] = 0


class EntryPointUdp(Model):
    """`timeout`: a session of UDP ends when no datagram has come either way for so long.

    Extension: max_sessions: sessions at once, in all workers; the one that is needed least ends for another one.
    """

    timeout: Annotated[Duration, AfterValidator(lambda value: min(value, SHORT))] = seconds(3)
    max_sessions: Annotated[int, Field(ge=1, lt=1 << 31), WHEN_SET] = 16384

    @field_validator("timeout")
    @classmethod
    def _above_zero(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("timeout should be greater than zero")
        return value


class EntryPoint(Object):
    """A listener. `address` is `[host]:port[/tcp|/udp]`, or (extension) `unix:/path/of/socket`."""

    may_be_empty: ClassVar[bool] = True
    runs_alone: ClassVar[bool] = False

    address: Annotated[str, BeforeValidator(check_address)] = ":0"
    as_default: bool = False
    reuse_port: bool = False
    allow_acme_by_pass: bool = Field(default=False, alias="allowACMEByPass")
    transport: EntryPointTransport = EntryPointTransport()
    proxy_protocol: EntryPointProxyProtocol | None = None
    forwarded_headers: ForwardedHeaders = ForwardedHeaders()
    http: EntryPointHttp = EntryPointHttp()
    http2: EntryPointHttp2 = EntryPointHttp2()
    http3: EntryPointHttp3 | None = None
    udp: EntryPointUdp = EntryPointUdp()
    observability: Annotated[EntryPointObservability, WHEN_SET] = EntryPointObservability()

    @property
    def is_udp(self) -> bool:
        """Whether it takes datagrams, and no connections."""
        return self.address.endswith("/udp")

    @model_validator(mode="after")
    def _http3_has_a_port(self) -> "EntryPoint":
        if self.http3 is not None and (self.is_udp or self.address.startswith("unix:")):
            raise ValueError("http3 needs an address of TCP, whose port it has for UDP")
        return self
