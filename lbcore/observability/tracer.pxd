# The traces of the requests of one worker: identifiers, headers, and what spans tell of a request.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.observability.ring cimport LineWriter
from lbcore.observability.trace cimport MAX_SPOTS, Asked, Trace


cdef class Tracer:
    cdef LineWriter lines              # the ring through which spans go to what exports them
    cdef uint64_t state                # of the generator of identifiers
    cdef uint64_t threshold            # identifiers below it are sampled, compared by their lower 63 bits
    cdef uint32_t propagators          # Propagator bits
    cdef uint32_t[MAX_SPOTS] order     # the same, one by one: the last one that finds a trace counts
    cdef int n_propagators             # length of `order`
    cdef bint plain                    # the only one is that of W3C
    cdef tuple request_headers         # captured: names in lower case, as bytes
    cdef tuple response_headers
    cdef readonly bint adds_internals

    cdef Trace* begin(self, Request request, const ForwardPolicy* forward, bytes entry_point, bint detailed) except NULL
    cdef int add_step(self, Trace* trace, Request request, bytes text) except -1
    cdef Asked* ask(self, Trace* trace, Request request, str server, Span prefix) except NULL
    cdef int name(self, Trace* trace, Asked* asked) noexcept
    cdef int ask_question(self, Trace* trace, Request client, Request question, str address) except -1
    cdef int answered(self, Request request, Response response, Span* out) except -1
    cdef void draw(self, uint8_t* out) noexcept

    cdef int find_parent(self, Trace* trace, Request request) except -1
    cdef bint read_parent(self, uint32_t propagator, Trace* trace, Request request) noexcept
    cdef int pass_on(self, Trace* trace, Request request) except -1
    cdef int pass_on_as_w3c(self, Trace* trace, Request request, Py_ssize_t at, char* line) except -1
    cdef int describe(self, Trace* trace, Request request, const ForwardPolicy* forward, bytes entry_point) except -1
    cdef int describe_asked(self, Asked* asked, Request request, Request owner, str server, Span prefix) except -1
