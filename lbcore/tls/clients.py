"""Settings of Python's own TLS connections to servers of configuration, and to collectors."""

from __future__ import annotations

import os
import ssl
from typing import Any

from lbcore.config.static.providers import ClientTls
from lbcore.errors import ConfigError, Problem, system_message_of

PEM = "-----BEGIN"


def context_of(place: str, tls: ClientTls | None) -> ssl.SSLContext:
    """The settings of connections. `place`: the key of `tls`. Raises ConfigError."""
    tls = tls or ClientTls()
    try:
        if bool(tls.cert) != bool(tls.key):
            raise ValueError("cert and key go together")
        for key, text in (("ca", tls.ca), ("cert", tls.cert), ("key", tls.key)):
            _find(key, text)
        context = ssl.create_default_context(**_given(tls.ca, "ca")) if tls.ca else ssl.create_default_context()
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert:
            _load_pair(context, tls.cert, tls.key)
    except (OSError, ValueError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise ConfigError([Problem(place, f"cannot be used: {reason}")]) from None
    return context


def pem_of(place: str, text: str) -> bytes | None:
    """The contents of a file, or of a text that is PEM itself; None for an empty one. Raises ConfigError."""
    if not text:
        return None
    if PEM in text:
        return text.encode()
    try:
        with open(text, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError([Problem(place, f"cannot read {text}: {error.strerror}")]) from None


def _find(key: str, text: str) -> None:
    """Raise ValueError for a file that cannot be read: OpenSSL does not say which."""
    if not text or PEM in text:
        return
    try:
        with open(text, "rb"):
            pass
    except OSError as error:
        raise ValueError(f"{key}: {text} cannot be read: {system_message_of(error)}") from None


def _given(text: str, key: str) -> dict[str, Any]:
    return {"cadata": text} if PEM in text else {f"{key}file": text}


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate and its key, each a file or a PEM text. OpenSSL reads files alone: texts stay in memory."""
    descriptors = []
    try:
        names = []
        for text in (certificate, key):
            if PEM in text:
                descriptors.append(os.memfd_create("lbcore", os.MFD_CLOEXEC))
                os.write(descriptors[-1], text.encode())
                text = f"/proc/self/fd/{descriptors[-1]}"
            names.append(text)
        context.load_cert_chain(*names)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
