"""TLS to a store, by the settings that servers of a transport have."""

from __future__ import annotations

import os
import ssl

from lbcore.config.tls import ServerTls


def context_of(tls: ServerTls) -> ssl.SSLContext:
    """The settings of connections. Raises ValueError for certificates that cannot be used."""
    try:
        authorities = "\n".join(tls.authorities)
        context = ssl.create_default_context(cadata=authorities) if authorities else ssl.create_default_context()
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for certificate, key in tls.pairs:
            _load_pair(context, certificate, key)
    except OSError as error:
        raise ValueError(f"tls: {error.strerror or error}") from None
    return context


def _load_pair(context: ssl.SSLContext, *texts: str) -> None:
    """Load a certificate and its key. OpenSSL reads files alone: the texts stay in memory."""
    descriptors = []
    try:
        for text in texts:
            descriptors.append(os.memfd_create("lbcore", os.MFD_CLOEXEC))
            os.write(descriptors[-1], text.encode())
        context.load_cert_chain(*[f"/proc/self/fd/{descriptor}" for descriptor in descriptors])
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
