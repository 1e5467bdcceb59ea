"""Read the files that a configuration names for TLS, and check their contents.

A file that cannot be used is one problem, with the line that names it: its previous contents stay in force. Without
previous contents, a certificate is left out, and options or a transport are disabled.
"""

from __future__ import annotations

import base64
import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from lbcore.config.difference import changed_names
from lbcore.config.dynamic import DynamicConfig, Middleware
from lbcore.config.json_text import read_json
from lbcore.config.lines import split_place
from lbcore.config.model import Model, Object
from lbcore.config.network import is_secure
from lbcore.config.regular import read_regular
from lbcore.config.servers_transports import ServersTransport
from lbcore.config.spiffe import Spiffe
from lbcore.config.static import StaticConfig
from lbcore.config.tcp import TcpServersTransport
from lbcore.config.tls import (
    DEFAULT,
    Certificate,
    NamedServers,
    ServerTls,
    Store,
    TlsConfig,
    TlsOptions,
    TrustedServers,
)
from lbcore.errors import ConfigError, Problem, Severity
from lbcore.tls.library import choose

if TYPE_CHECKING:
    from lbcore.tls.certificate import Pair

S = TypeVar("S", bound=NamedServers)
T = TypeVar("T", bound=TrustedServers)

PEM = "-----BEGIN"
FILE_LIMIT_BYTES = 1 << 20
LONGEST_NAME = 1024
SOON_DAYS = 14  # warn if a certificate expires within this time


def settle(config: DynamicConfig, before: DynamicConfig | None = None) -> tuple[DynamicConfig, list[Problem]]:
    """The configuration with the PEM texts of its certificates and authorities, and their problems.

    before  the previous result, whose texts stay in use where a file is broken.
    Raises ConfigError if OpenSSL is missing. Cost: reads all files.
    """
    if not has_texts(config):
        return config, []
    try:
        import lbcore.tls.handshake  # noqa: F401
    except ImportError as error:
        raise ConfigError([Problem("tls", str(error))]) from error
    settler = _Settler(before or DynamicConfig())
    return settler.settled(config), settler.problems


def choose_library(static: StaticConfig) -> None:
    """Have TLS be spoken by the library that the static configuration names. Raises ConfigError."""
    try:
        choose(static.tls.library)
        if static.tls.library:
            import lbcore.tls.openssl  # noqa: F401
    except (ValueError, ImportError) as error:
        raise ConfigError([static.located(Problem("tls.library", str(error)))]) from error


def settle_static(static: StaticConfig) -> StaticConfig:
    """The static configuration with the PEM texts of the authorities for servers. Raises ConfigError."""
    update: dict[str, Model] = {}
    if (transport := _settled_trust(static, "serversTransport", static.servers_transport)) is not None:
        update["servers_transport"] = transport
    tcp = static.tcp_servers_transport
    if tcp.tls is not None and (tls := _settled_trust(static, "tcpServersTransport.tls", tcp.tls)) is not None:
        update["tcp_servers_transport"] = tcp.model_copy(update={"tls": tls})
    return static.model_copy(update=update) if update else static


def _settled_trust(static: StaticConfig, path: str, transport: T) -> T | None:
    """Settings with the PEM texts of their authorities; None: they say nothing. Raises ConfigError."""
    if not (transport.root_cas or transport.insecure_skip_verify or transport.spiffe):
        return None
    try:
        from lbcore.tls.connector import Connector

        authorities = tuple(_text("rootCAs", text) for text in transport.root_cas)
        update = {"authorities": authorities, "spiffe": _read_bundles(transport.spiffe)}
        transport = transport.model_copy(update=update)
        Connector(transport.server_tls())
    except (ValueError, ImportError) as error:
        key = f"{path}.rootCAs" if str(error).startswith("rootCAs") else path
        text = str(error).removeprefix("rootCAs: ") if key != path else str(error)
        raise ConfigError([static.located(Problem(key, text))]) from error
    return transport


def has_texts(config: DynamicConfig, known: DynamicConfig | None = None) -> bool:
    """Whether anything has to be settled. `known`: a configuration of which this is known that there is nothing."""
    tls = config.tls
    return bool(tls.certificates or tls.options or tls.stores) or speaks_to_servers(config, known)


def speaks_to_servers(config: DynamicConfig, known: DynamicConfig | None = None) -> bool:
    """Whether any server uses TLS, or any transport configures it. `known`: a configuration of which it is known that
    none does."""
    services = config.http.services
    names, _ = ([*services], []) if known is None else changed_names(known.http.services, services)
    balancers = (services[name].load_balancer for name in names)
    tcp = (service.load_balancer for service in config.tcp.services.values())
    return (
        any(is_secure(server.url) for balancer in balancers if balancer is not None for server in balancer.servers)
        or any(server.tls for balancer in tcp if balancer is not None for server in balancer.servers)
        or any(_says_anything(transport) for transport in config.http.servers_transports.values())
        or any(transport.tls is not None for transport in config.tcp.servers_transports.values())
        or any(is_secure(middleware.upstream) for middleware in config.http.middlewares.values())
        or any(len(middleware.tls_way) > 1 for middleware in config.http.middlewares.values())
    )


