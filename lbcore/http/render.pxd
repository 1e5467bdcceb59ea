# Rendering of heads: requests to servers and answers to clients.


from lbcore.http.buffer cimport Buffer
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


cdef int render_request(Request request, const ForwardPolicy* policy, Span path_prefix, Buffer* out) noexcept
cdef int render_response(Response response, int client_minor_version, bint keep_alive, bint chunked, Span date,
                         Buffer* out) noexcept
cdef int render_forwarded(Request request, const ForwardPolicy* policy, Buffer* out) noexcept
cdef int render_trailers(Message message, Buffer* out) noexcept
cdef Span status_text(int status) noexcept
cdef char* put_chunk_size(char* out, Py_ssize_t size) noexcept nogil
