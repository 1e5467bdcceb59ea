"""TLS for connections to servers.

A Connector holds settings: trusted authorities, client certificates, versions, suites. A Target is one server: its name, and its
most recent session, which the next connection resumes. A session proves that its server was verified under the settings of that
connection; therefore other settings are another Connector, with Targets of their own.

A handshake verifies the chain up to a trusted authority, and the name: only among the alternative names, as in Go. With SPIFFE, it
verifies an identity in place of the name: the chain has to end at an authority of the identity's own trust domain.
"""

cimport cython
from libc.stdint cimport uint32_t

import ipaddress

from lbcore.tls.certificate cimport Pair, certificates_in, written
from lbcore.tls.end cimport End
from lbcore.tls.key_schedule cimport new_context
from lbcore.tls.openssl cimport *

from lbcore.config.spiffe import domain_of
from lbcore.tls.authorities import system_places
from lbcore.tls.option_set import CIPHERS, OLD_CIPHERS, SUITES_1_3, VERSIONS, cipher_list, client_groups

cdef enum:
    VERIFY_PEER = 1
    SESSION_CACHE_CLIENT = 0x0001
    SESSION_NO_INTERNAL = 0x0300
    STORE_PARTIAL_CHAIN = 0x80000
    NO_PARTIAL_WILDCARDS = 0x4
    NEVER_CHECK_SUBJECT = 0x20
    NID_ALT_NAME = 85
    NAME_URI = 6               # GEN_URI
    IS_AUTHORITY = 0x10        # EXFLAG_CA
    HAS_KEY_USAGE = 0x2        # EXFLAG_KUSAGE
    SIGNS_OTHERS = 0x04 | 0x02 # KU_KEY_CERT_SIGN, KU_CRL_SIGN

cdef class Store:
    """X509_STORE with the authorities that the system trusts. Created once, at the first use."""
    cdef void* store

    def __cinit__(self):
        self.store = X509_STORE_new()
        if self.store == NULL:
            raise MemoryError
        files, folders = system_places()
        for path in files:
            X509_STORE_load_file(self.store, path.encode())
        for path in folders:
            X509_STORE_load_path(self.store, path.encode())
        X509_STORE_set_flags(self.store, STORE_PARTIAL_CHAIN)
        ERR_clear_error()

    def __dealloc__(self):
        if self.store != NULL:
            X509_STORE_free(self.store)


cdef Store of_system = None


