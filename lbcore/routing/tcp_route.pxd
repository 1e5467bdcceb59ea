# Routers of layer 4: which service a connection goes to, by its client's address.

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.head cimport ClientAddress
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

    cdef bint admits(self, Asker asker) except *


cdef class TcpRoutes:
    cdef readonly list routes          # TcpRoute, in the order in which they are tried

    cdef TcpRoute find(self, Asker asker)
