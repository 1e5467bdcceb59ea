# What an exchange keeps of its trace. It lies in the memory of its request.

from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    MAX_SPOTS = 4              # one for each propagator
    MAX_STEPS = 64             # of the way of a request; those beyond have no span


cdef struct Step:              # a part of the way of a request, which has a span of its own
    uint8_t span_id[8]
    uint64_t begun_ns          # monotonic
    const char* text           # name, kind and attributes of its span, encoded; the route or the gate owns it
    Py_ssize_t length
    Step* next


cdef struct Trace:
    uint8_t trace_id[16]
    uint8_t span_id[8]         # of the span of the entry point
    uint8_t parent_id[8]       # of the client's span; all zero = it has none
    bint has_parent
    bint sampled               # its spans are exported; otherwise only the identifiers are passed on
    bint detailed              # with spans of routers, middlewares and services
    uint64_t begun_ns          # monotonic; the rest is set where it is sampled
    char* spots[MAX_SPOTS]     # where the headers for servers have the identifier of a span, 16 digits: each attempt writes its own
    int n_spots
    const char* state          # `tracestate` of the client, which all spans have
    Py_ssize_t state_length
    const char* attributes     # of the request, encoded
    Py_ssize_t length
    Step* first
    Step* last
    int n_steps