def asks_for_identity(config: DynamicConfig, static: StaticConfig) -> bool:
    """Whether servers are trusted by what the Workload API of SPIFFE says."""
    tcp = static.tcp_servers_transport.tls
    of_static = static.servers_transport.needs_identity or (tcp is not None and tcp.needs_identity)
    return of_static or any(servers.needs_identity for servers in _towards_servers(config))


def _says_anything(transport: NamedServers) -> bool:
    return bool(transport.root_cas or transport.certificates or transport.server_tls() != ServerTls())


def files_of(config: DynamicConfig) -> list[Path]:
    """The files that `settle` reads."""
    texts = []
    for certificate in _certificates(config.tls):
        texts += [certificate.cert_file, certificate.key_file]
    for options in config.tls.options.values():
        texts += options.client_auth.ca_files
    for servers in _towards_servers(config):
        texts += servers.root_cas
        texts += servers.spiffe.trust_bundles.values() if servers.spiffe is not None else []
        for pair in servers.certificates:
            texts += [pair.cert_file, pair.key_file]
    return [Path(text) for text in dict.fromkeys(texts) if text and PEM not in text]


def with_fallback(
    dynamic: DynamicConfig, static: StaticConfig, fallback: Certificate | None, known: DynamicConfig | None = None
) -> DynamicConfig:
    """Add a default certificate, if clients use TLS and none is configured.

    fallback  the one that was generated earlier; None: generate one.
    known     a configuration of which it is known that no router serves TLS.
    """
    store = dynamic.tls.stores.get(DEFAULT)
    if (store is not None and store.default_certificate is not None) or not speaks_tls(dynamic, static, known):
        return dynamic
    tls = dynamic.tls.model_copy(update={"generated": fallback or made()})
    return dynamic.model_copy(update={"tls": tls})


def speaks_tls(dynamic: DynamicConfig, static: StaticConfig, known: DynamicConfig | None = None) -> bool:
    """Whether any router serves TLS. `known`: a configuration of which it is known that none does."""
    routers = dynamic.http.routers
    names, _ = ([*routers], []) if known is None else changed_names(known.http.routers, routers)
    return (
        any(routers[name].tls is not None for name in names)
        or any(router.tls is not None for router in dynamic.tcp.routers.values())
        or any(point.http.tls is not None for point in static.entry_points.values())
    )


def library_name() -> str:
    """Version and origin of the TLS library."""
    from lbcore.tls.openssl import library

    return f"{library.version} ({library.origin})"


def made() -> Certificate:
    """A new self-signed certificate. Raises ConfigError if OpenSSL is missing."""
    try:
        from lbcore.tls.certificate import self_signed
    except ImportError as error:
        raise ConfigError([Problem("tls", str(error))]) from error
    certificate, key = self_signed()
    return Certificate(certificate_text=certificate, key_text=key)


def _certificates(tls: TlsConfig) -> Iterator[Certificate]:
    yield from tls.certificates
    yield from (store.default_certificate for store in tls.stores.values() if store.default_certificate is not None)


def _towards_servers(config: DynamicConfig) -> Iterator[NamedServers]:
    yield from config.http.servers_transports.values()
    yield from (tcp.tls for tcp in config.tcp.servers_transports.values() if tcp.tls is not None)
    yield from (middleware.upstream_tls.servers for middleware in config.http.middlewares.values())


