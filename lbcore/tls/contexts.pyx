"""TLS for connections from clients: certificates by name, sets of options, and the choice among them.

The server name of the client (SNI) selects the certificate: an exact match, a wildcard, or the default. A name may have
certificates with several kinds of keys: the client gets the cheapest one that it can verify. The host selects the options.

Callbacks of OpenSSL run inside its calls, on the calling thread, with the GIL. They find their Handshake in the SSL's ex data,
as a borrowed reference: the Handshake owns the SSL.
"""

cimport cython
from libc.string cimport memcmp, memcpy

import base64
import hashlib
import ipaddress

from lbcore.http2.library import is_available as http2_is_available
from lbcore.tls.openssl cimport *
from lbcore.tls.tickets cimport KEY_BYTES, KEY_NAME_BYTES, TicketKeys

from lbcore.tls.openssl import library

cdef enum:
    VERIFY_PEER = 1
    VERIFY_REQUIRED = 2
    NID_COMMON_NAME = 13
    NID_ALT_NAME = 85
    NAME_DNS = 2               # GEN_DNS
    NAME_ADDRESS = 7           # GEN_IPADD
    SUBJECT_STYLE = 0x1110317  # XN_FLAG_RFC2253
    STORE_PARTIAL_CHAIN = 0x80000
    ALERT_INTERNAL = 80
    ALERT_UNRECOGNISED_NAME = 112
    MAX_NAME_BYTES = 255
    EXTENSION_ALPN = 16
    NO_STAPLE = 3              # SSL_TLSEXT_ERR_NOACK
    UTF8 = 0x1000              # MBSTRING_UTF8

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
CURVES = {"CurveP256": "P-256", "CurveP384": "P-384", "CurveP521": "P-521", "X25519": "X25519",
          "X25519MLKEM768": "X25519MLKEM768"}
