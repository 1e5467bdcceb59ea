# What connections to servers are encrypted with: settings shared by servers, and for each server its name and last session.

from lbcore.tls.contexts cimport End


cdef class Connector:
    cdef void* context                 # SSL_CTX, owned
    cdef readonly object settings      # config.tls.ServerTls
    cdef str peer_uri                  # that the server's certificate has to name, in lower case; empty: none
    cdef bint verifies                 # the name of the server, too


cdef class Target:
    cdef readonly Connector connector
    cdef readonly str host
    cdef bytes name                    # as verified
    cdef bint is_address               # an IP address: not asked for
    cdef void* session                 # SSL_SESSION, owned: the one that the server gave last; NULL: none

    cdef void keep(self, void* session) noexcept


cdef class Dialled(End):
    cdef Target target


cdef Dialled connect(Target target, bytes protocols)
