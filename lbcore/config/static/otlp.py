"""`otlp` of traces, metrics and logs: the collector of OpenTelemetry that gets them. No I/O."""

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from lbcore.config.model import Model
from lbcore.config.static.providers import ClientTls

SERVICE_NAME = "traefik"  # as Traefik names itself


def _check_url(value: str) -> str:
    """Raises ValueError for what is no address of a collector that is asked over HTTP."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"invalid collector endpoint {value!r}: it is scheme://host:port/path")
    assert parts.port != 0
    return value


def _check_address(value: str) -> str:
    """Raises ValueError for what is no address of a collector that is asked over gRPC."""
    host, _, port = value.rpartition(":")
    if not host or "/" in value or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"invalid collector endpoint {value!r}: it is host:port")
    return value


def wrong_endpoint(otlp: Any) -> str:
    """What is wrong with the address in the settings of a collector, as they are written; empty: nothing."""
    ways: dict[str, Callable[[str], str]] = {"grpc": _check_address, "http": _check_url}
    for way, check in ways.items():
        settings = otlp.get(way) if isinstance(otlp, dict) else None
        if isinstance(settings, dict):
            try:
                if "endpoint" in settings:
                    check(settings["endpoint"])
            except ValueError as error:
                return str(error)
            break  # with grpc, http does not count
    return ""


class OtlpHttp(Model):
    """A collector that is asked over HTTP. Without a path it is that of the signal: `/v1/traces`, ..."""

    may_be_empty: ClassVar[bool] = True

    endpoint: str = "https://localhost:4318"
    headers: dict[str, str] = Field(default={}, repr=False)
    tls: ClientTls | None = None

    @field_validator("endpoint")
    @classmethod
    def _url(cls, value: str) -> str:
        return _check_url(value)


class OtlpGrpc(Model):
    """A collector that is asked over gRPC. `insecure`: without TLS."""

    may_be_empty: ClassVar[bool] = True

    endpoint: str = "localhost:4317"
    insecure: bool = False
    headers: dict[str, str] = Field(default={}, repr=False)
    tls: ClientTls | None = None

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        return _check_address(value)


class Otlp(Model):
    """The collector. With `grpc`, `http` does not count."""

    may_be_empty: ClassVar[bool] = True

    http: OtlpHttp = OtlpHttp()
    grpc: OtlpGrpc | None = None

    @property
    def place(self) -> str:
        """Where it is, for texts; without a name and a password."""
        if self.grpc is not None:
            return self.grpc.endpoint.rpartition("@")[2]
        parts = urlsplit(self.http.endpoint)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


class OtlpLog(Otlp):
    """The collector of a log."""

    service_name: str = SERVICE_NAME
    resource_attributes: dict[str, str] = {}
