"""Routers of layer 4. No I/O. Immutable."""

cimport cython
from libc.stdint cimport uint32_t
from libc.string cimport memcmp, memset

from lbcore.http.head cimport ClientAddress, RequestHead
from lbcore.http.networks cimport Networks
from lbcore.http.span cimport Span, span_of
from lbcore.routing.asker cimport Asker
from lbcore.routing.matcher cimport Program, run
from lbcore.routing.service cimport Service
from lbcore.state.holdings cimport Denials
from lbcore.state.keyed cimport KeyedTable
from lbcore.state.region cimport Region


@cython.final
cdef class TcpPolicy:
    """The options of connections to the servers of a load balancer."""

    def __init__(self, termination_ms: int = -1, proxy_protocol: int = 0, keep_alive_s: int = 15):
        self.keep_alive_s = keep_alive_s
        self.termination_ms = termination_ms
        self.proxy_protocol = proxy_protocol


@cython.final
cdef class ConnectionLimit:
    """A limit of `amount` connections of each client at once, within a group."""

    def __init__(self, KeyedTable table, group: int, amount: int):
        self.table = table
        self.group = group
        self.amount = amount

    cdef bint enter(self, const ClientAddress* client) noexcept:
        return self.table.hold(self.group, client.ip, self.amount)

    cdef void leave(self, const ClientAddress* client) noexcept:
        self.table.release(self.group, client.ip)


cdef Span CHALLENGE = span_of(b"\x0aacme-tls/1", 11)        # the only protocol that a challenge of RFC 8737 offers


cdef inline bint equal(Span a, Span b) noexcept nogil:
    return a.len == b.len and memcmp(a.ptr, b.ptr, a.len) == 0


cdef RequestHead head_of(Asker asker) noexcept:
    """A head for rules, with the client's address alone."""
    cdef RequestHead head
    memset(&head, 0, sizeof(head))
    head.client = <ClientAddress*>asker.address
    return head


@cython.final
cdef class TcpRoute:
    """A rule and its service. `allowed`: sets of networks, in each of which the client has to be."""

    def __init__(self, str name, Program rule, list allowed, Service service, list limits=None, bint encrypted=False,
                 acceptor=None, bint takes_all=False):
        self.limits = limits or None
        self.name = name
        self.rule = rule
        self.allowed = allowed
        self.service = service
        self.encrypted = encrypted
        self.acceptor = acceptor
        self.takes_all = takes_all

    def count_in(self, Region region, uint32_t worker, uint32_t slot):
        """Count its connections in the region, before the first one. Returns the route."""
        region.check_service(slot)
        region.check_worker(worker)
        self.region = region
        self.stats = region.service_stats(worker, slot)
        return self

    def count_denials(self, list denials):
        """Count there what middlewares refuse: Denials for those of `allowed`, then for those of `limits`. Before the first connection."""
        self.denials = denials

    def ending_at(self, acceptor):
        """The same route where TLS ends by another Acceptor."""
        cdef TcpRoute route = TcpRoute(self.name, self.rule, self.allowed, self.service, self.limits, self.encrypted, acceptor,
                                       self.takes_all)
        route.region, route.stats, route.denials = self.region, self.stats, self.denials
        return route

    cdef void note_start(self) noexcept:
        """A connection is given to the router."""
        if self.stats != NULL:
            self.stats.requests += 1

    cdef void note_end(self, bint reached) noexcept:
        """A connection has ended. `reached`: it had a server."""
        if self.stats != NULL:
            self.stats.responses[2 if reached else 0] += 1

    cdef Py_ssize_t refuser(self, Asker asker) noexcept:
        """The place among `allowed` of the networks in which the client is not; -1 = it is in all of them."""
        cdef Py_ssize_t place = 0
        for networks in self.allowed:
            if not (<Networks>networks).hold(asker.address):
                return place
            place += 1
        return -1

    cdef bint note_denied(self, Py_ssize_t place) noexcept:
        """A middleware has refused a connection: its place among `allowed`, or behind them among `limits`. Returns whether that counts."""
        if self.denials is None:
            return False                       # the router cannot run
        (<Denials>self.denials[place]).add()
        if self.stats != NULL:
            self.stats.denied += 1
        return True


@cython.final
cdef class TcpRoutes:
    """The routers of one entry point by priority. There are few, so they are tried one after the other."""

    def __init__(self, list routes, frozenset https_hosts=frozenset(), bint https_for_any=False, dict challenges=None):
        self.routes = [route for route in routes if not (<TcpRoute>route).encrypted]
        self.encrypted = [route for route in routes if (<TcpRoute>route).encrypted]
        self.https_hosts = https_hosts
        self.https_for_any = https_for_any
        self.challenges = {} if challenges is None else challenges

    cdef TcpRoute find(self, Asker asker):
        """The first router without TLS whose rule matches, or None: then the connection is HTTP."""
        cdef RequestHead head = head_of(asker)
        return first_of(self.routes, &head)

    cdef TcpRoute find_encrypted(self, Asker asker, bytes name, Span protocols, bint alone):
        """The first router with TLS whose rule matches a hello with this name, in lower case, and these protocols; or None: HTTPS.

        alone  there is no HTTPS. Otherwise HTTPS comes first for the hosts that its routers name, and a router of HTTPS without a
               host precedes a router of layer 4 that matches everything.
        """
        cdef RequestHead head = head_of(asker)
        cdef TcpRoute route
        cdef Py_ssize_t dot
        if self.challenges and not alone and name in self.challenges and equal(protocols, CHALLENGE):
            return None
        if not alone and name and self.https_hosts:
            dot = name.find(b".")
            if name in self.https_hosts or (dot > 0 and b"*" + name[dot:] in self.https_hosts):
                return None
        head.host = span_of(name, len(name))
        head.protocols = protocols
        route = first_of(self.encrypted, &head)
        if route is not None and route.takes_all and self.https_for_any and not alone:
            return None
        return route


cdef TcpRoute first_of(list routes, const RequestHead* head):
    for route in routes:
        if run((<TcpRoute>route).rule.tests, head):
            return <TcpRoute>route
    return None