@cython.final
cdef class Connector:
    """Made from a `config.tls.ServerTls`. Immutable. Raises ValueError for settings that cannot be used."""

    def __cinit__(self, settings):
        self.settings = settings
        self.peer_uri = settings.peer_cert_uri.lower()
        self.spiffe = settings.spiffe
        self.verifies = not settings.insecure_skip_verify and self.spiffe is None
        self.context = new_context(TLS_client_method())
        if self.context == NULL:
            raise MemoryError
        self.set_versions(settings)
        self.set_trust(settings.authorities)
        for certificate, key in reversed(settings.pairs):      # OpenSSL keeps the last of each kind: the first in the list wins
            if not use_pair(self.context, Pair(certificate.encode(), key.encode())):
                raise ValueError(f"certificates: {failure()}")

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)         # open connections hold references of their own

    def set_versions(self, settings) -> None:
        cdef void* context = self.context
        cdef bytes suites = SUITES_1_3, groups = client_groups().encode(), text
        for key, version in (("minVersion", settings.min_version), ("maxVersion", settings.max_version)):
            if version and version not in VERSIONS:
                raise ValueError(f"{key}: {version!r} has to be one of {', '.join(VERSIONS)}")
        lowest = VERSIONS[settings.min_version or "VersionTLS12"]
        highest = VERSIONS[settings.max_version or "VersionTLS13"]
        if not settings.min_version:
            lowest = min(lowest, highest)
        ciphers = cipher_list(settings.cipher_suites, lowest)
        if not settings.cipher_suites:
            ciphers = f"{CIPHERS}:{OLD_CIPHERS}"
        if not ciphers:
            lowest = TLS_1_3                   # earlier versions have no suite left
        if lowest > highest:
            raise ValueError("no version of TLS is left between minVersion and maxVersion")
        SSL_CTX_set_security_level(context, 0 if lowest < TLS_1_2 else 1)
        SSL_CTX_ctrl(context, CTRL_MIN_VERSION, lowest, NULL)
        SSL_CTX_ctrl(context, CTRL_MAX_VERSION, highest, NULL)
        SSL_CTX_ctrl(context, CTRL_MODE, MODE_PARTIAL_WRITE | MODE_MOVING_BUFFER | MODE_RELEASE_BUFFERS, NULL)
        # An end without close_notify may be forged: a body that lasts until the end of the connection is then incomplete.
        SSL_CTX_set_options(context, OP_NO_COMPRESSION | OP_NO_RENEGOTIATION)
        text = ciphers.encode()
        if ciphers and SSL_CTX_set_cipher_list(context, text) != 1:
            raise ValueError(f"cipherSuites: {failure()}")
        if SSL_CTX_set_ciphersuites(context, suites) != 1 or SSL_CTX_ctrl(context, CTRL_GROUPS, 0, <void*><char*>groups) != 1:
            raise ValueError(failure())
        if self.spiffe is None:                # the chain of a resumed session is unknown, and identities live for minutes
            SSL_CTX_ctrl(context, CTRL_SESSION_CACHE, SESSION_CACHE_CLIENT | SESSION_NO_INTERNAL, NULL)
            SSL_CTX_sess_set_new_cb(context, on_session)

    def set_trust(self, authorities) -> None:
        global of_system
        cdef void* store
        cdef verify_fn none = NULL
        cdef bint verifies = self.verifies or self.peer_uri or self.spiffe is not None
        SSL_CTX_set_verify(self.context, VERIFY_PEER if verifies else 0, none)
        if not verifies:
            return
        if self.spiffe is not None:
            self.set_bundles()
        elif not authorities:
            if of_system is None:
                of_system = Store()
            SSL_CTX_set1_cert_store(self.context, of_system.store)
            return
        store = SSL_CTX_get_cert_store(self.context)
        X509_STORE_set_flags(store, STORE_PARTIAL_CHAIN)       # a listed certificate is trusted, also if it is not a root
        for authority in authorities:
            try:
                addresses = certificates_in(authority.encode())
            except ValueError as error:
                raise ValueError(f"{'rootCAs' if self.spiffe is None else 'trust bundle'}: {error}") from None
            for address in addresses:
                X509_STORE_add_cert(store, <void*><size_t>address)
                X509_free(<void*><size_t>address)
        ERR_clear_error()


    def set_bundles(self) -> None:
        self.roots = {}
        for domain, text in self.spiffe.bundles:
            try:
                addresses = certificates_in(text.encode())
            except ValueError as error:
                raise ValueError(f"trust bundle of {domain}: {error}") from None
            found = self.roots.setdefault(domain, set())
            for address in addresses:
                found.add(written(<void*><size_t>address, False))
                X509_free(<void*><size_t>address)


cdef bint use_pair(void* context, Pair pair) noexcept:
    return SSL_CTX_use_cert_and_key(context, pair.certificate, pair.key, pair.chain, 1) == 1


cdef int on_session(void* ssl, void* session) noexcept:
    """A server issued a session. Returns 1: the Target keeps it, together with the reference."""
    cdef End end = <End>SSL_get_ex_data(ssl, 0)
    (<Dialled>end).target.keep(session)
    return 1


@cython.final
cdef class Target:
    """A server to which a Connector connects. `host`: the host of its URL. Raises ValueError if it cannot be a name."""

    def __cinit__(self, Connector connector, str host):
        name = (connector.settings.server_name or host).partition("%")[0]
        self.connector = connector
        self.host = host
        try:
            ipaddress.ip_address(name)
            self.is_address = True
            self.name = name.encode()
        except ValueError:
            try:
                self.name = name.encode() if name.isascii() else name.encode("idna")
            except UnicodeError:
                raise ValueError(f"{name!r} is no name for TLS") from None

    def __dealloc__(self):
        if self.session != NULL:
            SSL_SESSION_free(self.session)

    cdef void keep(self, void* session) noexcept:
        """Store the session that the next connection resumes. Takes over the reference."""
        if self.session != NULL:
            SSL_SESSION_free(self.session)
        self.session = session


