"""Merging the configurations of all providers: `web` of the file provider becomes `web@file`. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbcore.config.dynamic import DynamicConfig, HttpConfig, Lines
from lbcore.config.tcp import TcpConfig
from lbcore.config.tls import DEFAULT, TlsConfig
from lbcore.config.udp import UdpConfig


def merge(configs: Mapping[str, DynamicConfig]) -> DynamicConfig:
    """One configuration of those of all providers, which are keyed by provider.

    Only the names of objects are qualified. A reference without a provider means the provider of the object that
    contains it, whose name the code that resolves the reference knows.
    """

    def objects(part: str, kind: str) -> dict[str, Any]:
        return {
            f"{name}@{provider}": thing
            for provider, config in configs.items()
            for name, thing in getattr(getattr(config, part), kind).items()
        }

    http = HttpConfig.model_validate({kind: objects("http", kind) for kind in HttpConfig.model_fields})
    tcp = TcpConfig.model_validate({kind: objects("tcp", kind) for kind in TcpConfig.model_fields})
    options = {
        name if name == DEFAULT else f"{name}@{provider}": thing
        for provider, config in configs.items()
        for name, thing in config.tls.options.items()
    }
    stores = {name: store for config in configs.values() for name, store in config.tls.stores.items()}
    certificates = [certificate for config in configs.values() for certificate in config.tls.certificates]
    tls = {"certificates": certificates, "options": options, "stores": stores}
    udp = {kind: objects("udp", kind) for kind in UdpConfig.model_fields}
    # Fields that no provider has set stay unset, so that they are not written to the workers.
    written: dict[str, Any] = {"tls": TlsConfig.model_validate(tls)} if any(tls.values()) else {}
    if any(udp.values()):
        written["udp"] = UdpConfig.model_validate(udp)
    lines = Lines({file: line for config in configs.values() for file, line in config.lines.items()})
    return DynamicConfig(http=http, tcp=tcp, **written).with_lines(lines)
