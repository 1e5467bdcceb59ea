# Rendering of heads: requests to servers and answers to clients.

from libc.stdint cimport uint8_t

from lbcore.http.buffer cimport Buffer
from lbcore.http.field_list cimport FieldList
from lbcore.http.known cimport H_X_FORWARDED_OTHER
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span


cdef struct ForwardPolicy:     # how X-Forwarded-* and Host are written for one request
    bint trusted               # the client is trusted to set the managed headers
    bint append_for            # append the client's address to X-Forwarded-For
    bint encrypted             # the client came over TLS
    Span server_name           # X-Forwarded-Server; the EntryPoint's, which outlives its exchanges
    Span server_authority      # Host when `pass_host` is off or the client sent none; the Server's, which the attempt holds
    bint pass_host


cdef enum:
    ADDED_LINES = 8            # most lines that `put_lines` adds to the headers of a request


cdef inline bint says_nothing(uint8_t kind, Span value) noexcept nogil:
    """Whether a header of a trusted client is empty that it has to fill, or leave to us."""
    return value.len == 0 and kind != H_X_FORWARDED_OTHER


cdef int forwarded_for(Request request, const ForwardPolicy* policy, Span* into) noexcept
cdef bint asks_for_websocket(Request request) noexcept
cdef Span forwarded_port(Request request, bint encrypted) noexcept
cdef Span host_to_send(Request request, const ForwardPolicy* policy) noexcept nogil
cdef char* put_lines(char* out, FieldList* list, Request request, const ForwardPolicy* policy, Span addresses) noexcept
cdef int render_request(Request request, const ForwardPolicy* policy, Span path_prefix, Buffer* out) noexcept
cdef int render_response(Response response, int client_minor_version, bint keep_alive, bint chunked, bint is_head, Span date,
                         Buffer* out) noexcept
cdef int render_forwarded(Request request, const ForwardPolicy* policy, Buffer* out) noexcept
cdef int render_trailers(Message message, Buffer* out) noexcept
cdef Span status_text(int status) noexcept
cdef char* put_chunk_size(char* out, Py_ssize_t size) noexcept nogil
