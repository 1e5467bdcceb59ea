"""Heads as lists of fields, as HTTP/2 and HTTP/3 carry them (RFC 9113 section 8, RFC 9114 section 4). No I/O.

The one place where such a head becomes a message, and a message such a head. What is read has been looked at by the library
that decodes it; whatever could mean something else in HTTP/1 is looked at here once more.
"""

import base64
import os

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, strlen

from lbcore.http.arena cimport arena_alloc
from lbcore.http.field_list cimport Field, FieldBlock, FieldList, list_add, list_begin, list_named
from lbcore.http.framing cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE, BODY_UNTIL_CLOSE, connection_lists, frame_request, frame_response
from lbcore.http.head cimport Header, RequestHead
from lbcore.http.heap cimport heap_take
from lbcore.http.known cimport (
    H_CONTENT_LENGTH, H_DATE, H_DROPPED, H_HOST, H_HTTP2_SETTINGS, H_OTHER, H_TE, H_TRAILER, H_TRANSFER_ENCODING, header_kind, is_hop_by_hop, is_of_http1,
)
from lbcore.http.message cimport Message
from lbcore.http.render cimport ADDED_LINES, ForwardPolicy, forwarded_for, host_to_send, put_lines, status_text
from lbcore.http.request cimport Request, RequestPolicy
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_eq, span_ieq, span_of

cdef enum:
    FIELD_BYTES = 32           # what each field counts beside its bytes (RFC 9113 section 6.5.2)
    MAX_RESPONSE_LINES = 10000


cdef enum:
    IN_NAME = 1                # not in the name of a field: controls, space, colon, capitals, what is not ASCII
    IN_VALUE = 2               # not in its value: NUL and the ends of lines
    IN_PSEUDO = 4              # nor, in that of a pseudo-header, the space
    LEAST_SAFE = 0x21          # from here on no byte is IN_VALUE or IN_PSEUDO; in values the space is safe, too

cdef uint8_t UNSAFE[256]       # bits for each byte


cdef void fill_unsafe() noexcept:
    cdef int byte
    for byte in range(256):
        UNSAFE[byte] = IN_NAME if byte <= 0x20 or byte >= 0x7F or byte == c":" or c"A" <= byte <= c"Z" else 0
    for byte in (0, c"\n", c"\r"):
        UNSAFE[byte] |= IN_VALUE | IN_PSEUDO
    UNSAFE[<int>c" "] |= IN_PSEUDO


fill_unsafe()


cdef bint is_clean(Span text, uint8_t bit, uint64_t least) noexcept nogil:
    """Whether no byte of a value has a bit in UNSAFE, which no byte from `least` on has. Words of eight such bytes are passed at once."""
    cdef uint64_t word, ones = 0x0101010101010101
    cdef Py_ssize_t i = 0, end
    while i < text.len:
        end = min(i + 8, text.len)
        if end - i == 8:
            memcpy(&word, text.ptr + i, 8)
            if (word - ones * least) & ~word & ones * 0x80 == 0:      # the top bit stays where a byte is below `least`
                i = end
                continue
        while i < end:
            if UNSAFE[<uint8_t>text.ptr[i]] & bit:
                return False
            i += 1
    return True


cdef bint is_safe(Span name, Span value) noexcept nogil:
    """Whether a field can be written as a line of HTTP/1 that is read as that field: a name in lower case, no end of a line."""
    cdef Py_ssize_t i
    cdef uint8_t seen = 0
    if name.len == 0:
        return False
    for i in range(name.len):
        seen |= UNSAFE[<uint8_t>name.ptr[i]]
    return not seen & IN_NAME and is_clean(value, IN_VALUE, LEAST_SAFE - 1)


cdef bint is_of_connection(uint8_t kind, Span value) noexcept nogil:
    """Whether no message may have a field, because it concerns a connection of HTTP/1."""
    return is_of_http1(kind) and kind != H_HTTP2_SETTINGS and not (kind == H_TE and span_ieq(value, b"trailers", 8))


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
    message.kinds[n] = header_kind(name)       # not of the copy, whose memory the cache may not have yet
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
        if not is_clean(value, IN_PSEUDO, LEAST_SAFE):
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

