# What is told about one exchange that is over.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.http.render cimport ForwardPolicy

cdef struct Record:                    # one exchange that is over
    int status                         # of the answer the client got; 499 when it went away; 0 = none
    int origin_status                  # of the server's; 0 = it gave none
    bint logged                        # goes into the access log
    bint counted                       # goes into metrics
    int retries
    int protocol                       # Protocol
    int method                         # index into METHODS
    uint32_t entry_point
    uint32_t router                    # slot; NO_SLOT = none matched
    uint32_t service                   # slot; NO_SLOT = none was reached
    uint64_t ended_ns                  # monotonic
    uint64_t duration_ns
    uint64_t origin_ns                 # from the dispatch to the head of the server's answer; 0 = none came
    uint64_t request_bytes             # of bodies
    uint64_t response_bytes
    uint64_t origin_bytes              # of the body as the server sent it
    const ForwardPolicy* forward       # how the request was passed on; the exchange's

cdef enum:
    NO_SLOT = 0xFFFFFFFF
