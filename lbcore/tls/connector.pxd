# TLS for connections to servers: settings that servers share, and for each server its name and most recent session.

from lbcore.tls.end cimport End


cdef class Connector:
    cdef void* context                 # SSL_CTX, owned
    cdef readonly object settings      # config.tls.ServerTls
    cdef str peer_uri                  # required in the server's certificate, in lower case; empty: none
    cdef bint verifies                 # whether the name of the server is verified
    cdef object spiffe                 # SpiffeTrust: the identities that are verified in place of names; None: names are
    cdef dict roots                    # PEM of the authorities of each trust domain


cdef class Target:
    cdef readonly Connector connector
    cdef readonly str host
    cdef bytes name                    # the name to verify
    cdef bint is_address               # an IP address: not sent as SNI
    cdef void* session                 # SSL_SESSION, owned: the most recent one of the server; NULL: none

    cdef void keep(self, void* session) noexcept


cdef class Dialled(End):
    cdef Target target

    cdef str check_identity(self, void* certificate)


cdef Dialled connect(Target target, bytes protocols)