@cython.final
cdef class Dialled(End):
    """An End that is connected to a server."""

    cdef str check(self):
        cdef void* certificate
        if not self.target.connector.peer_uri and self.target.connector.spiffe is None:
            return None
        certificate = SSL_get1_peer_certificate(self.ssl)
        if certificate == NULL:
            return "the server has no certificate"
        try:
            if self.target.connector.spiffe is not None:
                return self.check_identity(certificate)
            if self.target.connector.peer_uri in [uri.lower() for uri in uris_of(certificate)]:
                return None
            return "the server's certificate does not name the URI of peerCertURI"
        finally:
            X509_free(certificate)

    cdef str check_identity(self, void* certificate):
        """Why a verified certificate is not that of a trusted identity (X509-SVID, section 5.2); None: it is."""
        cdef Connector connector = self.target.connector
        cdef void* chain = SSL_get0_verified_chain(self.ssl)       # owned by the SSL
        cdef uint32_t flags = X509_get_extension_flags(certificate)
        uris = uris_of(certificate)
        if len(uris) != 1:
            return "the server's certificate has not one URI, its SPIFFE ID"
        try:
            domain = domain_of(uris[0])
        except ValueError:
            return "the URI of the server's certificate is no SPIFFE ID"
        if flags & IS_AUTHORITY or (flags & HAS_KEY_USAGE and X509_get_key_usage(certificate) & SIGNS_OTHERS):
            return "the server's certificate is that of an authority"
        if chain == NULL or OPENSSL_sk_num(chain) < 1 or written(
                OPENSSL_sk_value(chain, OPENSSL_sk_num(chain) - 1), False) not in connector.roots.get(domain, ()):
            return f"the server's identity is not vouched for by the trust bundle of {domain}"
        if connector.spiffe.ids:
            trusted = uris[0] in connector.spiffe.ids
        else:
            trusted = connector.spiffe.domain in ("", domain)
        return None if trusted else f"the server is {uris[0]}, which is not trusted"


cdef list uris_of(void* certificate):
    """URIs among the alternative names of a certificate."""
    cdef void* names = X509_get_ext_d2i(certificate, NID_ALT_NAME, NULL, NULL)
    cdef void* value
    cdef int i, kind = 0
    found = []
    if names != NULL:
        for i in range(OPENSSL_sk_num(names)):
            value = GENERAL_NAME_get0_value(OPENSSL_sk_value(names, i), &kind)
            if kind == NAME_URI:
                text = (<const char*>ASN1_STRING_get0_data(value))[:ASN1_STRING_length(value)]
                found.append(text.decode("latin-1"))
        GENERAL_NAMES_free(names)
    ERR_clear_error()
    return found


cdef Dialled connect(Target target, bytes protocols):
    """Create an End that has not sent its ClientHello yet. `protocols`: the ALPN offer in wire format, or None. Raises MemoryError."""
    cdef Dialled end = Dialled.__new__(Dialled)
    cdef Connector connector = target.connector
    cdef bint fine = True
    end.target = target
    end.ssl = SSL_new(connector.context)
    if end.ssl == NULL:
        ERR_clear_error()
        raise MemoryError
    SSL_set_ex_data(end.ssl, 0, <void*>end)
    SSL_set_connect_state(end.ssl)
    if not target.is_address:
        fine = SSL_ctrl(end.ssl, CTRL_HOST_NAME, 0, <void*><char*>target.name) == 1
    if connector.verifies:
        SSL_set_hostflags(end.ssl, NO_PARTIAL_WILDCARDS | NEVER_CHECK_SUBJECT)
        if target.is_address:
            fine = fine and X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(end.ssl), target.name) == 1
        else:
            fine = fine and SSL_set1_host(end.ssl, target.name) == 1
    if protocols is not None:
        fine = fine and SSL_set_alpn_protos(end.ssl, <const unsigned char*><const char*>protocols, len(protocols)) == 0
    if target.session != NULL:
        SSL_set_session(end.ssl, target.session)
    ERR_clear_error()
    if not fine:
        raise MemoryError                      # these calls have no other reason to fail
    return end
