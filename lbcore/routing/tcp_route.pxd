# Routers of layer 4: from the client's address of a connection, and its TLS hello, to a service.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.head cimport ClientAddress
from lbcore.http.span cimport Span
from lbcore.routing.asker cimport Asker
from lbcore.routing.matcher cimport Program
from lbcore.routing.service cimport Service
from lbcore.state.keyed cimport KeyedTable
from lbcore.state.layout cimport ServiceStats


cdef class TcpPolicy:                  # of the service that was chosen
    cdef readonly int64_t termination_ms           # time that one side may continue after the other has ended; -1 = no limit
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
    cdef list allowed                  # Networks; the client has to be in each of them
    cdef readonly list limits          # ConnectionLimit; None = none
    cdef list denials                  # Denials of those of `allowed`, then of `limits`; None = they are not counted
    cdef readonly Service service
    cdef readonly bint encrypted       # it takes connections with TLS, and no others
    cdef readonly object acceptor      # a tls.handshake.Acceptor, which ends TLS here; None = TLS ends at the server
    cdef object encryption             # the Encryption of `acceptor`; `transport` alone sets and reads it
    cdef bint takes_all                # its rule is HostSNI(`*`), which HTTPS for any host precedes

    cdef ServiceStats* stats           # this worker's counters of the router; NULL = it has none
    cdef object region                 # keeps `stats` mapped

    cdef Py_ssize_t refuser(self, Asker asker) noexcept
    cdef bint note_denied(self, Py_ssize_t place) noexcept
    cdef void note_start(self) noexcept
    cdef void note_end(self, bint reached) noexcept


cdef class TcpRoutes:
    cdef readonly list routes          # TcpRoute of connections without TLS, in the order of trial
    cdef readonly list encrypted       # TcpRoute of connections with TLS, likewise
    cdef frozenset https_hosts         # hosts of the routers of layer 7 with TLS, with `*.x` for any label before x
    cdef bint https_for_any            # a router of layer 7 with TLS names no host
    cdef dict challenges               # the present answers to tls-alpn-01, by name, which HTTPS gives; shared, and changed by its owner

    cdef TcpRoute find(self, Asker asker)
    cdef TcpRoute find_encrypted(self, Asker asker, bytes name, Span protocols, bint alone)