SAME_CIPHERS = {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"}
VERIFIED = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
HYBRID_SINCE = 0x30500000
CHALLENGE_PROTOCOL = b"acme-tls/1"     # of tls-alpn-01, RFC 8737
HTTP_3 = b"h3"

# Where an SSL keeps its Handshake. The first place, 0, is that of ngtcp2, if the SSL is for QUIC.
cdef int OWN_DATA = CRYPTO_get_ex_new_index(0, 0, NULL, NULL, NULL, NULL)
if OWN_DATA <= 0:
    raise ImportError("OpenSSL keeps no data of ours")

cdef void* TICKET_CIPHER = EVP_CIPHER_fetch(NULL, b"AES-256-CBC", NULL)


# Certificates and keys from text

cdef int no_password(char* into, int size, int writing, void* data) noexcept:
    """Give no password: a key with a password is refused."""
    return -1


cdef list certificates_in(bytes text):
    """Addresses (X509) of all certificates in a PEM text; the caller frees each. Raises ValueError."""
    cdef void* source = BIO_new_mem_buf(<const char*>text, <int>len(text))
    cdef void* certificate
    found = []
    if source == NULL:
        raise MemoryError
    while True:
        certificate = PEM_read_bio_X509(source, NULL, NULL, NULL)
        if certificate == NULL:
            break
        found.append(<size_t>certificate)
    BIO_free(source)
    ERR_clear_error()
    if len(found) != text.count(b"-----BEGIN CERTIFICATE-----") + text.count(b"-----BEGIN TRUSTED CERTIFICATE-----") or not found:
        for address in found:
            X509_free(<void*><size_t>address)
        raise ValueError("is no certificate in PEM form" if b"-----BEGIN" not in text else "holds a certificate that cannot be read")
    return found


cdef tuple names_of(void* certificate):
    """DNS names of a certificate, in lower case, and its addresses as text: the alternative names, and the common name."""
    cdef char common[256]
    cdef void* names
    cdef void* name
    cdef int i, kind = 0, length
    cdef void* value
    found = []
    names = X509_get_ext_d2i(certificate, NID_ALT_NAME, NULL, NULL)
    if names != NULL:
        for i in range(OPENSSL_sk_num(names)):
            value = GENERAL_NAME_get0_value(OPENSSL_sk_value(names, i), &kind)
            if kind == NAME_DNS:
                found.append((<const char*>ASN1_STRING_get0_data(value))[:ASN1_STRING_length(value)].lower())
            elif kind == NAME_ADDRESS and ASN1_STRING_length(value) in (4, 16):
                packed = (<const char*>ASN1_STRING_get0_data(value))[:ASN1_STRING_length(value)]
                found.append(str(ipaddress.ip_address(packed)).encode())
        GENERAL_NAMES_free(names)
    name = X509_get_subject_name(certificate)
    length = X509_NAME_get_text_by_NID(name, NID_COMMON_NAME, common, sizeof(common))
    if length > 0:
        found.append(common[:length].lower())
    ERR_clear_error()
    return tuple(dict.fromkeys(found))


def is_address(name: bytes) -> bool:
    try:
        ipaddress.ip_address(name.decode("latin-1"))
    except ValueError:
        return False
    return True


@cython.final
cdef class Pair:
    """A certificate with its key, from PEM. Raises ValueError, whose text never contains the key."""

    def __cinit__(self, bytes certificate, bytes key):
        cdef void* source
        cdef int days = 0, seconds = 0
        addresses = certificates_in(certificate)
        self.certificate = <void*><size_t>addresses[0]
        if len(addresses) > 1:
            self.chain = OPENSSL_sk_new_null()
            for address in addresses[1:]:
                OPENSSL_sk_push(self.chain, <void*><size_t>address)
        source = BIO_new_mem_buf(<const char*>key, <int>len(key))
        if source == NULL:
            raise MemoryError
        self.key = PEM_read_bio_PrivateKey(source, NULL, no_password, NULL)
        BIO_free(source)
        ERR_clear_error()
        if self.key == NULL:
            raise ValueError("the key is encrypted: lbcore has no password" if b"ENCRYPTED" in key else "the key cannot be read")
        if X509_check_private_key(self.certificate, self.key) != 1:
            ERR_clear_error()
            raise ValueError("the key is not that of the certificate")
        self.names = names_of(self.certificate)
        self.fingerprint = hashlib.sha256(base64.b64decode(bare(written(self.certificate, False)))).hexdigest()
        self.has_address = any(is_address(name) for name in self.names)
        self.kind = next((kind for kind in ("EC", "RSA", "ED25519", "ED448") if EVP_PKEY_is_a(self.key, kind.encode())), "other")
        if ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(self.certificate)) == 1:
            self.days_left = days if seconds >= 0 else days - 1
        ERR_clear_error()

    def __dealloc__(self):
        cdef int i
        if self.chain != NULL:
            for i in range(OPENSSL_sk_num(self.chain)):
                X509_free(OPENSSL_sk_value(self.chain, i))
            OPENSSL_sk_free(self.chain)
        X509_free(self.certificate)
        EVP_PKEY_free(self.key)

    cdef int use(self, void* ssl) noexcept:
        """Set it as the certificate of a handshake. Returns 1, or 0 if OpenSSL refuses it."""
        return SSL_use_cert_and_key(ssl, self.certificate, self.key, self.chain, 1) == 1


