"""`tracing`: spans of requests, for a collector of OpenTelemetry. No I/O."""

from typing import ClassVar

from lbcore.config.model import Model
from lbcore.config.static.otlp import SERVICE_NAME, Otlp


class Tracing(Model):
    """`sampleRate`: the part of the requests without a trace of their own that are sampled; those of a client's trace
    are sampled as that is.

    addInternals     trace what lbcore answers itself, too (ping, API, metrics, redirections).
    safeQueryParams  parameters whose values are told; those of others are redacted.
    """

    may_be_empty: ClassVar[bool] = True
    renamed = {"globalAttributes": "resourceAttributes"}

    service_name: str = SERVICE_NAME
    resource_attributes: dict[str, str] = {}
    captured_request_headers: list[str] = []
    captured_response_headers: list[str] = []
    safe_query_params: list[str] = []
    sample_rate: float = 1.0
    add_internals: bool = False
    otlp: Otlp = Otlp()
