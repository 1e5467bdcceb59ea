"""A collector of OpenTelemetry: requests of OTLP over HTTP and gRPC. Loads its libraries when it is made."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from isal import igzip

from lbcore.config.static import Otlp, OtlpGrpc, OtlpHttp
from lbcore.errors import ConfigError, Problem
from lbcore.tls.clients import context_of, pem_of

Signal = Literal["traces", "metrics", "logs"]
TIMEOUT_S = 10.0  # of a request, as OTLP's clients have it
AGAIN = (429, 502, 503, 504)  # statuses after which OTLP has a client try again
SERVICES = {"traces": "trace", "metrics": "metrics", "logs": "logs"}
PACKAGES = {"opentelemetry.proto": "opentelemetry-proto", "urllib3": "urllib3", "grpc": "grpcio"}


class SendError(Exception):
    """What was sent was not taken. `again`: it may be later."""

    def __init__(self, text: str, again: bool) -> None:
        super().__init__(text)
        self.again = again


class Collector(Protocol):
    """Takes requests of OTLP."""

    def post(self, body: bytes) -> None:
        """Send one request, encoded, and wait for the answer. Raises SendError."""

    async def send(self, body: bytes) -> None:
        """The same, on a thread."""

    def close(self) -> None:
        """Close the connections."""


def problems_of(place: str, otlp: Otlp) -> list[Problem]:
    """Why no collector can be made of the settings at `place`."""
    for module in ("opentelemetry.proto", "grpc" if otlp.grpc is not None else "urllib3"):
        try:
            importlib.import_module(module)
        except ImportError:
            text = f"needs the package {PACKAGES[module]}, which is missing"
            return [Problem(place, text, "type: pip install 'lbcore[otlp]'")]
    try:
        collector_of(place, otlp, "traces").close()
    except ConfigError as error:
        return list(error.problems)
    return []


def collector_of(place: str, otlp: Otlp, signal: Signal) -> Collector:
    """The collector of the settings at `place`. Raises ConfigError."""
    if otlp.grpc is not None:
        return GrpcCollector(f"{place}.grpc", otlp.grpc, signal)
    return HttpCollector(f"{place}.http", otlp.http, signal)


class HttpCollector:
    """A collector that is asked over HTTP/1.1, on connections that stay."""

    def __init__(self, place: str, settings: OtlpHttp, signal: Signal) -> None:
        import urllib3

        parts = urlsplit(settings.endpoint)
        self._url = parts._replace(path=parts.path if parts.path else f"/v1/{signal}").geturl()
        context = context_of(f"{place}.tls", settings.tls) if parts.scheme == "https" else None
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=2, ssl_context=context)
        self._timeout = urllib3.Timeout(TIMEOUT_S)
        self._failures: tuple[type[Exception], ...] = (urllib3.exceptions.HTTPError,)
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "User-Agent": "lbcore",
            **settings.headers,
        }

    def post(self, body: bytes) -> None:
        compressed = igzip.compress(body, compresslevel=1)
        try:
            answer = self._pool.request(
                "POST",
                self._url,
                body=compressed,
                headers=self._headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
            )
        except self._failures as error:
            cause = error.__cause__ or error
            reason = getattr(cause, "strerror", None) or " ".join(str(cause).split())
            raise SendError(f"it cannot be reached: {reason}", again=True) from None
        if answer.status not in (200, 202, 204):
            raise SendError(f"it answers {answer.status}", again=answer.status in AGAIN)

    async def send(self, body: bytes) -> None:
        await asyncio.to_thread(self.post, body)

    def close(self) -> None:
        self._pool.clear()


class GrpcCollector:
    """A collector that is asked over gRPC. Messages are encoded already."""

    def __init__(self, place: str, settings: OtlpGrpc, signal: Signal) -> None:
        import grpc

        self._grpc = grpc
        name = SERVICES[signal]
        self._method = f"/opentelemetry.proto.collector.{name}.v1.{name.title()}Service/Export"
        self._metadata = [(key.lower(), value) for key, value in settings.headers.items()]
        self._endpoint = settings.endpoint
        self._credentials: Any = None
        tls = settings.tls
        if not settings.insecure:
            if tls is not None and tls.insecure_skip_verify:
                text = "insecureSkipVerify: gRPC verifies each certificate"
                raise ConfigError([Problem(f"{place}.tls", text, "name its authority in ca, or use http")])
            context_of(f"{place}.tls", tls)  # finds out what is wrong with the files
            ca, cert, key = (tls.ca, tls.cert, tls.key) if tls is not None else ("", "", "")
            self._credentials = grpc.ssl_channel_credentials(
                pem_of(f"{place}.tls.ca", ca), pem_of(f"{place}.tls.key", key), pem_of(f"{place}.tls.cert", cert)
            )
        self._channel: Any = None

    def post(self, body: bytes) -> None:
        if self._channel is None:
            options = [("grpc.enable_retries", 0)]
            if self._credentials is None:
                self._channel = self._grpc.insecure_channel(self._endpoint, options)
            else:
                self._channel = self._grpc.secure_channel(self._endpoint, self._credentials, options)
        call = self._channel.unary_unary(self._method)
        try:
            call(body, timeout=TIMEOUT_S, metadata=self._metadata, compression=self._grpc.Compression.Gzip)
        except self._grpc.RpcError as error:
            code = error.code()
            codes = self._grpc.StatusCode
            again = {codes.CANCELLED, codes.DEADLINE_EXCEEDED, codes.ABORTED, codes.OUT_OF_RANGE, codes.UNAVAILABLE,
                     codes.DATA_LOSS, codes.RESOURCE_EXHAUSTED}  # fmt: skip
            text = " ".join(str(error.details()).split())
            raise SendError(f"it answers {code.name}: {text[:200]}", again=code in again) from None

    async def send(self, body: bytes) -> None:
        await asyncio.to_thread(self.post, body)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