def self_signed() -> tuple:
    """A new self-signed certificate and its key, as PEM: the default for names that have no certificate."""
    cdef void* maker = EVP_PKEY_CTX_new_from_name(NULL, b"EC", NULL)
    cdef void* key = NULL
    cdef void* certificate = X509_new()
    cdef void* name
    cdef void* extension
    cdef ossl_param settings[2]
    cdef unsigned char serial[8]
    settings[0] = ossl_param(b"group", PARAM_UTF8, <void*><const char*>b"P-256", 5, 0)
    settings[1] = ossl_param(NULL, 0, NULL, 0, 0)
    try:
        if maker == NULL or certificate == NULL or EVP_PKEY_keygen_init(maker) != 1 \
                or EVP_PKEY_CTX_set_params(maker, settings) != 1 or EVP_PKEY_generate(maker, &key) != 1 \
                or RAND_bytes(serial, 8) != 1:
            raise RuntimeError(f"cannot make a key: {failure()}")
        serial[7] &= 0x7f
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), int.from_bytes(serial[:8], "little") or 1)
        X509_gmtime_adj(X509_getm_notBefore(certificate), -3600)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 365 * 86400)
        X509_set_pubkey(certificate, key)
        name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, b"CN", UTF8, b"LBCORE DEFAULT CERT", -1, -1, 0)
        X509_set_issuer_name(certificate, name)
        extension = X509V3_EXT_conf_nid(NULL, NULL, NID_ALT_NAME, b"DNS:lbcore.default")
        if extension == NULL or X509_add_ext(certificate, extension, -1) != 1:
            raise RuntimeError(f"cannot make a certificate: {failure()}")
        X509_EXTENSION_free(extension)
        if X509_sign(certificate, key, EVP_sha256()) == 0:
            raise RuntimeError(f"cannot sign a certificate: {failure()}")
        return written(certificate, False), written(key, True)
    finally:
        EVP_PKEY_CTX_free(maker)
        EVP_PKEY_free(key)
        X509_free(certificate)
        ERR_clear_error()


cdef str written(void* thing, bint is_key):
    """As PEM."""
    cdef void* into = BIO_new(BIO_s_mem())
    cdef char* text = NULL
    cdef long length
    try:
        if into == NULL or (PEM_write_bio_PKCS8PrivateKey(into, thing, NULL, NULL, 0, NULL, NULL) if is_key else
                            PEM_write_bio_X509(into, thing)) != 1:
            raise RuntimeError(f"cannot write PEM: {failure()}")
        length = BIO_ctrl(into, BIO_CTRL_INFO, 0, &text)
        return text[:length].decode()
    finally:
        BIO_free(into)


cdef bytes bare(str pem):
    """The base64 of a text in PEM, in one line."""
    return "".join([line for line in pem.splitlines() if not line.startswith("-----")]).encode()


# Options

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
        if name == "X25519MLKEM768" and library.number < HYBRID_SINCE:
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
        cdef bytes text
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
        cdef void* context = SSL_CTX_new(TLS_server_method())
        cdef void* store
        cdef bytes text = ciphers.encode(), suites = SUITES_1_3, signatures = SIGNATURES
        cdef bytes digest
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
        digest = hashlib.sha256(repr((settings.model_dump(mode="json"), tuple(authorities))).encode()).digest()
        SSL_CTX_set_session_id_context(context, digest, 32)
        SSL_CTX_set_verify(context, self.verify, self.verifier())
        store = SSL_CTX_get_cert_store(context)
        X509_STORE_set_flags(store, STORE_PARTIAL_CHAIN)       # a listed certificate is trusted, also if it is not a root
        for authority in authorities:
            self.trust(store, authority)
        SSL_CTX_set_client_hello_cb(context, on_hello, NULL)
        SSL_CTX_set_cert_cb(context, on_certificate, NULL)
        SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket)
        SSL_CTX_callback_ctrl(context, CTRL_STATUS_CALLBACK, on_status)

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


# Who gets what

cdef object looked_up(dict table, bytes name):
    """The entry for a name, or for the wildcard that replaces its first label, or None."""
    cdef object found = table.get(name)
    cdef Py_ssize_t dot
    if found is None and name:
        dot = name.find(b".")
        if dot > 0:
            found = table.get(b"*" + name[dot:])
    return found


