"""Heads as lists of fields, as HTTP/2 and HTTP/3 carry them (RFC 9113 section 8, RFC 9114 section 4). No I/O.

The one place where such a head becomes a message, and a message such a head. What is read has been looked at by the library
that decodes it; whatever could mean something else in HTTP/1 is looked at here once more.
"""

import base64
import os

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, strlen

from lbcore.http.arena cimport arena_alloc
from lbcore.http.framing cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_UNTIL_CLOSE, connection_lists, frame_request, frame_response
from lbcore.http.head cimport Header, RequestHead
from lbcore.http.known cimport (
    H_CONNECTION, H_CONTENT_LENGTH, H_DATE, H_DROPPED, H_HOST, H_KEEP_ALIVE, H_OTHER, H_PROXY_CONNECTION, H_TE, H_TRAILER,
    H_TRANSFER_ENCODING, H_UPGRADE, header_kind, is_hop_by_hop,
)
from lbcore.http.message cimport Message
from lbcore.http.pico cimport pico_parse_headers
from lbcore.http.render cimport status_text
from lbcore.http.request cimport Request, RequestPolicy
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_eq, span_ieq, span_of

cdef enum:
    FIRST_FIELDS = 64
    FIELD_BYTES = 32           # what each field counts beside its bytes (RFC 9113 section 6.5.2)
    MAX_RESPONSE_LINES = 10000


cdef inline bint has_byte(Span text, int byte) noexcept nogil:
    return text.len > 0 and memchr(text.ptr, byte, text.len) != NULL


cdef enum:
    IN_NAME = 1                # not in the name of a field: controls, space, colon, capitals, what is not ASCII
    IN_VALUE = 2               # not in its value: NUL and the ends of lines
    SHORT_BYTES = 48           # a value up to that length is looked at once, byte by byte

cdef uint8_t UNSAFE[256]       # bits for each byte


cdef void fill_unsafe() noexcept:
    cdef int byte
    for byte in range(256):
        UNSAFE[byte] = IN_NAME if byte <= 0x20 or byte >= 0x7F or byte == c":" or c"A" <= byte <= c"Z" else 0
    for byte in (0, c"\n", c"\r"):
        UNSAFE[byte] |= IN_VALUE


fill_unsafe()


cdef bint is_safe(Span name, Span value) noexcept nogil:
    """Whether a field can be written as a line of HTTP/1 that is read as that field: a name in lower case, no end of a line."""
    cdef Py_ssize_t i
    cdef uint8_t seen = 0
    if name.len == 0:
        return False
    for i in range(name.len):
        seen |= UNSAFE[<uint8_t>name.ptr[i]]
    if seen & IN_NAME:
        return False
    if value.len > SHORT_BYTES:
        return not (has_byte(value, c"\n") or has_byte(value, c"\r") or has_byte(value, 0))
    for i in range(value.len):
        seen |= UNSAFE[<uint8_t>value.ptr[i]]
    return not seen & IN_VALUE


cdef bint is_of_connection(uint8_t kind, Span value) noexcept nogil:
    """Whether a field concerns a connection of HTTP/1, so that no message may have it (RFC 9113 section 8.2.2)."""
    if kind == H_TE:
        return not span_ieq(value, b"trailers", 8)
    return kind == H_CONNECTION or kind == H_KEEP_ALIVE or kind == H_PROXY_CONNECTION or kind == H_TRANSFER_ENCODING \
        or kind == H_UPGRADE


cdef bint put_field(Message message, Span name, Span value) noexcept:
    """Append a copy, laid out as a line of HTTP/1 is. False without memory."""
    cdef char* line = arena_alloc(&message.arena, name.len + 2 + value.len)
    cdef Py_ssize_t n = message.n_headers
    if line == NULL or (n == message.capacity and message.grow() < 0):
        return False
    memcpy(line, name.ptr, name.len)
    line[name.len] = c":"
    line[name.len + 1] = c" "
    if value.len:
        memcpy(line + name.len + 2, value.ptr, value.len)
    message.headers[n].name = span_of(line, name.len)
    message.headers[n].value = span_of(line + name.len + 2, value.len)
    message.kinds[n] = header_kind(message.headers[n].name)
    message.n_headers = n + 1
    return True