class _Settler:
    def __init__(self, before: DynamicConfig) -> None:
        self.before = before.tls
        self.http_before = before.http.servers_transports
        self.tcp_before = before.tcp.servers_transports
        self.middlewares_before = before.http.middlewares
        self.problems: list[Problem] = []

    def settled(self, config: DynamicConfig) -> DynamicConfig:
        http = {name: self.http_transport(name, thing) for name, thing in config.http.servers_transports.items()}
        tcp = {name: self.tcp_transport(name, thing) for name, thing in config.tcp.servers_transports.items()}
        parts: dict[str, Model] = {"tls": self.tls(config.tls)}
        middlewares = {name: self.middleware(name, thing) for name, thing in config.http.middlewares.items()}
        if http or middlewares:
            parts["http"] = config.http.model_copy(update={"servers_transports": http, "middlewares": middlewares})
        if tcp:
            parts["tcp"] = config.tcp.model_copy(update={"servers_transports": tcp})
        return config.model_copy(update=parts)

    def http_transport(self, name: str, transport: ServersTransport) -> ServersTransport:
        if transport.faults or not _says_anything(transport):
            return transport
        found = self.servers(f"http.serversTransports.{name}", transport, transport, self.http_before.get(name))
        return transport.model_copy(update={"faults": (found,)}) if isinstance(found, str) else found

    def middleware(self, name: str, middleware: Middleware) -> Middleware:
        """The middleware, with the contents of the files for the server that it asks."""
        tls, way = middleware.upstream_tls, middleware.tls_way
        if middleware.faults or len(middleware.kinds) != 1 or not way:
            return middleware
        known = self.middlewares_before.get(name)
        before = known.upstream_tls.settled if known is not None else None
        found = self.servers(f"http.middlewares.{name}", middleware, tls.servers, before)
        if isinstance(found, str):
            return middleware.model_copy(update={"faults": (found,)})
        section: Model = middleware.at(way).model_copy(update={"tls": tls.model_copy(update={"settled": found})})
        for above, name in ((way[:depth], way[depth]) for depth in reversed(range(len(way)))):
            section = middleware.at(above).model_copy(update={name: section})
        return cast(Middleware, section)

    def tcp_transport(self, name: str, transport: TcpServersTransport) -> TcpServersTransport:
        if transport.faults or transport.tls is None:
            return transport
        before = self.tcp_before.get(name)
        known = before.tls if before is not None else None
        found = self.servers(f"tcp.serversTransports.{name}.tls", transport, transport.tls, known)
        return transport.model_copy(update={"faults": (found,)} if isinstance(found, str) else {"tls": found})

    def servers(self, path: str, owner: Object, servers: S, before: S | None) -> S | str:
        """The transport with the contents of its files, present or previous; or the reason why it cannot be used."""
        from lbcore.tls.connector import Connector

        try:
            pairs = [
                pair.model_copy(
                    update={
                        "certificate_text": _text("certFile", pair.cert_file),
                        "key_text": _text("keyFile", pair.key_file),
                    }
                )
                for pair in servers.certificates
            ]
            authorities = tuple(_text("rootCAs", text) for text in servers.root_cas)
            update = {"authorities": authorities, "certificates": pairs, "spiffe": _read_bundles(servers.spiffe)}
            read = servers.model_copy(update=update)
            Connector(read.server_tls())
        except ValueError as error:
            kept = None if before is None else _with_texts(servers, before)
            if kept is not None:
                try:
                    Connector(kept.server_tls())
                except ValueError:
                    kept = None
            if kept is None:
                return str(error)  # which is said of the object, as what disables it
            self.say(path, owner, f"{error}: what was read before stays")
            return kept
        for pair in servers.certificates:
            if _is_open(pair.key_file):
                self.say(path, owner, f"{pair.key_file}: all users of the system may read this key", "warning")
        return read

    def tls(self, tls: TlsConfig) -> TlsConfig:
        certificates = []
        for index, certificate in enumerate(tls.certificates):
            if others := [name for name in certificate.stores if name != DEFAULT]:
                text = f"the stores {', '.join(others)} have no effect: there is the default store only"
                self.say(f"tls.certificates[{index}]", certificate, text, "warning")
            certificates.append(self.certificate(f"tls.certificates[{index}]", certificate, certificate) or certificate)
        stores = {name: self.store(name, store) for name, store in tls.stores.items()}
        options = {name: self.options(name, thing) for name, thing in tls.options.items()}
        return tls.model_copy(update={"certificates": certificates, "stores": stores, "options": options})

    def say(self, path: str, owner: Object, text: str, severity: Severity = "disabled") -> None:
        file, number = split_place(owner.place)
        self.problems.append(Problem(path, text, "", file or owner.place, number, severity, path, number))

    def store(self, name: str, store: Store) -> Store:
        path = f"tls.stores.{name}"
        if name != DEFAULT:
            self.say(path, store, "has no effect: there is the default store only", "warning")
        if store.default_certificate is None:
            return store
        if store.faults and not (store.default_certificate.cert_file and store.default_certificate.key_file):
            return store.model_copy(update={"default_certificate": None})  # reported when the configuration was read
        found = self.certificate(f"{path}.defaultCertificate", store.default_certificate, store)
        return store.model_copy(update={"default_certificate": found})

    def certificate(self, path: str, certificate: Certificate, owner: Object) -> Certificate | None:
        from lbcore.tls.pairs import pair_of

        if certificate.faults:
            return None  # reported when the configuration was read
        try:
            text, key = (
                _text("certFile", certificate.cert_file),
                _text("keyFile", certificate.key_file),
            )
            try:
                pair = pair_of(text, key)
            except ValueError as error:
                raise ValueError(f"{_named(certificate.cert_file)}: {error}") from None
        except ValueError as error:
            kept = self.known(certificate)
            if kept is not None:
                left = _left(pair_of(kept.certificate_text, kept.key_text))
                error = ValueError(f"{error}: the certificate that was read before stays, which {left}")
            self.say(path, owner, str(error))
            return kept
        if pair.days_left < SOON_DAYS:
            self.say(path, owner, f"{_named(certificate.cert_file)}: the certificate {_left(pair)}", "warning")
        if _is_open(certificate.key_file):
            self.say(path, owner, f"{certificate.key_file}: all users of the system may read this key", "warning")
        return certificate.model_copy(update={"certificate_text": text, "key_text": key})

    def known(self, certificate: Certificate) -> Certificate | None:
        """The certificate that was read earlier under the same names, or None."""
        for known in _certificates(self.before):
            if (known.cert_file, known.key_file) == (certificate.cert_file, certificate.key_file) and known.key_text:
                texts = {"certificate_text": known.certificate_text, "key_text": known.key_text}
                return certificate.model_copy(update=texts)
        return None

    def options(self, name: str, options: TlsOptions) -> TlsOptions:
        from lbcore.tls.option_set import OptionSet

        if options.faults:
            return options
        before = self.before.options.get(name)
        try:
            texts = tuple(_text("caFiles", text) for text in options.client_auth.ca_files)
            OptionSet(name, options, tuple(text.encode() for text in texts))
        except ValueError as error:
            reason = str(error)
            if before is not None and not before.faults and before.client_auth.ca_files == options.client_auth.ca_files:
                kept = options.model_copy(update={"authorities": before.authorities})
                try:
                    OptionSet(name, kept, tuple(text.encode() for text in before.authorities))
                except ValueError:
                    pass
                else:
                    self.say(f"tls.options.{name}", options, f"{reason}: what was read before stays")
                    return kept
            self.say(f"tls.options.{name}", options, reason)
            return options.model_copy(update={"faults": (reason,)})
        return options.model_copy(update={"authorities": texts})


