# One end of a connection over TLS.


cdef class End:
    cdef void* ssl                     # SSL, owned; NULL after `free`
    cdef bint asks_for_certificate     # the options ask a client for its certificate
    cdef bytes server_name             # SNI in lower case, without a dot at its end; empty: none

    cdef void free(self) noexcept
    cdef str check(self)
    cdef str failure(self)
    cdef bytes peer_subject(self)
    cdef tuple peer_chain(self)
