"""Routers of layer 4. No I/O. Immutable."""

cimport cython
from libc.string cimport memset

from lbcore.http.head cimport ClientAddress, RequestHead
from lbcore.routing.asker cimport Asker
from lbcore.routing.matcher cimport Program, run
from lbcore.routing.service cimport Service
from lbcore.state.keyed cimport KeyedTable


@cython.final
cdef class TcpPolicy:
    """How connections to the servers of a load balancer are treated."""

    def __init__(self, termination_ms: int = -1, proxy_protocol: int = 0, keep_alive_s: int = 15):
        self.keep_alive_s = keep_alive_s
        self.termination_ms = termination_ms
        self.proxy_protocol = proxy_protocol


@cython.final
cdef class ConnectionLimit:
    """`amount` connections at once of each client, within a group."""

    def __init__(self, KeyedTable table, group: int, amount: int):
        self.table = table
        self.group = group
        self.amount = amount

    cdef bint enter(self, const ClientAddress* client) noexcept:
        return self.table.hold(self.group, client.ip, self.amount)

    cdef void leave(self, const ClientAddress* client) noexcept:
        self.table.release(self.group, client.ip)


cdef RequestHead head_of(Asker asker) noexcept:
    """What rules look at, of a connection: its client's address."""
    cdef RequestHead head
    memset(&head, 0, sizeof(head))
    head.client = <ClientAddress*>asker.address
    return head


@cython.final
cdef class TcpRoute:
    """A rule and where it leads. `allowed`: for each allow list, the programs of which one has to hold."""

    def __init__(self, str name, Program rule, list allowed, Service service, list limits=None):
        self.limits = limits or None
        self.name = name
        self.rule = rule
        self.allowed = allowed
        self.service = service

    cdef bint admits(self, Asker asker) except *:
        """Whether the middlewares let the client through."""
        cdef RequestHead head = head_of(asker)
        for programs in self.allowed:
            for program in programs:
                if run((<Program>program).tests, &head):
                    break
            else:
                return False
        return True


@cython.final
cdef class TcpRoutes:
    """Of one entry point, by priority. There are few: they are tried one after another."""

    def __init__(self, list routes):
        self.routes = routes

    cdef TcpRoute find(self, Asker asker):
        """The first whose rule holds, or None: then the connection is taken for HTTP."""
        cdef RequestHead head = head_of(asker)
        for route in self.routes:
            if run((<TcpRoute>route).rule.tests, &head):
                return <TcpRoute>route
        return None
