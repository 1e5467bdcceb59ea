"""Sets of options for connections from clients: versions, suites, curves, protocols, and what is asked of clients."""

cimport cython

import hashlib

from lbcore.http2.library import is_available as http2_is_available
from lbcore.tls.certificate cimport certificates_in
from lbcore.tls.key_schedule cimport new_context
from lbcore.tls.openssl cimport *

from lbcore.tls.openssl import library

cdef enum:
    VERIFY_PEER = 1
    VERIFY_REQUIRED = 2
    STORE_PARTIAL_CHAIN = 0x80000

SUITES_1_3 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
CIPHERS = ":".join(f"ECDHE-{key}-{cipher}" for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
                   for key in ("ECDSA", "RSA"))
OLD_CIPHERS = ":".join(f"ECDHE-{key}-{cipher}" for cipher in ("AES128-SHA", "AES256-SHA") for key in ("ECDSA", "RSA"))
VERSIONS = {"VersionTLS10": 0x0301, "VersionTLS11": 0x0302, "VersionTLS12": 0x0303, "VersionTLS13": 0x0304}
# The cheapest ones first. OpenSSL's own list has twice as many, which it compares with the client's in each handshake.
SIGNATURES = b":".join((
    b"ecdsa_secp256r1_sha256", b"ed25519", b"rsa_pss_rsae_sha256", b"ecdsa_secp384r1_sha384", b"rsa_pss_rsae_sha384",
    b"rsa_pss_rsae_sha512", b"rsa_pss_pss_sha256", b"rsa_pss_pss_sha384", b"rsa_pss_pss_sha512", b"rsa_pkcs1_sha256",
    b"rsa_pkcs1_sha384", b"rsa_pkcs1_sha512", b"ecdsa_secp521r1_sha512", b"ed448"))