cdef int list_status(int status, Py_ssize_t more, FieldList* into) noexcept:
    """The status of an answer's head, and room for more fields. 0, or -1 without memory."""
    if list_begin(into, more + 1) < 0:
        return -1
    into.status[0] = <char>(c"0" + status // 100)
    into.status[1] = <char>(c"0" + status // 10 % 10)
    into.status[2] = <char>(c"0" + status % 10)
    list_named(into, b":status", 7, span_of(into.status, 3))
    return 0


cdef int list_response(Response response, Span date, FieldList* into) noexcept:
    """The fields of the head that a client is sent: the status, headers less hop-by-hop ones. 0, or -1 without memory.

    date  a `Date` to add when the server sent none; empty for 1xx.
    The list refers to the response and to itself; names are in any case, the library writes them in lower case.
    """
    cdef Py_ssize_t i
    cdef uint8_t kind
    cdef bint dated = date.len == 0, lengthy = False
    if list_status(response.status if response.status != 101 else 200, response.n_headers + 1, into) < 0:
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
        list_add(into, response.headers[i].name, response.headers[i].value)
    if not dated:
        list_named(into, b"date", 4, date)
    return 0


cdef bint is_grpc(Request request) noexcept:
    """Whether a request is a call of gRPC, whose client looks for a status of gRPC in the answer."""
    cdef Span kind = request.find(b"content-type", 12)
    return kind.len >= 16 and span_ieq(span_of(kind.ptr, 16), b"application/grpc", 16)


cdef const char* grpc_status_of(int status) noexcept nogil:
    """The status of gRPC for a status of HTTP.

    Source: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
    """
    if status == 400:
        return b"13"               # INTERNAL
    if status == 401:
        return b"16"               # UNAUTHENTICATED
    if status == 403:
        return b"7"                # PERMISSION_DENIED
    if status == 404:
        return b"12"               # UNIMPLEMENTED
    if status == 413 or status == 431:
        return b"8"                # RESOURCE_EXHAUSTED
    if status == 429 or 502 <= status <= 504:
        return b"14"               # UNAVAILABLE
    return b"2"                    # UNKNOWN


cdef int list_grpc_status(int status, FieldList* into) noexcept:
    """List the fields of a gRPC answer without a body for a status of HTTP. Returns 0, or -1 without memory."""
    cdef const char* code = grpc_status_of(status)
    cdef Span text = status_text(status)
    if list_status(200, 3, into) < 0:
        return -1
    list_named(into, b"content-type", 12, span_of(b"application/grpc", 16))
    list_named(into, b"grpc-status", 11, span_of(code, strlen(code)))
    if text.len:
        list_named(into, b"grpc-message", 12, text)
    return 0


cdef int list_request(Request request, const ForwardPolicy* policy, Span path_prefix, bint encrypted, bint websocket,
                      FieldList* into) noexcept:
    """List the fields of a request to a server, as `render_request` writes its lines. Returns 0, or -1 without memory.

    encrypted  the connection to the server is TLS.
    websocket  as an extended CONNECT (RFC 8441), whose stream is the websocket.
    The list refers to the request, the policy, and constants.
    """
    cdef Span addresses, path = whole_path(request, path_prefix)
    if path.len == 0 or forwarded_for(request, policy, &addresses) < 0 or list_begin(into, request.n_headers + ADDED_LINES + 5) < 0:
        return -1
    if websocket:
        list_named(into, b":method", 7, span_of(b"CONNECT", 7))
        list_named(into, b":protocol", 9, span_of(b"websocket", 9))
    else:
        list_named(into, b":method", 7, request.head.method)
    list_named(into, b":scheme", 7, span_of(b"https", 5) if encrypted else span_of(b"http", 4))
    list_named(into, b":path", 5, path)
    list_named(into, b":authority", 10, host_to_send(request, policy))
    put_lines(NULL, into, request, policy, addresses)
    if websocket:
        drop_field(into, span_of(b"sec-websocket-key", 17))    # nothing answers it there
    return 0


cdef Span whole_path(Request request, Span prefix) noexcept:
    """The path for a server, with its query, in one piece: where it stands, or a copy in the request's arena. Empty without memory."""
    cdef RequestHead* head = &request.head
    cdef char* copy
    cdef char* out
    if prefix.len == 0:
        if not head.has_query:
            return head.path
        if head.query.ptr == head.path.ptr + head.path.len + 1 and head.path.ptr[head.path.len] == c"?":
            return span_of(head.path.ptr, head.path.len + 1 + head.query.len)
    copy = out = arena_alloc(&request.arena, prefix.len + head.path.len + 1 + head.query.len)
    if copy == NULL:
        return span_of(NULL, 0)
    if prefix.len:
        memcpy(out, prefix.ptr, prefix.len)
    out += prefix.len
    memcpy(out, head.path.ptr, head.path.len)
    out += head.path.len
    if head.has_query:
        out[0] = c"?"
        out += 1
        if head.query.len:
            memcpy(out, head.query.ptr, head.query.len)
        out += head.query.len
    return span_of(copy, out - copy)


cdef void drop_field(FieldList* list, Span name) noexcept:
    """Remove the fields of a name, given in lower case."""
    cdef Py_ssize_t i, left = 0
    for i in range(list.count):
        if not span_ieq(span_of(list.fields[i].name, <Py_ssize_t>list.fields[i].name_length), name.ptr, name.len):
            list.fields[left] = list.fields[i]
            left += 1
    list.count = left


cdef int pack_trailers(Message trailers, FieldBlock** into) noexcept:
    """Copy the fields of a trailer section, less what may not stand there, into a block that is the caller's from here on; NULL: there
    are none. Returns 0, or -1 without memory."""
    cdef Py_ssize_t i, count = 0, size = 0
    cdef Header* header
    cdef FieldBlock* block
    cdef Field* field
    cdef char* text
    into[0] = NULL
    for i in range(trailers.n_headers):
        if trailers.kinds[i] == H_OTHER:
            count += 1
            size += trailers.headers[i].name.len + trailers.headers[i].value.len
    if count == 0:
        return 0
    block = <FieldBlock*>heap_take(sizeof(FieldBlock) + count * sizeof(Field) + size)
    if block == NULL:
        return -1
    text = <char*>&block.fields[count]
    block.count = 0
    for i in range(trailers.n_headers):
        if trailers.kinds[i] != H_OTHER:
            continue
        header = &trailers.headers[i]
        field = &block.fields[block.count]
        memcpy(text, header.name.ptr, header.name.len)
        field.name = text
        field.name_length = header.name.len
        text += header.name.len
        if header.value.len:
            memcpy(text, header.value.ptr, header.value.len)
        field.value = text
        field.value_length = header.value.len
        field.flags = 0
        text += header.value.len
        block.count += 1
    into[0] = block
    return 0
