# Sets of options for connections from clients.

from lbcore.tls.openssl cimport verify_fn


cdef class OptionSet:
    cdef void* context                 # SSL_CTX, owned
    cdef bint has_callbacks            # `handshake` has set its callbacks
    cdef readonly str name
    cdef list protocols_of_layer_4     # the same for layer 4, where bytes are forwarded unread
    cdef list protocols                # for ALPN, bytes, in the order of preference
    cdef bytes groups
    cdef bint strict                   # a name without a certificate is refused
    cdef bint tickets
    cdef int verify                    # SSL_VERIFY_…
    cdef bint any_certificate          # a client's certificate is requested and not verified
    cdef bytes digest                  # of all settings; the same in another table: nothing has changed
    cdef long min_version
    cdef long max_version

    cdef int trust(self, void* store, bytes authority) except -1
    cdef verify_fn verifier(self) noexcept
    cdef int take_over(self, void* ssl) noexcept
    cdef bint accepts(self, void* ssl) noexcept
    cdef bint vouches(self, void* certificate, void* chain) noexcept
