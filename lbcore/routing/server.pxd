# One server of a service, kept by identity over reloads: what is known of it, and where it is reached.

from libc.stdint cimport uint32_t

from lbcore.http.span cimport Span
from lbcore.state.layout cimport ServerCell, ServerStats


cdef class Server:
    cdef readonly str name             # identity: `service@provider|url as written`
    cdef readonly str url              # as written
    cdef readonly str host             # name, IP address (no brackets), or path of a Unix socket
    cdef readonly int port             # 0 for a Unix socket
    cdef bytes authority_bytes
    cdef bytes prefix_bytes
    cdef Span authority                # Host for a server that is not passed the client's
    cdef Span prefix                   # of the path, without a trailing slash; empty unless preservePath
    cdef readonly uint32_t slot
    cdef readonly bint preserve_path
    cdef ServerCell* cell
    cdef ServerStats* stats            # this worker's row
    cdef object pool                   # its idle connections; set and read by proxy.pool alone
    cdef object addresses              # what its name resolved to; set and read by transport.dialer alone


cdef inline bint is_eligible(Server server, uint32_t weight) noexcept:
    """The one predicate: may this server be given a new request?"""
    return weight > 0 and server.cell.up != 0
