# Routers of layer 4: which service a connection goes to, by its client's address and what the client says when it begins TLS.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span
from lbcore.routing.asker cimport Asker
from lbcore.routing.matcher cimport Program
from lbcore.routing.service cimport Service
from lbcore.state.keyed cimport KeyedTable


cdef class TcpPolicy:                  # of the service that was chosen
    cdef readonly int64_t termination_ms           # how long the other side lives on when one has ended; -1 = as it likes
    cdef readonly int64_t keep_alive_s             # after which an idle connection is probed, and how often; below 0 = never
    cdef readonly int proxy_protocol               # version of the header sent to servers; 0 = none


cdef class ConnectionLimit:            # of one client
    cdef KeyedTable table
    cdef uint64_t group
    cdef readonly int64_t amount

    cdef bint enter(self, const ClientAddress* client) noexcept
    cdef void leave(self, const ClientAddress* client) noexcept


cdef class TcpRoute:
    cdef readonly str name             # of the router, `name@provider`
    cdef Program rule
    cdef list allowed                  # lists of Programs, of which one each has to hold
    cdef readonly list limits          # ConnectionLimit; None = none
    cdef readonly Service service
    cdef readonly bint encrypted       # it takes what comes over TLS, and nothing else
    cdef readonly object acceptor      # what TLS ends with, a tls.contexts.Acceptor; None = it ends at the server
    cdef object encryption             # the same to `transport`, which sets and reads it alone
    cdef bint takes_all                # HostSNI(`*`) is all its rule says: HTTPS for any host goes before it

    cdef bint admits(self, Asker asker) except *


cdef class TcpRoutes:
    cdef readonly list routes          # TcpRoute, in the order in which they are tried: of what comes without TLS
    cdef readonly list encrypted       # likewise, of TLS
    cdef frozenset https_hosts         # names, `*.x` for any label before x, that routers of layer 7 take over TLS
    cdef bint https_for_any            # such a router names no host
    cdef dict challenges               # by name: what tls-alpn-01 is answered with now, by HTTPS; shared, and changed by its owner

    cdef TcpRoute find(self, Asker asker)
    cdef TcpRoute find_encrypted(self, Asker asker, bytes name, Span protocols, bint alone)
