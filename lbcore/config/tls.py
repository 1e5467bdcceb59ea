"""`tls`: certificates, what clients may agree on, and the `tls` of routers and entry points. No I/O.

Certificates and authorities are written as PEM, or as the path of a file that holds it. What the files held stands in
attributes that no configuration can set: `lbcore.tls.material` fills them.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import Model, Object, keys

DEFAULT = "default"  # the options, and the store, that hold where none are named


class Certificate(Object):
    """A certificate and its key.

    certificate_text, key_text  as they were read; empty until then.
    """

    cert_file: str = Field(default="", repr=False)
    key_file: str = Field(default="", repr=False)
    stores: list[str] = []
    certificate_text: SkipJsonSchema[str] = Field(default="", repr=False)
    key_text: SkipJsonSchema[str] = Field(default="", repr=False)


class Store(Object):
    """The one that counts is `default`, as in Traefik."""

    missing = keys("defaultGeneratedCert", "name a defaultCertificate")

    default_certificate: Certificate | None = None


class ClientAuth(Model):
    """Mutual TLS."""

    ca_files: list[str] = []
    client_auth_type: str = ""


class TlsOptions(Object):
    """What a client and lbcore may agree on.

    authorities  the texts behind `clientAuth.caFiles`, as they were read.
    """

    ignored = keys("preferServerCipherSuites", "the order of the server always counts")

    min_version: str = ""
    max_version: str = ""
    cipher_suites: list[str] = []
    curve_preferences: list[str] = []
    client_auth: ClientAuth = ClientAuth()
    sni_strict: bool = False
    alpn_protocols: list[str] = []
    disable_session_tickets: bool = False
    authorities: SkipJsonSchema[tuple[str, ...]] = Field(default=(), repr=False)


class TlsConfig(Model):
    """generated: for clients that ask for no name there is a certificate for, where the default store has none."""

    certificates: list[Certificate] = []
    options: dict[str, TlsOptions] = {}
    stores: dict[str, Store] = {}
    generated: SkipJsonSchema[Certificate | None] = None


class RouterTls(Model):
    """The router takes what comes over TLS, and nothing else. `options`: of its hosts."""

    missing = keys("certResolver", "name the certificate in tls.certificates: lbcore asks for none yet")
    ignored = keys("domains", "only a certResolver looks at them")
    may_be_empty: ClassVar[bool] = True

    options: str = ""
