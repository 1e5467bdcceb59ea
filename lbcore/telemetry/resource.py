"""The resource of OpenTelemetry: what an instance says of itself with all that it sends. Loads opentelemetry-proto."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lbcore import __version__

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

SCOPE = "lbcore"


def attributes_of(service_name: str, attributes: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str | int]:
    """What later ones say counts: what is known of the process, the configuration, and, as in Traefik,
    `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`."""
    found: dict[str, str | int] = {
        "host.name": socket.gethostname(),
        "os.type": sys.platform,
        "process.pid": os.getpid(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
        "service.name": service_name,
        "service.version": __version__,
        **attributes,
    }
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = pair.partition("=")
        if equals and key.strip():
            found[key.strip()] = unquote(value.strip())
    if name := environ.get("OTEL_SERVICE_NAME"):
        found["service.name"] = name
    return found


def resource_of(service_name: str, attributes: Mapping[str, str]) -> Resource:
    """The resource as a message."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    pairs = attributes_of(service_name, attributes, os.environ)
    values = {
        key: AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
        for key, value in pairs.items()
    }
    return Resource(attributes=[KeyValue(key=key, value=value) for key, value in values.items()])


def scope() -> InstrumentationScope:
    """What has made all that is sent."""
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope

    return InstrumentationScope(name=SCOPE, version=__version__)