cdef Span own_copy(Message message, Span text) noexcept:
    """A copy in the arena. Empty without memory, or of an empty text."""
    cdef char* copy = arena_alloc(&message.arena, text.len) if text.len else NULL
    if copy == NULL:
        return span_of(NULL, 0)
    memcpy(copy, text.ptr, text.len)
    return span_of(copy, text.len)


# Requests

cdef int take_request_field(RequestFields* fields, Request request, Span name, Span value, const RequestPolicy* policy) noexcept:
    """Add a field to the section of a request; `complete_request` reports its errors. Returns 0, or -1 without memory.

    A section that has become too large is dropped.
    """
    fields.bytes += name.len + value.len
    fields.lines += 1
    if fields.bytes > policy.max_header_bytes or fields.lines > policy.max_header_lines + 8:
        fields.too_large = True
    if fields.too_large or fields.malformed:
        return 0
    if name.len and name.ptr[0] == c":":
        value = own_copy(request, value)
        if has_byte(value, c"\n") or has_byte(value, c"\r") or has_byte(value, 0) or has_byte(value, c" "):
            fields.malformed = True
        elif span_eq(name, b":method", 7):
            fields.malformed = request.head.method.len != 0 or value.len == 0
            request.head.method = value
        elif span_eq(name, b":path", 5):
            fields.malformed = fields.path.len != 0
            fields.path = value
        elif span_eq(name, b":authority", 10):
            fields.malformed = fields.authority.len != 0
            fields.authority = value
        elif span_eq(name, b":scheme", 7):
            fields.malformed = fields.scheme.len != 0
            fields.scheme = value
        elif span_eq(name, b":protocol", 9):
            fields.malformed = fields.protocol.len != 0
            fields.protocol = value
        else:
            fields.malformed = True
        return 0
    if not is_safe(name, value):
        fields.malformed = True
        return 0
    if not put_field(request, name, value):
        return -1
    if is_of_connection(request.kinds[request.n_headers - 1], value):
        fields.malformed = True
    elif name.len == 6 and span_eq(name, b"cookie", 6):
        fields.cookies += 1
    elif name.len == 8 and span_eq(name, b"priority", 8):
        fields.prioritised = True
    return 0


cdef bint join_cookies(Request request) noexcept:
    """Make one line of the pieces of Cookie (RFC 9113 section 8.2.3). False without memory."""
    cdef Py_ssize_t i, first = -1, size = 0
    cdef char* joined
    cdef char* out
    for i in range(request.n_headers):
        if span_eq(request.headers[i].name, b"cookie", 6):
            size += request.headers[i].value.len + 2
    joined = out = arena_alloc(&request.arena, size)
    if joined == NULL:
        return False
    for i in range(request.n_headers):
        if not span_eq(request.headers[i].name, b"cookie", 6):
            continue
        if first < 0:
            first = i
        else:
            out[0] = c";"
            out[1] = c" "
            out += 2
        memcpy(out, request.headers[i].value.ptr, request.headers[i].value.len)
        out += request.headers[i].value.len
        if i != first:
            request.drop_at(i)
    request.headers[first].value = span_of(joined, out - joined)
    return True


cdef int settle_host(RequestFields* fields, Request request) noexcept:
    """Have one Host, which `:authority` is, too, where there are both. 0, or a status."""
    cdef Py_ssize_t i
    cdef Span host
    for i in range(request.n_headers):
        if request.kinds[i] != H_HOST:
            continue
        host = request.headers[i].value
        if fields.authority.len == 0:
            fields.authority = host
        elif host.len != fields.authority.len or not same_host(host, fields.authority):
            return 400
        request.drop_at(i)
    if fields.authority.len and not put_field(request, span_of(b"host", 4), fields.authority):
        return 503
    return 0


