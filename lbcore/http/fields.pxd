# Heads as lists of fields, as HTTP/2 and HTTP/3 carry them: read into a message field by field, and listed from one.

from lbcore.http.field_list cimport FieldBlock, FieldList
from lbcore.http.message cimport Message
from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request, RequestPolicy
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span

cdef enum:
    FIELDS_MALFORMED = -1      # of the `complete_…`: the stream is to be reset, as RFC 9113 section 8.1.1 says
    REQUEST_TRAILER_BYTES = 16384      # most bytes of a trailer section
    ANSWER_TRAILER_BYTES = 65536       # statuses of gRPC with details are as large as heads

cdef struct RequestFields:     # what has come of a request's field section; zeroed at first
    Span scheme                # pseudo-headers, in the request's arena
    Span authority
    Span path
    Span protocol
    Py_ssize_t bytes           # of names and values, as RFC 9113 section 6.5.2 counts them, but for the 32 of each
    Py_ssize_t lines
    int cookies                # lines of Cookie
    bint prioritised           # it has a Priority (RFC 9218)
    bint too_large
    bint malformed


cdef inline Py_ssize_t trailer_limit(Message trailers) noexcept:
    """The most bytes of a section, by whose it is."""
    return ANSWER_TRAILER_BYTES if trailers.repairs else REQUEST_TRAILER_BYTES


cdef int take_request_field(RequestFields* fields, Request request, Span name, Span value, const RequestPolicy* policy) noexcept
cdef int complete_request(RequestFields* fields, Request request, bint ended, const RequestPolicy* policy) noexcept
cdef int take_response_field(Response response, Span name, Span value) noexcept
cdef int complete_response(Response response, bint ended, bint head_request) noexcept
cdef int take_trailer_field(Message trailers, Span name, Span value) noexcept
cdef int list_status(int status, Py_ssize_t more, FieldList* into) noexcept
cdef int list_response(Response response, Span date, FieldList* into) noexcept
cdef int list_request(Request request, const ForwardPolicy* policy, Span path_prefix, bint encrypted, bint websocket,
                      FieldList* into) noexcept
cdef bint is_grpc(Request request) noexcept
cdef const char* grpc_status_of(int status) noexcept nogil
cdef int list_grpc_status(int status, FieldList* into) noexcept
cdef int pack_trailers(Message trailers, FieldBlock** into) noexcept