@cython.final
cdef class Certificates:
    """`pairs` by name; of several with the same name and kind of key, the one that expires last. `fallback`: for other names."""

    def __cinit__(self, pairs, fallback):
        cdef Pair pair
        chosen = {}
        for pair in pairs:
            for name in pair.names:
                kinds = chosen.setdefault(name, {})
                if pair.kind not in kinds or (<Pair>kinds[pair.kind]).days_left < pair.days_left:
                    kinds[pair.kind] = pair
        self.by_name = {name: tuple(kinds.values()) for name, kinds in chosen.items()}
        self.fallback = tuple(fallback)
        self.has_addresses = any((<Pair>pair).has_address for pair in pairs)

    cdef tuple find(self, bytes name):
        found = looked_up(self.by_name, name)
        return self.fallback if found is None else <tuple>found

    def knows(self, bytes name) -> bool:
        return looked_up(self.by_name, name) is not None


@cython.final
cdef class Acceptor:
    """The TLS settings of an entry point. Immutable, except for `challenges` and `staples`.

    options     for hosts that are not in `hosts`.
    hosts       OptionSet by name.
    challenges  Pair by name, for the validation by tls-alpn-01; its owner changes it.
    staples     OCSP responses by the fingerprint of a certificate; their owner changes them.
    layer_4     bytes are forwarded unread, so ALPN may select any protocol of the options.
    """

    def __cinit__(self, OptionSet options, dict hosts, Certificates certificates, TicketKeys tickets, dict challenges=None,
                  bint layer_4=False, dict staples=None):
        self.layer_4 = layer_4
        self.options = options
        self.hosts = hosts
        self.certificates = certificates
        self.tickets = tickets
        self.challenges = {} if challenges is None else challenges
        self.staples = {} if staples is None else staples

    cdef OptionSet options_of(self, bytes name):
        found = looked_up(self.hosts, name)
        return self.options if found is None else <OptionSet>found


cdef class End:
    """One end of a connection: an SSL of OpenSSL, which it owns."""

    def __cinit__(self):
        self.server_name = b""

    cdef void free(self) noexcept:
        """Safe to call twice."""
        cdef void* ssl = self.ssl
        self.ssl = NULL
        if ssl != NULL:
            SSL_free(ssl)

    def __dealloc__(self):
        cdef void* ssl = self.ssl
        self.ssl = NULL
        if ssl != NULL:
            SSL_free(ssl)

    cdef str check(self):
        """Verify the peer after the handshake. Returns the reason for a refusal, or None."""
        return None

    cdef bytes peer_subject(self):
        """The subject of the peer's certificate, as in RFC 2253; None: it has shown none."""
        cdef void* certificate = SSL_get1_peer_certificate(self.ssl)
        cdef void* into
        cdef char* text = NULL
        cdef long length
        if certificate == NULL:
            return None
        into = BIO_new(BIO_s_mem())
        try:
            if into == NULL or X509_NAME_print_ex(into, X509_get_subject_name(certificate), 0, SUBJECT_STYLE) < 0:
                return b""
            length = BIO_ctrl(into, BIO_CTRL_INFO, 0, &text)
            return text[:length]
        finally:
            BIO_free(into)
            X509_free(certificate)
            ERR_clear_error()

    cdef tuple peer_chain(self):
        """The certificates that the peer has shown, its own first, as the base64 of their DER; empty: none. Of a session that was
        resumed the first one alone is known."""
        cdef void* certificate = SSL_get1_peer_certificate(self.ssl)
        cdef void* chain = SSL_get_peer_cert_chain(self.ssl)       # without the first one; owned by the session
        cdef int i
        cdef list found = []
        if certificate == NULL:
            return ()
        try:
            found.append(bare(written(certificate, False)))
            if chain != NULL:
                for i in range(OPENSSL_sk_num(chain)):
                    found.append(bare(written(OPENSSL_sk_value(chain, i), False)))
        finally:
            X509_free(certificate)
            ERR_clear_error()
        return tuple(found)

    cdef str failure(self):
        """The reason of the last failed call. Empties the queue of errors."""
        cdef long verified = SSL_get_verify_result(self.ssl)
        text = failure()
        if verified == 0 or "verify failed" not in text:
            return text
        return f"{text}: {X509_verify_cert_error_string(verified).decode('ascii', 'replace')}"