cdef bint same_host(Span a, Span b) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(a.len):
        if (a.ptr[i] | 0x20 if c"A" <= a.ptr[i] <= c"Z" else a.ptr[i]) != (b.ptr[i] | 0x20 if c"A" <= b.ptr[i] <= c"Z" else b.ptr[i]):
            return False
    return True


cdef bint ask_for_upgrade(Request request) noexcept:
    """Make of an extended CONNECT (RFC 8441) the request for a websocket that HTTP/1 knows. False: it cannot be made."""
    request.head.method = span_of(b"GET", 3)
    request.drop(b"sec-websocket-key", 17)     # means nothing there, and would be a second key here
    request.drop(b"content-length", 14)        # a server would take what comes next on its connection for the body
    try:
        key = base64.b64encode(os.urandom(16))
    except OSError:
        return False
    return put_field(request, span_of(b"connection", 10), span_of(b"Upgrade", 7)) \
        and put_field(request, span_of(b"upgrade", 7), span_of(b"websocket", 9)) \
        and put_field(request, span_of(b"sec-websocket-key", 17), span_of(<const char*>key, len(key)))


cdef int complete_request(RequestFields* fields, Request request, bint ended, const RequestPolicy* policy) noexcept:
    """The field section is complete: become a request like one that `Request.parse` has read.

    ended    no body follows.
    Returns  0; the status to refuse with; or FIELDS_MALFORMED.
    """
    cdef RequestHead* head = &request.head
    cdef bint tunnel = False
    cdef int status
    head.minor_version = 1
    head.major_version = 2
    head.headers = request.headers
    head.n_headers = request.n_headers
    head.target = fields.path
    if fields.malformed:
        return FIELDS_MALFORMED
    if fields.too_large:
        return 431
    if head.method.len == 0:
        return FIELDS_MALFORMED
    if span_eq(head.method, b"CONNECT", 7):
        if fields.protocol.len == 0:
            return 501
        if not span_eq(fields.protocol, b"websocket", 9):
            return 501
        tunnel = True
        if not ask_for_upgrade(request):
            return 503
    elif fields.protocol.len:
        return FIELDS_MALFORMED
    if fields.path.len == 0 or fields.scheme.len == 0:
        return FIELDS_MALFORMED
    if not span_eq(fields.scheme, b"https", 5) and not span_eq(fields.scheme, b"http", 4):
        return 400
    if fields.path.ptr[0] != c"/" and not span_eq(fields.path, b"*", 1):
        return FIELDS_MALFORMED
    if fields.cookies > 1 and not join_cookies(request):
        return 503
    status = settle_host(fields, request)
    head.headers = request.headers
    head.n_headers = request.n_headers
    if status:
        return status
    status = request.classify(policy)
    if status:
        return status
    if frame_request(head.headers, request.kinds, head.n_headers, 1, &request.framing):
        return FIELDS_MALFORMED
    if ended:
        if request.framing.body == BODY_LENGTH:
            return FIELDS_MALFORMED
    elif tunnel:
        request.framing.body = BODY_NONE       # what follows is of the other protocol
    elif request.framing.body == BODY_NONE:
        request.framing.body = BODY_CHUNKED
    if tunnel:
        request.framing.upgrade = True
    status = request.read_target(policy)
    if status == 0 and (span_eq(head.method, b"OPTIONS", 7) or span_eq(head.method, b"TRACE", 5)):
        status = request.count_hop()
    return status


cdef int take_trailer_field(Message trailers, Span name, Span value) noexcept:
    """One more field of a trailer section. 0, or -1: it cannot stand there, or there are too many."""
    cdef Py_ssize_t i, size = name.len + value.len + FIELD_BYTES
    if not is_safe(name, value) or name.ptr[0] == c":":
        return -1
    for i in range(trailers.n_headers):
        size += trailers.headers[i].name.len + trailers.headers[i].value.len + FIELD_BYTES
    return 0 if size <= trailer_limit(trailers) and put_field(trailers, name, value) else -1


# Answers

