# How a service chooses the server of a request.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.routing.server cimport Server
from lbcore.selection.cycle cimport Cycle
from lbcore.state.layout cimport Header, ServiceCell


cdef class UpstreamPolicy:             # of a servers transport
    cdef public int64_t dial_timeout_ms
    cdef public int64_t response_header_timeout_ms     # 0 = none
    cdef public int64_t idle_timeout_ms                # 0 = none
    cdef public Py_ssize_t max_idle                    # connections kept per server; 0 = none


cdef struct Decision:                  # what choosing found out, kept on the exchange
    void* balancer                     # LoadBalancer; borrowed from the table


cdef class Service:
    cdef readonly str name             # `name@provider`

    cdef Server choose(self, Request request, Decision* decision)


cdef class LoadBalancer(Service):
    cdef readonly list servers         # Server, in the order of the file
    cdef uint32_t* weights             # configured, by index in `servers`
    cdef uint32_t* current             # what the cycle was built from: effective weight, 0 when not eligible
    cdef uint32_t* scratch
    cdef Py_ssize_t count
    cdef bint pass_host
    cdef readonly UpstreamPolicy policy
    cdef ServiceCell* cell
    cdef Header* region_header
    cdef object region                 # keeps the cells mapped
    cdef uint64_t eligibility          # of the region, as of the cycle
    cdef Cycle cycle

    cdef int rebuild(self) except -1


cdef class Weighted(Service):
    cdef readonly list services        # Service, in the order of the file
    cdef ServiceCell* cell
    cdef object region
    cdef Cycle cycle