@cython.final
cdef class Handshake(End):
    """An End that is connected to a client."""


cdef Handshake accept(Acceptor acceptor, bytes address):
    """Create a Handshake for a client that has not sent its ClientHello yet. Raises MemoryError."""
    cdef Handshake handshake = Handshake.__new__(Handshake)
    handshake.acceptor = acceptor
    handshake.address = address
    handshake.options = acceptor.options
    handshake.ssl = SSL_new(acceptor.options.context)
    if handshake.ssl == NULL:
        ERR_clear_error()
        raise MemoryError
    SSL_set_ex_data(handshake.ssl, OWN_DATA, <void*>handshake)
    SSL_set_accept_state(handshake.ssl)
    return handshake


cdef bytes name_in_hello(void* ssl):
    """The server name in a ClientHello; empty if there is none, or it is invalid."""
    cdef const unsigned char* data
    cdef size_t size
    cdef size_t length
    if SSL_client_hello_get0_ext(ssl, 0, &data, &size) != 1 or size < 5 or data[2] != 0:
        return b""
    length = data[3] << 8 | data[4]
    if length > size - 5 or length > MAX_NAME_BYTES:
        return b""
    return (<const char*>data)[5:5 + length].lower().rstrip(b".")


cdef bint is_challenge(void* ssl):
    """Whether the client offers the protocol of tls-alpn-01, and no other."""
    cdef const unsigned char* data
    cdef size_t size
    cdef size_t length = len(<bytes>CHALLENGE_PROTOCOL)
    if SSL_client_hello_get0_ext(ssl, EXTENSION_ALPN, &data, &size) != 1:
        return False
    return size == length + 3 and data[2] == length and memcmp(data + 3, <const char*><bytes>CHALLENGE_PROTOCOL, length) == 0


cdef int take_challenge(Handshake handshake, Pair challenge) except -1:
    """Answer a challenge with its certificate, whatever the options, and without a session that could be resumed under them."""
    cdef verify_fn none = NULL
    handshake.challenge = challenge
    SSL_set_verify(handshake.ssl, 0, none)
    SSL_set_options(handshake.ssl, OP_NO_TICKET)
    SSL_set_num_tickets(handshake.ssl, 0)
    return 0


cdef int on_hello(void* ssl, int* alert, void* data) noexcept:
    cdef Handshake handshake = <Handshake>SSL_get_ex_data(ssl, OWN_DATA)
    cdef Acceptor acceptor = handshake.acceptor
    try:
        handshake.server_name = name_in_hello(ssl)
        if acceptor.challenges and not handshake.quic and is_challenge(ssl) and handshake.server_name in acceptor.challenges:
            take_challenge(handshake, <Pair?>acceptor.challenges[handshake.server_name])
            return 1
        handshake.options = acceptor.options_of(handshake.server_name)
        handshake.asks_for_certificate = handshake.options.verify != 0
        if handshake.options.strict and looked_up(acceptor.certificates.by_name, handshake.server_name) is None:
            alert[0] = ALERT_UNRECOGNISED_NAME
            return 0
        if (handshake.options is acceptor.options or handshake.options.take_over(ssl)) \
                and (not handshake.quic or SSL_ctrl(ssl, CTRL_MIN_VERSION, TLS_1_3, NULL) == 1):
            return 1
    except Exception:
        pass
    alert[0] = ALERT_INTERNAL
    return 0


cdef int on_certificate(void* ssl, void* data) noexcept:
    cdef Handshake handshake = <Handshake>SSL_get_ex_data(ssl, OWN_DATA)
    cdef int used = 0
    if handshake.challenge is not None:
        return handshake.challenge.use(ssl)
    try:
        for pair in handshake.acceptor.certificates.find(handshake.server_name or handshake.address):
            used |= (<Pair>pair).use(ssl)
    except Exception:
        return 0
    return used