cdef int take_response_field(Response response, Span name, Span value) noexcept:
    """One more field of an answer's section. 0, or -1: it makes the answer malformed or too large."""
    cdef Py_ssize_t i
    if name.len and name.ptr[0] == c":":
        if not span_eq(name, b":status", 7) or response.status or value.len != 3:
            return -1
        for i in range(3):
            if not c"0" <= value.ptr[i] <= c"9":
                return -1
            response.status = response.status * 10 + value.ptr[i] - c"0"
        return 0 if response.status >= 100 else -1
    if response.status == 0 or not is_safe(name, value) or response.n_headers >= MAX_RESPONSE_LINES:
        return -1
    if not put_field(response, name, value):
        return -1
    return -1 if is_of_connection(response.kinds[response.n_headers - 1], value) else 0


cdef int complete_response(Response response, bint ended, bint head_request) noexcept:
    """The field section is complete: become an answer like one that `Response.parse` has read. 0, or FIELDS_MALFORMED."""
    response.minor_version = 1
    if response.status == 0 or response.status == 101:
        return FIELDS_MALFORMED
    if frame_response(response.headers, response.kinds, response.n_headers, 1, response.status, head_request, &response.framing):
        return FIELDS_MALFORMED
    response.framing.keep_alive = True
    if response.status < 200:
        return FIELDS_MALFORMED if ended else 0
    if response.framing.body == BODY_UNTIL_CLOSE:
        response.framing.body = BODY_NONE if ended else BODY_CHUNKED
    elif ended and response.framing.body == BODY_LENGTH:
        return FIELDS_MALFORMED
    return 0


# Lists

cdef Field* next_field(FieldList* list) noexcept:
    """Room for one more; NULL without memory."""
    cdef Py_ssize_t capacity
    cdef void* moved
    if list.count == list.capacity:
        capacity = list.capacity * 2 if list.capacity else FIRST_FIELDS
        moved = realloc(list.fields, capacity * sizeof(Field))
        if moved == NULL:
            return NULL
        list.fields = <Field*>moved
        list.capacity = capacity
    list.count += 1
    return &list.fields[list.count - 1]


cdef inline int add(FieldList* list, const char* name, size_t name_length, const char* value, size_t value_length) noexcept:
    cdef Field* field = next_field(list)
    if field == NULL:
        return -1
    field.name = name
    field.name_length = name_length
    field.value = value
    field.value_length = value_length
    field.flags = 0
    return 0