# By Go's names, and by those of RFC 8446 section 4.2.7.
CURVES = {"CurveP256": "P-256", "CurveP384": "P-384", "CurveP521": "P-521", "X25519": "X25519",
          "secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "x25519": "X25519"}
HYBRIDS = {name: own for own in ("X25519MLKEM768", "SecP256r1MLKEM768", "SecP384r1MLKEM1024") for name in (own, own.lower())}
CURVES |= HYBRIDS
SAME_CIPHERS = {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"}
VERIFIED = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
HYBRID_SINCE = 0x30500000


cdef int accept_any(int sound, void* store) noexcept:
    """Accept any certificate of a client: the options require one, without naming an authority."""
    return 1


def cipher_list(names, min_version: int) -> str:
    """Translate Go's names of cipher suites into OpenSSL's. The suites of TLS 1.3 are always enabled. Raises ValueError."""
    found = []
    for name in names:
        name = SAME_CIPHERS.get(name, name)
        if not name.startswith("TLS_"):
            raise ValueError(f"invalid CipherSuite: {name}")
        own = (<bytes>OPENSSL_cipher_name(name.encode())).decode()
        if own == "(NONE)":
            raise ValueError(f"invalid CipherSuite: {name}, or {library.version} has none of that name")
        if not own.startswith("TLS_"):
            found.append(own)
    if not names:
        found = [CIPHERS] + ([OLD_CIPHERS] if min_version < TLS_1_2 else [])
    return ":".join(found)


def group_list(names) -> str:
    """Translate Go's names of curves into an OpenSSL list of groups. Raises ValueError."""
    if not names:
        return ("X25519MLKEM768:" if library.number >= HYBRID_SINCE else "") + "X25519:P-256:P-384"
    for name in names:
        if name not in CURVES:
            raise ValueError(f"invalid CurveID in curvePreferences: {name}")
        if name in HYBRIDS and library.number < HYBRID_SINCE:
            raise ValueError(f"curvePreferences: {library.version} has no {name}")
    return ":".join(CURVES[name] for name in names)


def client_groups() -> str:
    """The OpenSSL list of groups that servers are offered. Two have a key share: a server that lacks the first need not ask again,
    which takes a round trip."""
    if library.number >= HYBRID_SINCE:
        return "*X25519MLKEM768:*X25519:P-256:P-384:P-521"
    return f"{group_list(())}:P-521"


@cython.final
cdef class OptionSet:
    """One entry of `tls.options`, with the PEM texts of its certificate authorities. Raises ValueError."""

    def __cinit__(self, str name, settings, authorities=()):
        self.name = name
        self.strict = settings.sni_strict
        self.tickets = not settings.disable_session_tickets
        for key, version in (("minVersion", settings.min_version), ("maxVersion", settings.max_version)):
            if version and version not in VERSIONS:
                raise ValueError(f"{key}: {version!r} has to be one of {', '.join(VERSIONS)}")
        self.min_version = VERSIONS[settings.min_version or "VersionTLS12"]
        self.max_version = VERSIONS[settings.max_version or "VersionTLS13"]
        ciphers = cipher_list(settings.cipher_suites, self.min_version)
        if not ciphers:
            self.min_version = TLS_1_3     # earlier versions have no suite left
        if self.min_version > self.max_version:
            raise ValueError("no version of TLS is left between minVersion and maxVersion")
        self.groups = group_list(settings.curve_preferences).encode()
        wanted = settings.alpn_protocols or ["h2", "http/1.1"]
        unknown = {"acme-tls/1"} if http2_is_available() else {"acme-tls/1", "h2"}
        self.protocols = [protocol.encode() for protocol in wanted if protocol not in unknown]
        if not self.protocols:
            raise ValueError(f"alpnProtocols: {', '.join(wanted)} is not supported by this version of lbcore: add http/1.1")
        wanted = settings.alpn_protocols or ["h2", "http/1.1"]
        self.protocols_of_layer_4 = [protocol.encode() for protocol in wanted if protocol != "acme-tls/1"]
        self.set_client_auth(settings.client_auth, authorities)
        self.make(ciphers, settings, authorities)

    def set_client_auth(self, auth, authorities) -> None:
        kind = auth.client_auth_type or ("RequireAndVerifyClientCert" if authorities else "NoClientCert")
        kinds = {
            "NoClientCert": (0, False),
            "RequestClientCert": (VERIFY_PEER, True),
            "RequireAnyClientCert": (VERIFY_PEER | VERIFY_REQUIRED, True),
            "VerifyClientCertIfGiven": (VERIFY_PEER, False),
            "RequireAndVerifyClientCert": (VERIFY_PEER | VERIFY_REQUIRED, False),
        }
        if kind not in kinds:
            raise ValueError(f'unknown client auth type "{kind}"')
        if kind in VERIFIED and not authorities:
            raise ValueError(f"invalid clientAuthType: {kind}, CAFiles is required")
        self.verify, self.any_certificate = kinds[kind]

    def make(self, str ciphers, settings, authorities) -> None:
        cdef void* context = new_context(TLS_server_method())
        cdef void* store
        cdef bytes text = ciphers.encode(), suites = SUITES_1_3, signatures = SIGNATURES
        if context == NULL:
            raise MemoryError
        self.context = context
        SSL_CTX_set_security_level(context, 0 if self.min_version < TLS_1_2 else 1)
        SSL_CTX_ctrl(context, CTRL_MIN_VERSION, self.min_version, NULL)
        SSL_CTX_ctrl(context, CTRL_MAX_VERSION, self.max_version, NULL)
        # A chain is sent as its file has it, and not completed by authorities that are trusted for clients.
        SSL_CTX_ctrl(context, CTRL_MODE, MODE_PARTIAL_WRITE | MODE_MOVING_BUFFER | MODE_RELEASE_BUFFERS | MODE_NO_AUTO_CHAIN, NULL)
        SSL_CTX_ctrl(context, CTRL_SESSION_CACHE, 0, NULL)
        SSL_CTX_set_options(context, OP_IGNORE_UNEXPECTED_EOF | OP_NO_COMPRESSION | OP_SERVER_PREFERENCE | OP_NO_RENEGOTIATION
                            | (0 if self.tickets else OP_NO_TICKET))
        SSL_CTX_set_num_tickets(context, 1 if self.tickets else 0)
        if text and SSL_CTX_set_cipher_list(context, text) != 1:
            raise ValueError(f"cipherSuites: {failure()}")
        if SSL_CTX_set_ciphersuites(context, suites) != 1:
            raise ValueError(f"cipher suites of TLS 1.3: {failure()}")
        if SSL_CTX_ctrl(context, CTRL_GROUPS, 0, <void*><char*>self.groups) != 1:
            raise ValueError(f"curvePreferences: {failure()}")
        if SSL_CTX_ctrl(context, CTRL_SIGNATURES, 0, <void*><char*>signatures) != 1:
            raise ValueError(f"signature algorithms: {failure()}")
        # A session is resumed only under its own options: one without a client's certificate never where the options require one.
        self.digest = hashlib.sha256(repr((settings.model_dump(mode="json"), tuple(authorities))).encode()).digest()
        SSL_CTX_set_session_id_context(context, self.digest, 32)
        SSL_CTX_set_verify(context, self.verify, self.verifier())
        store = SSL_CTX_get_cert_store(context)
        X509_STORE_set_flags(store, STORE_PARTIAL_CHAIN)       # a listed certificate is trusted, also if it is not a root
        for authority in authorities:
            self.trust(store, authority)

    cdef int trust(self, void* store, bytes authority) except -1:
        try:
            addresses = certificates_in(authority)
        except ValueError as error:
            raise ValueError("clientAuth.caFiles: invalid certificate(s) content") from error
        for address in addresses:
            X509_STORE_add_cert(store, <void*><size_t>address)
            SSL_CTX_add_client_CA(self.context, <void*><size_t>address)
            X509_free(<void*><size_t>address)
        ERR_clear_error()
        return 0

    def __dealloc__(self):
        if self.context != NULL:
            SSL_CTX_free(self.context)         # open connections hold references of their own

    cdef verify_fn verifier(self) noexcept:
        cdef verify_fn none = NULL
        return accept_any if self.any_certificate else none

    cdef int take_over(self, void* ssl) noexcept:
        """Switch a handshake to these options. Returns 1, or 0 on failure.

        SSL_set_SSL_CTX switches the certificates, and the settings that OpenSSL reads from the context. The other settings were
        copied into the SSL when it was created, so they are set here.
        """
        if SSL_set_SSL_CTX(ssl, self.context) == NULL:
            return 0
        SSL_set_verify(ssl, self.verify, self.verifier())
        if self.tickets:
            SSL_clear_options(ssl, OP_NO_TICKET)
        else:
            SSL_set_options(ssl, OP_NO_TICKET)
        return (SSL_ctrl(ssl, CTRL_MIN_VERSION, self.min_version, NULL) == 1
                and SSL_ctrl(ssl, CTRL_MAX_VERSION, self.max_version, NULL) == 1
                and SSL_ctrl(ssl, CTRL_GROUPS, 0, <void*><char*>self.groups) == 1
                and SSL_set_num_tickets(ssl, 1 if self.tickets else 0) == 1)

    cdef bint accepts(self, void* ssl) noexcept:
        """Whether a handshake with these options would accept what the client has shown in one with others: its certificate, or none.

        Of a session that was resumed, certificates between the client's own and the authority are not known: these count as missing.
        """
        cdef void* certificate
        cdef bint accepted
        if not self.verify:
            return True
        certificate = SSL_get1_peer_certificate(ssl)
        if certificate == NULL:
            return not self.verify & VERIFY_REQUIRED
        accepted = self.any_certificate or self.vouches(certificate, SSL_get_peer_cert_chain(ssl))
        X509_free(certificate)
        ERR_clear_error()
        return accepted

    cdef bint vouches(self, void* certificate, void* chain) noexcept:
        """Whether the authorities of these options vouch for a client's certificate. chain: further ones that it has shown, or NULL."""
        cdef void* check = X509_STORE_CTX_new()
        cdef bint found = False
        if check == NULL:
            return False
        if X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(self.context), certificate, chain) == 1 \
                and X509_STORE_CTX_set_default(check, b"ssl_client") == 1:
            # As in a handshake: neither weak keys nor weak signatures do.
            X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(check), SSL_CTX_get_security_level(self.context))
            found = X509_verify_cert(check) == 1
        X509_STORE_CTX_free(check)
        return found
