# The record of an exchange that has ended, for counters and the access log.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.observability.trace cimport Trace

cdef struct Record:                    # lives on the stack of the end of an exchange
    int status                         # of the answer that the client got; 499 = the client has gone; 0 = none
    int code                           # of metrics: `status`, or the status of gRPC
    int origin_status                  # of the server's answer; 0 = there was none
    bint logged                        # goes into the access log
    bint counted                       # goes into metrics
    int retries
    int protocol                       # Protocol
    int method                         # index into METHODS
    uint32_t entry_point
    uint32_t router                    # slot; NO_SLOT = none matched
    uint32_t service                   # slot; NO_SLOT = none was chosen
    uint64_t ended_ns                  # monotonic
    uint64_t duration_ns
    uint64_t origin_ns                 # from the dispatch to the head of the server's answer; 0 = there was none
    uint64_t request_bytes             # of bodies
    uint64_t response_bytes
    uint64_t origin_bytes              # of the body that the server has sent
    const Trace* trace                 # NULL = it is not traced; the exchange's
    const ForwardPolicy* forward       # the forwarding of the request; owned by the exchange

cdef enum:
    NO_SLOT = 0xFFFFFFFF
