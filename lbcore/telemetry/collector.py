"""A collector of OpenTelemetry: requests of OTLP over HTTP and gRPC. Loads its libraries when it is made."""

from __future__ import annotations

import asyncio
import importlib
import socket
import ssl
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from isal import igzip

from lbcore.config.static import Otlp, OtlpGrpc, OtlpHttp
from lbcore.config.static.providers import ClientTls
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


def name_in(certificate: bytes, default: str) -> str:
    """A name that a certificate, given as DER, is for. Raises ValueError."""
    from cryptography import x509

    found = x509.load_der_x509_certificate(certificate)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(common[0].value) if common else default
    for name in names.get_values_for_type(x509.DNSName):
        return name.replace("*", "any")
    return next((str(address) for address in names.get_values_for_type(x509.IPAddress)), default)


class GrpcCollector:
    """A collector that is asked over gRPC. Messages are encoded already."""

    def __init__(self, place: str, settings: OtlpGrpc, signal: Signal) -> None:
        import grpc

        self._grpc = grpc
        name = SERVICES[signal]
        self._method = f"/opentelemetry.proto.collector.{name}.v1.{name.title()}Service/Export"
        self._metadata = [(key.lower(), value) for key, value in settings.headers.items()]
        self._endpoint = settings.endpoint
        self._encrypts = not settings.insecure
        self._authorities: bytes | None = None
        self._pair: tuple[bytes | None, bytes | None] = (None, None)
        self._unverified: ssl.SSLContext | None = None
        if self._encrypts:
            tls = settings.tls or ClientTls()
            context = context_of(f"{place}.tls", tls)  # finds out what is wrong with the files
            self._authorities = pem_of(f"{place}.tls.ca", tls.ca)
            self._pair = pem_of(f"{place}.tls.key", tls.key), pem_of(f"{place}.tls.cert", tls.cert)
            if tls.insecure_skip_verify:
                context.set_alpn_protocols(["h2"])
                self._unverified = context
        self._channel: Any = None

    def _open(self) -> Any:
        options: list[tuple[str, int | str]] = [("grpc.enable_retries", 0)]
        if not self._encrypts:
            return self._grpc.insecure_channel(self._endpoint, options)
        authorities = self._authorities
        if self._unverified is not None:
            authorities, name = self._present_certificate(self._unverified)
            options.append(("grpc.ssl_target_name_override", name))
        credentials = self._grpc.ssl_channel_credentials(authorities, *self._pair)
        return self._grpc.secure_channel(self._endpoint, credentials, options)

    def _present_certificate(self, context: ssl.SSLContext) -> tuple[bytes, str]:
        """The certificate that the collector has now, as PEM, and a name in it: gRPC verifies each one, so it is to
        accept this one. Raises SendError."""
        host, _, port = self._endpoint.rpartition(":")
        host = host.strip("[]")
        try:
            with (
                socket.create_connection((host, int(port)), TIMEOUT_S) as sock,
                context.wrap_socket(sock, server_hostname=host) as encrypted,
            ):
                found = encrypted.getpeercert(True) or b""
            return ssl.DER_cert_to_PEM_cert(found).encode(), name_in(found, host)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SendError(f"it cannot be reached: {reason}", again=True) from None

    def post(self, body: bytes) -> None:
        if self._channel is None:
            self._channel = self._open()
        call = self._channel.unary_unary(self._method)
        try:
            call(body, timeout=TIMEOUT_S, metadata=self._metadata, compression=self._grpc.Compression.Gzip)
        except self._grpc.RpcError as error:
            code = error.code()
            codes = self._grpc.StatusCode
            again = {codes.CANCELLED, codes.DEADLINE_EXCEEDED, codes.ABORTED, codes.OUT_OF_RANGE, codes.UNAVAILABLE,
                     codes.DATA_LOSS, codes.RESOURCE_EXHAUSTED}  # fmt: skip
            text = " ".join(str(error.details()).split())
            if self._unverified is not None and code is codes.UNAVAILABLE:
                self.close()  # it may have another certificate by now
            raise SendError(f"it answers {code.name}: {text[:200]}", again=code in again) from None

    async def send(self, body: bytes) -> None:
        await asyncio.to_thread(self.post, body)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