def _with_texts(servers: S, before: S) -> S | None:
    """The transport with the texts that were read earlier; None if its files have other names."""

    def names(of: NamedServers) -> tuple[object, ...]:
        bundles = of.spiffe.trust_bundles if of.spiffe is not None else None
        return of.root_cas, [(pair.cert_file, pair.key_file) for pair in of.certificates], bundles

    if names(servers) != names(before):
        return None
    update: dict[str, object] = {"authorities": before.authorities, "certificates": before.certificates}
    if servers.spiffe is not None and before.spiffe is not None:
        update["spiffe"] = servers.spiffe.model_copy(update={"bundles": before.spiffe.bundles})
    return servers.model_copy(update=update)


def _read_bundles(spiffe: Spiffe | None) -> Spiffe | None:
    """With the contents of the files of its trust bundles, as PEM. Raises ValueError."""
    if spiffe is None or not spiffe.trust_bundles:
        return spiffe
    bundles = []
    for domain, file in sorted(spiffe.trust_bundles.items()):
        text = _text(f"trustBundles.{domain}", file)
        bundles.append((domain, text if PEM in text else _bundle_text(f"trustBundles.{domain}", file, text)))
    return spiffe.model_copy(update={"bundles": tuple(bundles)})


def _bundle_text(key: str, file: str, text: str) -> str:
    """The authorities for X.509 in a trust bundle in the format of SPIFFE, as PEM. Raises ValueError."""
    try:
        keys = read_json(text)["keys"]
        found = [str(each["x5c"][0]) for each in keys if each.get("use") == "x509-svid"]
        ders = [base64.b64decode(each, validate=True) for each in found]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise ValueError(f"{key}: {_named(file)} is no trust bundle: neither PEM nor the JSON of SPIFFE") from None
    if not ders:
        raise ValueError(f"{key}: {_named(file)} has no authority with \"use\": \"x509-svid\"")
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in ders)


def _named(text: str) -> str:
    """The name of a file for messages. Other texts are not shown: they may be keys."""
    return "the text" if PEM in text or "\n" in text or len(text) > LONGEST_NAME else text


def _left(pair: Pair) -> str:
    """How long a certificate lasts, for users."""
    return f"ends in {pair.days_left} days" if pair.days_left >= 0 else "has expired"


def _text(key: str, text: str) -> str:
    """The PEM text itself, or the contents of the named file. Raises ValueError."""
    if not text:
        raise ValueError(f"{key} is missing")
    if PEM in text:
        return text
    try:
        return read_regular(text, FILE_LIMIT_BYTES).data.decode("latin-1")
    except OSError as error:
        reason = (error.strerror or "it is none").lower()
        raise ValueError(f"{key}: {_named(text)} cannot be read: {reason}") from None


def _is_open(text: str) -> bool:
    try:
        return PEM not in text and bool(os.stat(text).st_mode & stat.S_IROTH)
    except OSError:
        return False
