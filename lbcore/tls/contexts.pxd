# What handshakes are made with: certificates by name, sets of options, and which of them a client gets.

from lbcore.tls.openssl cimport verify_fn
from lbcore.tls.tickets cimport TicketKeys


cdef class Pair:
    cdef void* certificate             # X509, owned
    cdef void* key                     # EVP_PKEY, owned
    cdef void* chain                   # STACK_OF(X509), owned with what is in it; NULL: no further certificates
    cdef readonly tuple names          # bytes in lower case, `*.x` for any label before x
    cdef readonly str kind             # RSA, EC, …
    cdef readonly int days_left        # below 0: it has expired
    cdef object __weakref__            # `pairs` finds those in use by their content

    cdef int use(self, void* ssl) noexcept


cdef class OptionSet:
    cdef void* context                 # SSL_CTX, owned
    cdef readonly str name
    cdef list protocols_of_layer_4     # the same, where bytes go on as they are
    cdef list protocols                # of ALPN, bytes, the first one that the client has is taken
    cdef bytes groups
    cdef bint strict                   # a name without a certificate is refused
    cdef bint tickets
    cdef int verify                    # SSL_VERIFY_…
    cdef bint any_certificate          # a client's certificate is asked for and not verified
    cdef long min_version
    cdef long max_version

    cdef int trust(self, void* store, bytes authority) except -1
    cdef verify_fn verifier(self) noexcept
    cdef int take_over(self, void* ssl) noexcept


cdef class Certificates:
    cdef dict by_name                  # tuples of Pair by name, as in `Pair.names`
    cdef tuple fallback                # Pair: for all other names

    cdef tuple find(self, bytes name)


cdef class Acceptor:
    cdef readonly OptionSet options    # of all hosts that have no others
    cdef dict hosts                    # OptionSet by host, as in `Pair.names`
    cdef Certificates certificates
    cdef TicketKeys tickets
    cdef dict challenges               # Pair by name: what tls-alpn-01 is answered with now; shared, and changed by its owner
    cdef bint layer_4

    cdef OptionSet options_of(self, bytes name)


cdef class End:
    cdef void* ssl                     # owned; NULL when it has been freed
    cdef bytes server_name             # SNI in lower case, without a dot at its end; empty: the client names none

    cdef void free(self) noexcept
    cdef str check(self)
    cdef str failure(self)


cdef class Handshake(End):
    cdef Acceptor acceptor
    cdef OptionSet options             # by `server_name`
    cdef Pair challenge                # the handshake is the answer to a challenge, and all there is; None: it is a client's


cdef list certificates_in(bytes text)
cdef Handshake accept(Acceptor acceptor)
