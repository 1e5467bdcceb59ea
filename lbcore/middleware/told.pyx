"""What a request says by a header, to middlewares as to servers. No I/O.

Some headers are written when the head of the request to a server is, if nobody has set them by then: they tell of the connection. A
middleware that goes by them, and does not pass them on, reads them here.
"""

from libc.stdint cimport uint8_t

from lbcore.http.known cimport H_OWN, H_X_FORWARDED_HOST, H_X_FORWARDED_PORT, H_X_FORWARDED_PROTO, H_X_REAL_IP, header_kind
from lbcore.http.render cimport asks_for_websocket, forwarded_port
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_of


cdef Span find_told(Request request, const char* lower, Py_ssize_t length) noexcept:
    """The value of the first header with a name, given in lower case; of one that lbcore tells servers, what it would tell now."""
    cdef Span found = request.find(lower, length)
    cdef uint8_t kind
    cdef Py_ssize_t i
    if found.len:
        return found
    kind = header_kind(span_of(lower, length))
    for i in range(request.n_headers):
        if request.kinds[i] == kind | H_OWN:
            return found                       # a middleware has removed it
    if kind == H_X_REAL_IP:
        return span_of(request.head.client.text, request.head.client.text_len)
    if kind == H_X_FORWARDED_HOST:
        return request.head.authority
    if kind == H_X_FORWARDED_PORT:
        return forwarded_port(request, request.head.encrypted)
    if kind == H_X_FORWARDED_PROTO:
        if asks_for_websocket(request):
            return span_of(b"wss", 3) if request.head.encrypted else span_of(b"ws", 2)
        return span_of(b"https", 5) if request.head.encrypted else span_of(b"http", 4)
    return found
