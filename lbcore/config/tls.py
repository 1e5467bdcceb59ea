"""`tls`: certificates, options of handshakes, and the `tls` of routers and entry points. No I/O.

A configuration gives certificates and authorities as PEM, or as the path of a PEM file. `lbcore.tls.material` reads the
files and stores their contents in attributes that no configuration can set.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import Model, Object, keys
from lbcore.config.spiffe import Identity, Spiffe, SpiffeTrust

DEFAULT = "default"  # the options, and the store, that apply unless others are named


class KeyPair(Model):
    """A certificate and its key.

    certificate_text, key_text  PEM; empty until `lbcore.tls.material` has read the files.
    """

    cert_file: str = Field(default="", repr=False)
    key_file: str = Field(default="", repr=False)
    certificate_text: SkipJsonSchema[str] = Field(default="", repr=False)
    key_text: SkipJsonSchema[str] = Field(default="", repr=False)


class Certificate(Object, KeyPair):
    """A certificate that lbcore presents to clients."""

    stores: list[str] = []


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS settings for servers, with the contents of the files. Connections with equal settings are interchangeable.

    authorities   PEM of the trusted authorities; empty: those of the system.
    pairs         client certificates and keys, as PEM, for servers that request one.
    server_name   requested (SNI) and verified in place of the host of a server.
    spiffe        identities that are verified in place of the host; `authorities` are those of its bundles.
    """

    insecure_skip_verify: bool = False
    authorities: tuple[str, ...] = field(default=(), repr=False)
    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    server_name: str = ""
    peer_cert_uri: str = ""
    spiffe: SpiffeTrust | None = None
    cipher_suites: tuple[str, ...] = ()
    min_version: str = ""
    max_version: str = ""


class TrustedServers(Model):
    """The trust in servers: by the authorities in `rootCAs`, else by those of the system.

    authorities  the PEM texts of `rootCAs`.
    """

    insecure_skip_verify: bool = False
    root_cas: list[str] = Field(default=[], alias="rootCAs")
    authorities: SkipJsonSchema[tuple[str, ...]] = Field(default=(), repr=False)
    spiffe: Spiffe | None = None

    @model_validator(mode="after")
    def _one_trust(self) -> Self:
        if self.spiffe is not None and self._has_other_trust():
            raise ValueError("TLS and SPIFFE configuration cannot be defined at the same time")
        return self

    def _has_other_trust(self) -> bool:
        return self.insecure_skip_verify or bool(self.root_cas)

    @property
    def needs_identity(self) -> bool:
        """Whether identity and trust come from the Workload API of SPIFFE."""
        return self.spiffe is not None and not self.spiffe.trust_bundles

    def server_tls(self, identity: Identity | None = None) -> ServerTls:
        """The settings, with the contents of the files. `identity`: of this instance, if the Workload API gave one."""
        if self.spiffe is None:
            return ServerTls(self.insecure_skip_verify, self.authorities)
        trust = self.spiffe.trust(identity)
        pairs = ((identity.certificate_text, identity.key_text),) if self.needs_identity and identity else ()
        return ServerTls(authorities=tuple(text for _, text in trust.bundles), pairs=pairs, spiffe=trust)


class NamedServers(TrustedServers):
    """Adds `serverName`, client certificates, and `peerCertURI`, a URI that the certificate of a server must have."""

    server_name: str = ""
    certificates: list[KeyPair] = []
    peer_cert_uri: str = Field(default="", alias="peerCertURI")

    def _has_other_trust(self) -> bool:
        named = bool(self.server_name or self.peer_cert_uri)
        return super()._has_other_trust() or named or (self.needs_identity and bool(self.certificates))

    def server_tls(self, identity: Identity | None = None) -> ServerTls:
        usual = super().server_tls(identity)
        return replace(
            usual,
            pairs=usual.pairs or tuple((pair.certificate_text, pair.key_text) for pair in self.certificates),
            server_name=self.server_name,
            peer_cert_uri=self.peer_cert_uri,
        )


class Domain(Model):
    """Names for one certificate."""

    short: ClassVar[str] = "main"
    may_be_empty: ClassVar[bool] = True

    main: str = ""
    sans: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once, in lower case."""
        found = (name.strip().lower() for name in (self.main, *self.sans))
        return tuple(dict.fromkeys(name for name in found if name))


class DefaultGeneratedCert(Model):
    """The default certificate is ordered: by which resolver, for which names."""

    resolver: str = ""
    domain: Domain = Domain()


class Store(Object):
    """The one that counts is `default`, as in Traefik."""

    default_certificate: Certificate | None = None
    default_generated_cert: DefaultGeneratedCert | None = None


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


class StaticTls(Model):
    """`lbcore: {tls: ...}` of the static file (extension).

    library     the OpenSSL that speaks TLS: `bundled` (that of the package pycurl), `system`, or the path of a libssl,
                with its libcrypto beside it. Empty: the bundled one, else the system's, else Python's.
    ticketKeys  where instances find the keys of session tickets that they share: a file with a secret, or the URL of a
                Redis. Empty: an instance has keys of its own.
    """

    library: str = ""
    ticket_keys: str = Field(default="", repr=False)


class TlsConfig(Model):
    """generated: for clients that ask for no name there is a certificate for, where the default store has none.

    identity  of this instance, towards servers whose transport has `spiffe`.
    """

    certificates: list[Certificate] = []
    options: dict[str, TlsOptions] = {}
    stores: dict[str, Store] = {}
    generated: SkipJsonSchema[Certificate | None] = None
    identity: SkipJsonSchema[Identity | None] = Field(default=None, repr=False)


class RouterTls(Model):
    """The router takes what comes over TLS, and nothing else. `options`: of its hosts.

    cert_resolver  that orders their certificate, for `domains`, or else for the hosts of the rule.
    """

    may_be_empty: ClassVar[bool] = True

    options: str = ""
    cert_resolver: str = ""
    domains: list[Domain] = []


class TcpRouterTls(RouterTls):
    """`tls` of a router of layer 4. `passthrough`: TLS ends at the server, and lbcore reads no more than the hello."""

    may_be_empty: ClassVar[bool] = True

    passthrough: bool = False
