# One server of a service: where it is reached.

from libc.stdint cimport uint32_t

from lbcore.http.span cimport Span
from lbcore.routing.member cimport Member
from lbcore.selection.atomic cimport atomic_load_u64


cdef class Server(Member):
    cdef readonly str host             # name, IP address (no brackets), or path of a Unix socket
    cdef readonly int port             # 0 for a Unix socket
    cdef bytes authority_bytes
    cdef bytes prefix_bytes
    cdef Span authority                # Host for a server that does not get the client's; in `authority_bytes`
    cdef Span prefix                   # of the path, without a trailing slash; empty unless preservePath. In `prefix_bytes`
    cdef readonly bint preserve_path
    cdef public uint32_t limit         # exchanges it may have in flight, of all workers; 0 = any number
    cdef readonly object target        # tls.connector.Target for TLS; None = no TLS
    cdef readonly bint offers_http2    # whether ALPN offers HTTP/2 to it, beside HTTP/1.1
    cdef readonly bint is_http2        # whether it gets HTTP/2 without TLS (h2c)
    cdef int multiplexes               # streams that its next connection is expected to carry; 0 = one; set by transport
    cdef bint binds                    # it has authenticated connections (NTLM, Negotiate); set by transport
    cdef object dialling               # ExchangeDial that others may join; None = none; likewise
    cdef object encryption             # the same to `transport`, which sets and reads it alone
    cdef object pool                   # its idle connections; set and read by `transport` alone. One is enough: docs/extending.md
    cdef object addresses              # what its name resolved to; set and read by transport.dialer alone

    cdef inline bint is_full(self) noexcept:
        return self.limit and atomic_load_u64(&self.cell.load.in_flight) >= self.limit