cdef int list_status(int status, FieldList* into) noexcept:
    """The head of an answer without fields. 0, or -1 without memory."""
    into.count = 0
    into.status[0] = <char>(c"0" + status // 100)
    into.status[1] = <char>(c"0" + status // 10 % 10)
    into.status[2] = <char>(c"0" + status % 10)
    return add(into, b":status", 7, into.status, 3)


cdef int list_response(Response response, Span date, FieldList* into) noexcept:
    """The fields of the head that a client is sent: the status, headers less hop-by-hop ones. 0, or -1 without memory.

    date  a `Date` to add when the server sent none; empty for 1xx.
    The list refers to the response and to itself; names are in any case, the library writes them in lower case.
    """
    cdef Py_ssize_t i
    cdef uint8_t kind
    cdef bint dated = date.len == 0, lengthy = False
    if list_status(response.status if response.status != 101 else 200, into) < 0:
        return -1
    for i in range(response.n_headers):
        kind = response.kinds[i]
        if kind != H_OTHER or response.framing.names_headers:
            if kind == H_DROPPED or (is_hop_by_hop(kind) and (kind != H_TRAILER or response.framing.body != BODY_CHUNKED)) \
                    or kind == H_TRANSFER_ENCODING:
                continue
            if kind == H_CONTENT_LENGTH:
                if lengthy or response.status < 200 or response.status == 204 or response.framing.body == BODY_CHUNKED:
                    continue
                lengthy = True
            elif kind == H_DATE:
                dated = True
            elif kind == H_OTHER and connection_lists(response.headers, response.kinds, response.n_headers,
                                                      response.headers[i].name):
                continue
        if add(into, response.headers[i].name.ptr, response.headers[i].name.len, response.headers[i].value.ptr,
               response.headers[i].value.len) < 0:
            return -1
    return 0 if dated else add(into, b"date", 4, date.ptr, date.len)


cdef bint is_grpc(Request request) noexcept:
    """Whether a request is a call of gRPC, whose client looks for a status of gRPC in the answer."""
    cdef Span kind = request.find(b"content-type", 12)
    return kind.len >= 16 and span_ieq(span_of(kind.ptr, 16), b"application/grpc", 16)


cdef int list_grpc_status(int status, FieldList* into) noexcept:
    """List the fields of a gRPC answer without a body for a status of HTTP. Returns 0, or -1 without memory.

    Source: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
    """
    cdef const char* code = b"2"   # UNKNOWN
    cdef Span text = status_text(status)
    if status == 400:
        code = b"13"               # INTERNAL
    elif status == 401:
        code = b"16"               # UNAUTHENTICATED
    elif status == 403:
        code = b"7"                # PERMISSION_DENIED
    elif status == 404:
        code = b"12"               # UNIMPLEMENTED
    elif status == 413 or status == 431:
        code = b"8"                # RESOURCE_EXHAUSTED
    elif status == 429 or 502 <= status <= 504:
        code = b"14"               # UNAVAILABLE
    into.count = 0
    if add(into, b":status", 7, b"200", 3) or add(into, b"content-type", 12, b"application/grpc", 16) \
            or add(into, b"grpc-status", 11, code, strlen(code)):
        return -1
    return add(into, b"grpc-message", 12, text.ptr, text.len) if text.len else 0


cdef int list_trailers(Message trailers, FieldList* into) noexcept:
    """The fields of a trailer section, less what may not stand there. 0, or -1 without memory."""
    cdef Py_ssize_t i
    into.count = 0
    for i in range(trailers.n_headers):
        if trailers.kinds[i] == H_OTHER and add(into, trailers.headers[i].name.ptr, trailers.headers[i].name.len,
                                                trailers.headers[i].value.ptr, trailers.headers[i].value.len) < 0:
            return -1
    return 0


cdef int list_request(Request request, const char* text, Py_ssize_t length, bint encrypted, bint websocket, FieldList* into) noexcept:
    """List the fields of a request for HTTP/2 from the HTTP/1 head that `render_request` wrote, which alone decides what is sent.

    websocket  as an extended CONNECT (RFC 8441), whose stream is the websocket.
    Returns 0, or -1 without memory. The list refers to `text`.
    """
    cdef const char* line = <const char*>memchr(text, c"\n", length)
    cdef const char* path = text + request.head.method.len + 1
    cdef size_t count = request.n_headers + 16
    cdef Header* headers
    cdef Header* header
    cdef uint8_t kind
    cdef size_t i
    cdef int result = -1
    into.count = 0
    if line == NULL:
        return -1
    headers = <Header*>malloc(count * sizeof(Header))
    if headers == NULL:
        return -1
    # " HTTP/1.1\r" stands between the path and the end of the line.
    if pico_parse_headers(line + 1, length - (line + 1 - text), headers, &count, 0) > 0 \
            and (add(into, b":method", 7, b"CONNECT", 7) == 0 and add(into, b":protocol", 9, b"websocket", 9) == 0 if websocket
                 else add(into, b":method", 7, text, request.head.method.len) == 0) \
            and add(into, b":scheme", 7, b"https" if encrypted else b"http", 5 if encrypted else 4) == 0 \
            and add(into, b":path", 5, path, line - 10 - path) == 0:
        result = 0
        for i in range(count):
            header = &headers[i]
            kind = header_kind(header.name)
            if kind == H_HOST:
                result = add(into, b":authority", 10, header.value.ptr, header.value.len)
            elif kind == H_TE:
                result = add(into, b"te", 2, b"trailers", 8)
            elif websocket and span_ieq(header.name, b"sec-websocket-key", 17):
                continue               # nothing answers it there
            elif kind != H_CONNECTION and kind != H_UPGRADE and kind != H_TRANSFER_ENCODING:
                result = add(into, header.name.ptr, header.name.len, header.value.ptr, header.value.len)
            if result:
                break
    free(headers)
    return result
