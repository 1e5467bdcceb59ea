# The traces of the requests of one worker: identifiers, headers, and the spans that are exported.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.observability.ring cimport LineWriter
from lbcore.observability.trace cimport Trace


cdef class Tracer:
    cdef LineWriter lines              # the ring through which spans go to what exports them
    cdef uint64_t state                # of the generator of identifiers
    cdef uint64_t threshold            # identifiers below it are sampled, compared by their lower 63 bits
    cdef uint32_t propagators          # Propagator bits
    cdef bint plain                    # the only one is that of W3C
    cdef tuple request_headers         # captured: (name in lower case, key of the attribute), as bytes
    cdef tuple response_headers
    cdef frozenset safe_parameters     # of queries, as bytes: the values of others are not told
    cdef dict texts                    # encoded attributes of servers and services, by URL and name; bounded
    cdef dict bases                    # of servers: scheme and authority, by URL; likewise
    cdef readonly bint adds_internals

    cdef Trace* begin(self, Request request, const ForwardPolicy* forward, bytes entry_point, bint detailed) except NULL
    cdef int add_step(self, Trace* trace, Request request, bytes text) except -1
    cdef Py_ssize_t ask(self, Trace* trace, Request request, str server, Span prefix, uint8_t* span_id,
                        const char** attributes) except -1
    cdef Py_ssize_t answered(self, Request request, Response response, const char** attributes) except -1
    cdef bytes text_of(self, str name, bint service)
    cdef void draw(self, uint8_t* out) noexcept

    cdef int find_parent(self, Trace* trace, Request request) except -1
    cdef int pass_on(self, Trace* trace, Request request) except -1
    cdef int pass_on_as_w3c(self, Trace* trace, Request request, Py_ssize_t at) except -1
    cdef int describe(self, Trace* trace, Request request, const ForwardPolicy* forward, bytes entry_point) except -1
    cdef Py_ssize_t room_of(self, tuple headers, Request request) except -1
    cdef Span query_of(self, Request request) except *


cdef void put_digits(char* out, const uint8_t* data, Py_ssize_t length) noexcept nogil
