"""Validation of the TLS options that routers name. No I/O."""

from __future__ import annotations

from lbcore.config.tls import DEFAULT, TlsConfig
from lbcore.config.validate.findings import Fault


def options_errors(tls: TlsConfig, wanted: str) -> list[str]:
    """Why the TLS options of this name cannot be used; empty if they can. A Fault if there are no such options."""
    options = tls.options.get(wanted)
    if options is None:
        text = f"unknown TLS options: {wanted}"
        return [] if wanted == DEFAULT else [Fault(text, "tls", "options", missing=wanted)]
    return [f"TLS options {wanted}: {fault}" for fault in options.faults]
