# What a worker puts into its ring for an exchange that is sampled, and `span_encoder` makes spans of.
#
# A RequestRecord, then StepRecords, then AskedRecords, each with its texts behind it, in the order of `lengths`, and what it has captured.
# Each begins at a multiple of RECORD_ALIGN. Nothing in it is formatted, but for texts that are encoded once and for all.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    RECORD_ALIGN = 8
    LONGEST_TEXT = 4096        # bytes; what is beyond is cut off
    SAME = 0xFFFF              # as the length of a text: it is that of the client's request

cdef enum:                     # of the client's request, before any middleware
    TEXT_ENTRY_POINT = 0       # its attribute, encoded
    TEXT_METHOD
    TEXT_PATH
    TEXT_QUERY
    TEXT_AGENT
    TEXT_SCHEME
    TEXT_AUTHORITY
    TEXT_PEER
    TEXT_CLIENT                # the address of the client, as a trusted proxy names it, or the peer's
    TEXT_STATE                 # `tracestate`
    REQUEST_TEXTS

cdef enum:                     # of a request to a server; the first ones are as those above
    ASKED_SERVER = 0           # URL
    ASKED_METHOD
    ASKED_PATH
    ASKED_QUERY
    ASKED_AGENT
    ASKED_PREFIX               # before the path
    ASKED_SERVICE              # name of the service; empty = it has no span
    ASKED_TEXTS

cdef enum:                     # what was asked
    ASKED_ATTEMPT = 0          # the client's request
    ASKED_QUESTION             # one of a middleware's own


cdef struct CapturedHead:      # before each value of a header that is captured
    uint16_t index             # of the header among those that are
    uint16_t length


cdef struct RequestRecord:
    uint32_t length            # of all that belongs to the exchange
    uint32_t captured          # bytes of captured headers of the request, and of its answer
    uint32_t answered
    uint16_t n_steps
    uint16_t n_asked
    uint8_t trace_id[16]
    uint8_t span_id[8]
    uint8_t parent_id[8]       # all zero = it has none
    uint64_t begun_ns          # monotonic, like all times here
    uint64_t ended_ns
    int64_t body_bytes         # -1 = not known when it began
    uint16_t status            # 0 = none
    uint16_t port              # of the client
    uint8_t major_version      # of HTTP
    uint8_t minor_version
    bint has_peer
    bint refused               # by the middleware of the last step
    uint16_t lengths[REQUEST_TEXTS]


cdef struct StepRecord:        # its text is name, kind and attributes, encoded
    uint8_t span_id[8]
    uint64_t begun_ns
    uint32_t length


cdef struct AskedRecord:
    uint8_t span_id[8]
    uint8_t parent_id[8]
    uint8_t service_id[8]      # of the span of the service, between these, if there is one
    uint64_t begun_ns
    uint64_t head_ns           # of the answer
    uint64_t ended_ns
    uint32_t captured
    uint32_t answered
    uint16_t status            # 0 = none
    uint16_t resent            # number of requests before that are repeated by it
    uint16_t kind              # ASKED_ATTEMPT or ASKED_QUESTION
    uint16_t lengths[ASKED_TEXTS]
