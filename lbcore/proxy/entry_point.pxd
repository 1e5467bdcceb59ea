# One entry point of this worker: its limits, its counters, and the routes of the table in force.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport RequestPolicy
from lbcore.http.response cimport Response
from lbcore.observability.observer cimport Observer
from lbcore.http.networks cimport Networks
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.route cimport Route
from lbcore.routing.tcp_route cimport TcpRoutes
from lbcore.state.budget cimport MemoryBudget
from lbcore.state.layout cimport EntryPointStats


cdef struct Limits:                    # 0 = none
    int64_t header_timeout_ms          # from the first byte of a head to its last
    int64_t min_body_rate              # bytes of a body a second, while the other end takes them
    int64_t read_timeout_ms            # from the first byte of a request to its last
    int64_t write_timeout_ms           # from the end of a request's head to the end of its answer
    int64_t idle_timeout_ms            # between requests
    int64_t keep_alive_max_ms          # age at which a connection is closed after the next answer
    int64_t keep_alive_max_requests


cdef struct Http2Settings:
    uint32_t streams                   # a client may have open at a time on a connection
    uint32_t decoder_bytes             # of the table by which clients encode fields
    uint32_t encoder_bytes             # of the one by which we do


cdef class EntryPoint:
    cdef readonly str name
    cdef RequestPolicy policy
    cdef Limits limits
    cdef Http2Settings http2
    cdef bytes alt_svc                 # tells clients of HTTP/1 and HTTP/2 over TLS of HTTP/3; None = it is not spoken
    cdef ForwardPolicy forward         # template: `trusted` and the server's fields are set per request
    cdef bytes server_name
    cdef Networks trusted              # whose forwarding headers are believed
    cdef Networks proxies              # whose PROXY protocol headers are believed; None = none is looked for
    cdef frozenset visible_hop_headers # names, in lower case, that rules see although `Connection` lists them
    cdef RouteIndex routes             # of what comes without TLS
    cdef RouteIndex encrypted_routes   # of what comes over TLS
    cdef object encryption             # Encryption of the transport; None = TLS is not spoken here
    cdef dict options_by_host          # of TLS: their name by host, `*.x` for any label before x; None = all have the same
    cdef dict options_by_router        # likewise, by the name of the router; the others have the default ones
    cdef TcpRoutes tcp                 # routers of layer 4, which come first; None = there are none
    cdef bint first_bytes_count        # what they are decides: TLS is spoken here
    cdef EntryPointStats* stats
    cdef uint32_t index                # position in the static configuration
    cdef Observer observer             # None = there is none
    cdef const uint64_t* tapped_until_ns           # monotonic time until which somebody watches single requests; in `region`
    cdef object tap                    # observability.tap.Tap, which shows them what they want to see; None = nobody can watch
    cdef object tracer                 # Tracer; None = no request is traced
    cdef bytes trace_text              # the name, as an attribute of spans; set with `tracer`
    cdef bint traced                   # requests that no router takes are
    cdef bint logged                   # requests that no router takes are
    cdef bint counted                  # likewise
    cdef object explainer              # Explainer; None = explanations are off
    cdef object region                 # keeps `stats` mapped
    cdef MemoryBudget budget           # of the instance, for bodies that are kept
    cdef bint draining

    cdef object options_of(self, bytes host)
    cdef int tell_of_http3(self, Response response) except -1
    cdef bint misdirected(self, bytes server_name, Route route)