cdef int on_status(void* ssl, void* data) noexcept:
    """The client asks for proof that the certificate is not revoked. Staples the response that is there."""
    cdef Handshake handshake = <Handshake>SSL_get_ex_data(ssl, OWN_DATA)
    cdef dict staples = handshake.acceptor.staples
    cdef void* certificate
    cdef void* copy
    cdef Pair pair
    cdef bytes staple
    if not staples or handshake.challenge is not None:
        return NO_STAPLE
    try:
        certificate = SSL_get_certificate(ssl)
        for pair in handshake.acceptor.certificates.find(handshake.server_name or handshake.address):
            if pair.certificate == certificate:
                staple = staples.get(pair.fingerprint)
                if staple is None:
                    return NO_STAPLE
                copy = CRYPTO_malloc(len(staple), b"", 0)      # of the SSL from the next call on
                if copy == NULL:
                    return NO_STAPLE
                memcpy(copy, <const char*>staple, len(staple))
                SSL_ctrl(ssl, CTRL_OCSP_RESPONSE, len(staple), copy)
                return 0
    except Exception:
        pass
    return NO_STAPLE


cdef int on_protocols(void* ssl, const unsigned char** chosen, unsigned char* chosen_length, const unsigned char* offered,
                      unsigned int length, void* data) noexcept:
    """Select our first protocol that the client offers. Without a common one, the handshake fails, as in Go."""
    cdef Handshake handshake = <Handshake>SSL_get_ex_data(ssl, OWN_DATA)
    cdef unsigned int at
    cdef bytes protocol
    cdef list protocols = handshake.options.protocols
    if handshake.challenge is not None:
        protocols = [CHALLENGE_PROTOCOL]
    elif handshake.quic:
        protocols = [HTTP_3]
    elif handshake.acceptor.layer_4:
        protocols = handshake.options.protocols_of_layer_4
    for protocol in protocols:
        at = 0
        while at + 1 <= length and at + 1 + offered[at] <= length:
            if offered[at] == len(protocol) and memcmp(offered + at + 1, <const char*>protocol, offered[at]) == 0:
                chosen[0] = offered + at + 1
                chosen_length[0] = offered[at]
                return 0
            at += 1 + offered[at]
    return 2                   # SSL_TLSEXT_ERR_ALERT_FATAL


cdef int on_ticket(void* ssl, unsigned char* name, unsigned char* iv, void* cipher, void* mac, int encrypting) noexcept:
    """Set the key for a ticket. Returns 1, 2 (valid, and to be renewed), 0 (unknown key), or -1 (failure)."""
    cdef TicketKeys keys = (<Handshake>SSL_get_ex_data(ssl, OWN_DATA)).acceptor.tickets
    cdef const unsigned char* key
    cdef ossl_param settings[3]
    cdef bint is_newest = True
    if encrypting:
        key = keys.newest()
        memcpy(name, key, KEY_NAME_BYTES)
        if RAND_bytes(iv, 16) != 1 or EVP_EncryptInit_ex(cipher, TICKET_CIPHER, NULL, key + 16, iv) != 1:
            return -1
    else:
        key = keys.named(name, &is_newest)
        if key == NULL:
            return 0
        if EVP_DecryptInit_ex(cipher, TICKET_CIPHER, NULL, key + 16, iv) != 1:
            return -1
    settings[0] = ossl_param(b"key", PARAM_OCTETS, <void*>(key + 48), 32, 0)
    settings[1] = ossl_param(b"digest", PARAM_UTF8, <void*><const char*>b"sha256", 6, 0)
    settings[2] = ossl_param(NULL, 0, NULL, 0, 0)
    if EVP_MAC_CTX_set_params(mac, settings) != 1:
        return -1
    # A client uses a ticket of TLS 1.3 once (RFC 8446 appendix C.4): without another one, its next handshake would be a full one.
    return 1 if is_newest and SSL_version(ssl) < TLS_1_3 else 2
