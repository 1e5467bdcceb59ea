# TLS for connections from clients: certificates by name, sets of options, and the choice among them.

from lbcore.tls.openssl cimport verify_fn
from lbcore.tls.tickets cimport TicketKeys


cdef class Pair:
    cdef void* certificate             # X509, owned
    cdef void* key                     # EVP_PKEY, owned
    cdef void* chain                   # STACK_OF(X509), owned with what is in it; NULL: no further certificates
    cdef readonly tuple names          # bytes in lower case, `*.x` for any label before x; addresses as text
    cdef readonly bint has_address     # one of them is an address
    cdef readonly str kind             # RSA, EC, …
    cdef readonly str fingerprint      # SHA-256 of the DER of the certificate, in hexadecimal digits
    cdef readonly int days_left        # below 0: it has expired
    cdef object __weakref__            # `tls.pairs` finds the pairs in use by their content

    cdef int use(self, void* ssl) noexcept


cdef class OptionSet:
    cdef void* context                 # SSL_CTX, owned
    cdef readonly str name
    cdef list protocols_of_layer_4     # the same for layer 4, where bytes are forwarded unread
    cdef list protocols                # for ALPN, bytes, in the order of preference
    cdef bytes groups
    cdef bint strict                   # a name without a certificate is refused
    cdef bint tickets
    cdef int verify                    # SSL_VERIFY_…
    cdef bint any_certificate          # a client's certificate is requested and not verified
    cdef long min_version
    cdef long max_version

    cdef int trust(self, void* store, bytes authority) except -1
    cdef verify_fn verifier(self) noexcept
    cdef int take_over(self, void* ssl) noexcept


cdef class Certificates:
    cdef dict by_name                  # tuples of Pair by name, as in `Pair.names`
    cdef readonly bint has_addresses   # some are addresses: clients that ask for no name get those of the address they connected to
    cdef tuple fallback                # Pair: for all other names

    cdef tuple find(self, bytes name)


cdef class Acceptor:
    cdef readonly OptionSet options    # for hosts that are not in `hosts`
    cdef dict hosts                    # OptionSet by host, as in `Pair.names`
    cdef Certificates certificates
    cdef TicketKeys tickets
    cdef dict challenges               # Pair by name: the present answers to tls-alpn-01; shared, and changed by its owner
    cdef dict staples                  # OCSP responses (DER) by fingerprint; shared, and changed by its owner
    cdef bint layer_4

    cdef OptionSet options_of(self, bytes name)


cdef class End:
    cdef void* ssl                     # SSL, owned; NULL after `free`
    cdef bint asks_for_certificate     # the options ask a client for its certificate
    cdef bytes server_name             # SNI in lower case, without a dot at its end; empty: none

    cdef void free(self) noexcept
    cdef str check(self)
    cdef str failure(self)
    cdef bytes peer_subject(self)
    cdef tuple peer_chain(self)


cdef class Handshake(End):
    cdef Acceptor acceptor
    cdef bytes address                 # that the client connected to, as text; empty: it does not matter
    cdef OptionSet options             # by `server_name`
    cdef bint quic                     # for HTTP/3: the packets are QUIC's, there is no TCP connection
    cdef Pair challenge                # the challenge that this handshake answers before it ends; None: a client's handshake


cdef list certificates_in(bytes text)
cdef str written(void* thing, bint is_key)
cdef Handshake accept(Acceptor acceptor, bytes address)
