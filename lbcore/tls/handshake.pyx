"""Handshakes with clients: the choice of certificates and options by the name that a client asks for.

The server name of the client (SNI) selects the certificate: an exact match, a wildcard, or the default. A name may have
certificates with several kinds of keys: the client gets the cheapest one that it can verify. The host selects the options.

Callbacks of OpenSSL run inside its calls, on the calling thread, with the GIL. They find their Handshake in the SSL's ex data,
as a borrowed reference: the Handshake owns the SSL.
"""

cimport cython
from libc.string cimport memcmp, memcpy

from lbcore.tls.certificate cimport Pair
from lbcore.tls.end cimport End
from lbcore.tls.openssl cimport *
from lbcore.tls.option_set cimport OptionSet
from lbcore.tls.tickets cimport KEY_NAME_BYTES, TicketKeys

cdef enum:
    ALERT_INTERNAL = 80
    ALERT_UNRECOGNISED_NAME = 112
    MAX_NAME_BYTES = 255
    EXTENSION_ALPN = 16
    NO_STAPLE = 3              # SSL_TLSEXT_ERR_NOACK

REFUSED = object()         # in place of the options of a host: there is no handshake
CHALLENGE_PROTOCOL = b"acme-tls/1"     # of tls-alpn-01, RFC 8737
HTTP_1, HTTP_2, HTTP_3 = b"http/1.1", b"h2", b"h3"

# Where an SSL keeps its Handshake. The first place, 0, is that of ngtcp2, if the SSL is for QUIC.
cdef int OWN_DATA = CRYPTO_get_ex_new_index(0, 0, NULL, NULL, NULL, NULL)
if OWN_DATA <= 0:
    raise ImportError("OpenSSL keeps no data of ours")

cdef void* TICKET_CIPHER = EVP_CIPHER_fetch(NULL, b"AES-256-CBC", NULL)


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
    hosts       OptionSet by name, or REFUSED.
    challenges  Pair by name, for the validation by tls-alpn-01; its owner changes it.
    staples     OCSP responses by the fingerprint of a certificate; their owner changes them.
    layer_4     bytes are forwarded unread, so ALPN may select any protocol of the options.
    refuses     there are no handshakes but those of challenges.
    """

    def __cinit__(self, OptionSet options, dict hosts, Certificates certificates, TicketKeys tickets, dict challenges=None,
                  bint layer_4=False, dict staples=None, bint refuses=False):
        self.layer_4 = layer_4
        self.refuses = refuses
        set_callbacks(options)
        for each in hosts.values():
            if each is not REFUSED:
                set_callbacks(<OptionSet?>each)
        self.options = options
        self.hosts = hosts
        self.certificates = certificates
        self.tickets = tickets
        self.challenges = {} if challenges is None else challenges
        self.staples = {} if staples is None else staples

    cdef OptionSet options_of(self, bytes name):
        """The options for a name. None: there is no handshake."""
        found = looked_up(self.hosts, name)
        if self.refuses or found is REFUSED:
            return None
        return self.options if found is None else <OptionSet>found


@cython.final
cdef class Handshake(End):
    """An End that is connected to a client."""

    cdef bint holds_under(self, Acceptor acceptor) noexcept:
        """Whether the client has shown the certificate that settings which came later ask for. O(1) if they are those of the last call,
        or have the options of its handshake for its host, or those under which it was verified last."""
        cdef OptionSet options
        if acceptor is self.acceptor or self.ssl == NULL:
            return True
        options = acceptor.options_of(self.server_name)
        if options is not None and options.digest != self.options.digest and options.digest != self.accepted:
            if not options.accepts(self.ssl):
                return False
            self.accepted = options.digest
        self.acceptor = acceptor
        return True


cdef int set_callbacks(OptionSet options) except -1:
    """Have handshakes with these options call the functions below."""
    if options.has_callbacks:
        return 0
    options.has_callbacks = True
    SSL_CTX_set_client_hello_cb(options.context, on_hello, NULL)
    SSL_CTX_set_cert_cb(options.context, on_certificate, NULL)
    SSL_CTX_set_alpn_select_cb(options.context, on_protocols, NULL)
    SSL_CTX_set_tlsext_ticket_key_evp_cb(options.context, on_ticket)
    SSL_CTX_callback_ctrl(options.context, CTRL_STATUS_CALLBACK, on_status)
    return 0


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
    cdef OptionSet options
    try:
        handshake.server_name = name_in_hello(ssl)
        if acceptor.challenges and not handshake.quic and is_challenge(ssl) and handshake.server_name in acceptor.challenges:
            take_challenge(handshake, <Pair?>acceptor.challenges[handshake.server_name])
            return 1
        options = acceptor.options_of(handshake.server_name)
        if options is None:
            alert[0] = ALERT_UNRECOGNISED_NAME
            return 0
        handshake.options = options
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


cdef unsigned int position_of(bytes protocol, const unsigned char* offered, unsigned int length) noexcept:
    """Where a protocol begins in the list that a client offers; 0: it is not in it."""
    cdef unsigned int at = 0
    while at + 1 <= length and at + 1 + offered[at] <= length:
        if offered[at] == len(protocol) and memcmp(offered + at + 1, <const char*>protocol, offered[at]) == 0:
            return at + 1
        at += 1 + offered[at]
    return 0


cdef int on_protocols(void* ssl, const unsigned char** chosen, unsigned char* chosen_length, const unsigned char* offered,
                      unsigned int length, void* data) noexcept:
    """Select our first protocol that the client offers. Without a common one, the handshake fails, as in Go; but a client of HTTP/1.1
    at a server of HTTP/2 alone is served as if it had offered nothing."""
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
        at = position_of(protocol, offered, length)
        if at > 0:
            chosen[0] = offered + at
            chosen_length[0] = offered[at - 1]
            return 0
    if HTTP_2 in protocols and position_of(HTTP_1, offered, length) > 0:
        return 3               # SSL_TLSEXT_ERR_NOACK
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
