# What an exchange keeps of its trace. It lies in the memory of its request, and refers to texts there.

from libc.stdint cimport int64_t, uint8_t, uint64_t

from lbcore.http.span cimport Span
from lbcore.observability.span_record cimport ASKED_TEXTS, REQUEST_TEXTS

cdef enum:
    MAX_SPOTS = 6              # one for each propagator
    MAX_STEPS = 64             # of the way of a request; those beyond have no span
    MAX_QUESTIONS = 64         # likewise


cdef struct Step:              # a part of the way of a request, which has a span of its own
    uint8_t span_id[8]
    uint64_t begun_ns          # monotonic
    const char* text           # name, kind and attributes of its span, encoded; the route or the gate owns it
    Py_ssize_t length
    Step* next


cdef struct Asked:             # a request to a server, which has a span
    uint8_t span_id[8]
    Span texts[ASKED_TEXTS]    # of the request when it was sent; the server's own belong to who keeps the server
    Span captured              # CapturedHead and value of each header
    Span answered              # likewise, of the answer


cdef struct Question:          # one of a middleware's own
    Asked asked
    uint8_t parent_id[8]
    uint64_t begun_ns
    uint64_t ended_ns          # 0 = it has not ended
    int status                 # of the answer; 0 = there was none
    Question* next


cdef struct Trace:
    uint8_t trace_id[16]
    uint8_t span_id[8]         # of the span of the entry point
    bint has_parent
    bint sampled               # its spans are exported; otherwise only the identifiers are passed on
    bint detailed              # with spans of routers, middlewares and services
    int n_spots
    char* spots[MAX_SPOTS]     # where the headers for servers have the identifier of a span, 16 digits: each attempt writes its own
    uint8_t parent_id[8]       # of the client's span, if `has_parent`
    # The rest is set where it is sampled.
    uint64_t begun_ns          # monotonic
    int64_t body_bytes         # -1 = not known
    Span texts[REQUEST_TEXTS]  # of the request as it came
    Span captured              # CapturedHead and value of each header
    Step* first
    Step* last
    int n_steps
    int n_questions
    Question* first_question   # the latest one is first
