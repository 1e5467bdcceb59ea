"""Rendering of heads: requests to servers and answers to clients. No I/O.

Every head is written from parsed parts, so that a server reads exactly the request that lbcore has read. What of a request is forwarded
is decided here for all protocols: `put_lines` writes the lines of HTTP/1, or lists them as fields.
"""

from http import HTTPStatus

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from lbcore.http.arena cimport arena_alloc
from lbcore.http.buffer cimport Buffer, buffer_release, buffer_reserve
from lbcore.http.field_list cimport FieldList, list_add, list_named
from lbcore.http.framing cimport BODY_CHUNKED, BODY_NONE, connection_lists
from lbcore.http.head cimport ClientAddress, Header, RequestHead
from lbcore.http.known cimport (
    H_CONTENT_LENGTH, H_DATE, H_DROPPED, H_HOST, H_OTHER, H_OWN, H_TE, H_TRAILER, H_TRANSFER_ENCODING, H_UPGRADE, H_X_FORWARDED_FOR,
    H_X_FORWARDED_HOST, H_X_FORWARDED_PORT, H_X_FORWARDED_PROTO, H_X_FORWARDED_SERVER, H_X_REAL_IP, is_hop_by_hop, is_managed, is_of_http1,
)
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_ieq, span_of

cdef enum:
    FIXED_BYTES = 512          # room for all that lbcore adds to a head, except host names

_texts = {int(status): status.phrase.encode() for status in HTTPStatus}
_texts.update({413: b"Request Entity Too Large", 414: b"Request URI Too Long", 416: b"Requested Range Not Satisfiable"})
_texts.update({418: b"I'm a teapot", 422: b"Unprocessable Entity", 499: b"Client Closed Request"})
cdef Span TEXTS[600]


cdef void fill_texts() noexcept:
    for status, text in _texts.items():
        if status < 600:
            TEXTS[<int>status] = span_of(text, len(text))


fill_texts()


cdef Span status_text(int status) noexcept:
    """The standard reason phrase of a status; empty if it has none. A constant."""
    return TEXTS[status] if 0 <= status < 600 else span_of(NULL, 0)


cdef inline char* put(char* out, const char* ptr, Py_ssize_t length) noexcept nogil:
    memcpy(out, ptr, length)
    return out + length


cdef inline char* put_span(char* out, Span span) noexcept nogil:
    if span.len:
        memcpy(out, span.ptr, span.len)
    return out + span.len


cdef inline char* put_header(char* out, const Header* header) noexcept nogil:
    cdef const char* colon = header.name.ptr + header.name.len
    if header.value.ptr == colon + 2 and colon[0] == c":" and colon[1] == c" ":
        # The line is unchanged since it was parsed: copy it as a whole.
        memcpy(out, header.name.ptr, header.name.len + 2 + header.value.len)
        out += header.name.len + 2 + header.value.len
        out[0] = c"\r"
        out[1] = c"\n"
        return out + 2
    out = put_span(out, header.name)
    out[0] = c":"
    out[1] = c" "
    out = put_span(out + 2, header.value)
    out[0] = c"\r"
    out[1] = c"\n"
    return out + 2


cdef inline char* put_status(char* out, int status) noexcept nogil:
    out[0] = <char>(c"0" + status // 100)
    out[1] = <char>(c"0" + status // 10 % 10)
    out[2] = <char>(c"0" + status % 10)
    return out + 3


cdef char* put_chunk_size(char* out, Py_ssize_t size) noexcept nogil:
    """Write the size line of a chunk, up to 18 bytes. Returns the position behind it."""
    cdef int shift = 60
    cdef int digit
    while shift > 0 and (size >> shift) & 15 == 0:
        shift -= 4
    while shift >= 0:
        digit = (size >> shift) & 15
        out[0] = <char>(c"0" + digit if digit < 10 else c"a" + digit - 10)
        out += 1
        shift -= 4
    out[0] = c"\r"
    out[1] = c"\n"
    return out + 2


cdef inline Span authority_port(Span authority) noexcept nogil:
    """The digits after the last colon outside brackets; empty when there are none."""
    cdef Py_ssize_t i = authority.len - 1
    while i >= 0 and c"0" <= authority.ptr[i] <= c"9":
        i -= 1
    if i >= 0 and authority.ptr[i] == c":":
        return span_of(authority.ptr + i + 1, authority.len - i - 1)
    return span_of(NULL, 0)


cdef bint came_encrypted(Request request) noexcept:
    """Whether a trusted proxy in front says that the client uses TLS."""
    cdef Py_ssize_t i
    cdef Span value
    for i in range(request.n_headers):
        if request.kinds[i] == H_X_FORWARDED_PROTO and request.headers[i].value.len:
            value = request.headers[i].value
            return span_ieq(value, b"https", 5) or span_ieq(value, b"wss", 3)
    return False


cdef bint asks_for_websocket(Request request) noexcept:
    """Whether the scheme that servers are told is ws or wss: not for other protocols that a connection may change to."""
    return request.framing.upgrade and span_ieq(request.find(b"upgrade", 7), b"websocket", 9)


cdef Span forwarded_port(Request request, bint encrypted) noexcept:
    """The port that the client has asked for: that of its Host, else the one of its scheme. A constant, or a part of the request."""
    cdef Span port = authority_port(request.head.authority)
    if port.len:
        return port
    return span_of(b"443", 3) if encrypted or came_encrypted(request) else span_of(b"80", 2)


cdef inline char* put_line(char* out, FieldList* list, const char* line, const char* lower, Py_ssize_t name_length,
                           Span value) noexcept nogil:
    """Write a line behind `out`, or list it as a field. Constants: `line`, the name with a colon and a space behind it; `lower`, the
    name in lower case."""
    if list != NULL:
        list_named(list, lower, name_length, value)
        return out
    return put(put_span(put(out, line, name_length + 2), value), b"\r\n", 2)


cdef inline char* pass_header(char* out, FieldList* list, const Header* header) noexcept nogil:
    if list != NULL:
        list_add(list, header.name, header.value)
        return out
    return put_header(out, header)


cdef char* put_forwarded(char* out, FieldList* list, Request request, const ForwardPolicy* policy, const uint8_t* present) noexcept:
    """Write the managed headers that the client must not set, or has not set, except X-Forwarded-For."""
    cdef RequestHead* head = &request.head
    cdef ClientAddress* client = head.client
    cdef Span scheme
    if client.text_len and not present[<int>H_X_REAL_IP]:
        out = put_line(out, list, b"X-Real-Ip: ", b"x-real-ip", 9, span_of(client.text, client.text_len))
    if not present[<int>H_X_FORWARDED_PROTO]:
        if asks_for_websocket(request):
            scheme = span_of(b"wss", 3) if policy.encrypted else span_of(b"ws", 2)
        else:
            scheme = span_of(b"https", 5) if policy.encrypted else span_of(b"http", 4)
        out = put_line(out, list, b"X-Forwarded-Proto: ", b"x-forwarded-proto", 17, scheme)
    if not present[<int>H_X_FORWARDED_PORT]:
        out = put_line(out, list, b"X-Forwarded-Port: ", b"x-forwarded-port", 16, forwarded_port(request, policy.encrypted))
    if not present[<int>H_X_FORWARDED_HOST] and head.authority.len:
        out = put_line(out, list, b"X-Forwarded-Host: ", b"x-forwarded-host", 16, head.authority)
    if not present[<int>H_X_FORWARDED_SERVER]:
        out = put_line(out, list, b"X-Forwarded-Server: ", b"x-forwarded-server", 18, policy.server_name)
    return out


cdef inline Span client_address(const RequestHead* head, const ForwardPolicy* policy) noexcept nogil:
    """What lbcore itself says in X-Forwarded-For; empty: nothing."""
    return span_of(head.client.text, head.client.text_len if policy.append_for else 0)


cdef int forwarded_for(Request request, const ForwardPolicy* policy, Span* into) noexcept:
    """The value of X-Forwarded-For: the addresses that a trusted client has sent, then the client's own one. Empty: it is not sent.

    Returns 0, or -1 without memory. The value is the client's address, or stands in the request's arena.
    """
    cdef RequestHead* head = &request.head
    cdef Span own = client_address(head, policy)
    cdef Py_ssize_t i, size = 0
    cdef char* out
    into[0] = span_of(NULL, 0)
    for i in range(head.n_headers):
        if is_address_line(request.kinds[i], policy):
            if request.kinds[i] & H_OWN and head.headers[i].value.len == 0:
                return 0               # a middleware has removed it
            size += head.headers[i].value.len + 2
    if size == 0:
        into[0] = own
        return 0
    into.ptr = out = arena_alloc(&request.arena, size + own.len)
    if out == NULL:
        return -1
    for i in range(head.n_headers):
        if is_address_line(request.kinds[i], policy) and head.headers[i].value.len:
            out = put(put_span(out, head.headers[i].value), b", ", 2)
    if own.len:
        out = put_span(out, own)
    elif out != into.ptr:
        out -= 2                       # the comma behind the last one
    into.len = out - into.ptr
    return 0


cdef inline bint is_address_line(uint8_t kind, const ForwardPolicy* policy) noexcept nogil:
    """Whether a header has addresses that X-Forwarded-For of the request to a server begins with."""
    return kind == H_X_FORWARDED_FOR | H_OWN or (policy.trusted and kind == H_X_FORWARDED_FOR)


cdef Span host_to_send(Request request, const ForwardPolicy* policy) noexcept nogil:
    """The Host for the server."""
    if request.forwarded_host.len and policy.pass_host:
        return request.forwarded_host
    return request.head.authority if policy.pass_host and request.head.authority.len else policy.server_authority


cdef char* put_lines(char* out, FieldList* list, Request request, const ForwardPolicy* policy, Span addresses) noexcept:
    """Put the head of a request to a server, but for its first line and Host.

    list       NULL: written as lines of HTTP/1, behind `out`, where there is room for them; else fields of HTTP/2, with room for
               ADDED_LINES more than the request has headers.
    addresses  of `forwarded_for`.
    Returns    the end of the lines.
    """
    cdef RequestHead* head = &request.head
    cdef uint8_t present[32]
    cdef uint8_t kind
    cdef Py_ssize_t i
    for i in range(32):
        present[i] = False
    for i in range(head.n_headers):
        kind = request.kinds[i]
        if kind == H_OTHER and not request.framing.names_headers:
            out = pass_header(out, list, &head.headers[i])
            continue
        if kind & H_OWN:
            kind ^= H_OWN
            present[kind] = True
            if (head.headers[i].value.len or kind == H_OTHER) and kind != H_HOST and kind != H_X_FORWARDED_FOR and (list == NULL or not is_of_http1(kind)):
                out = pass_header(out, list, &head.headers[i])
            continue
        if kind == H_DROPPED or kind == H_HOST or kind == H_TRANSFER_ENCODING or (
                is_hop_by_hop(kind) and (kind != H_TRAILER or request.framing.body != BODY_CHUNKED)):
            continue
        if is_managed(kind):
            if not policy.trusted or kind == H_X_FORWARDED_FOR or kind == H_X_FORWARDED_SERVER or says_nothing(kind, head.headers[i].value):
                continue
            present[kind] = True
        elif kind == H_OTHER and request.framing.names_headers and connection_lists(
                head.headers, request.kinds, head.n_headers, head.headers[i].name):
            continue
        elif kind == H_CONTENT_LENGTH:
            if present[kind] or request.framing.body == BODY_CHUNKED:
                continue                       # the first of equal ones is forwarded, and none beside a transfer coding
            present[kind] = True
        out = pass_header(out, list, &head.headers[i])
    if list == NULL:
        out = put_hop(out, request)
    elif present[<int>H_TE] or (request.framing.te_trailers and not request.framing.upgrade):
        list_named(list, b"te", 2, span_of(b"trailers", 8))
    out = put_forwarded(out, list, request, policy, present)
    return put_line(out, list, b"X-Forwarded-For: ", b"x-forwarded-for", 15, addresses) if addresses.len else out


cdef inline char* put_hop(char* out, Request request) noexcept:
    """Write the lines by which HTTP/1 frames a message, and agrees on what concerns a connection."""
    if request.framing.body == BODY_CHUNKED:
        out = put(out, b"Transfer-Encoding: chunked\r\n", 28)
    if request.framing.upgrade:
        return put_upgrade(out, request.headers, request.kinds, request.n_headers)
    if request.framing.te_trailers:
        # A sender of TE has to list it in Connection (RFC 9110 section 10.1.4).
        return put(out, b"Connection: TE\r\nTe: trailers\r\n", 30)
    return out


cdef int render_request(Request request, const ForwardPolicy* policy, Span path_prefix, Buffer* out) noexcept:
    """Append the head of a request to a server. Returns 0, or -1 without memory. O(head)."""
    cdef RequestHead* head = &request.head
    cdef Py_ssize_t i, size
    cdef Span addresses
    cdef bint named = False
    cdef char* at
    size = FIXED_BYTES + head.method.len + head.path.len + head.query.len + path_prefix.len + policy.server_name.len
    size += 2 * head.authority.len + request.forwarded_host.len + policy.server_authority.len + head.client.text_len
    for i in range(head.n_headers):
        size += head.headers[i].name.len + head.headers[i].value.len + 4
        named |= request.kinds[i] & <uint8_t>(~H_OWN) == H_X_FORWARDED_FOR
    if named:
        if forwarded_for(request, policy, &addresses) < 0:
            return -1
    else:
        addresses = client_address(head, policy)
    if buffer_reserve(out, size + addresses.len) < 0:
        return -1
    at = out.base + out.end
    at = put_span(at, head.method)
    at = put(at, b" ", 1)
    at = put_span(at, path_prefix)
    at = put_span(at, head.path)
    if head.has_query:
        at = put(at, b"?", 1)
        at = put_span(at, head.query)
    at = put(at, b" HTTP/1.1\r\nHost: ", 17)
    at = put_span(at, host_to_send(request, policy))
    at = put(at, b"\r\n", 2)
    at = put_lines(at, NULL, request, policy, addresses)
    at = put(at, b"\r\n", 2)
    out.end = at - out.base
    return 0


cdef int render_forwarded(Request request, const ForwardPolicy* policy, Buffer* out) noexcept:
    """Append the managed headers that lbcore adds to a request, except X-Forwarded-For. Returns 0, or -1 without memory."""
    cdef uint8_t present[32]
    cdef uint8_t kind
    cdef Py_ssize_t i
    memset(present, 0, sizeof(present))
    for i in range(request.n_headers):
        kind = request.kinds[i]
        if kind & H_OWN:
            present[kind ^ H_OWN] = True
        elif policy.trusted and is_managed(kind) and kind != H_X_FORWARDED_SERVER and not says_nothing(kind, request.headers[i].value):
            present[kind] = True
    if buffer_reserve(out, FIXED_BYTES + request.head.authority.len + policy.server_name.len) < 0:
        return -1
    out.end = put_forwarded(out.base + out.end, NULL, request, policy, present) - out.base
    return 0


cdef char* put_upgrade(char* out, const Header* headers, const uint8_t* kinds, Py_ssize_t count) noexcept:
    """Write `Connection: Upgrade` and the Upgrade headers, for requests and answers."""
    cdef Py_ssize_t i
    out = put(out, b"Connection: Upgrade\r\n", 21)
    for i in range(count):
        if kinds[i] == H_UPGRADE:
            out = put_header(out, &headers[i])
    return out


cdef int render_response(Response response, int client_minor_version, bint keep_alive, bint chunked, bint is_head, Span date,
                         Buffer* out) noexcept:
    """Append the head of an answer to a client: status line, headers except hop-by-hop ones, framing. 0, or -1 without memory.

    chunked  the body is sent in chunks, whatever framing the server used. Only then can trailers follow, so only then `Trailer` is kept.
    is_head  the request was HEAD: its answer has no body, whatever length it tells.
    date     the value of `Date` if the server has sent none; empty for 1xx.
    """
    cdef Py_ssize_t i, size
    cdef uint8_t kind
    cdef bint dated = date.len == 0
    cdef bint lengthy = False
    cdef char* at
    size = FIXED_BYTES + response.reason.len + date.len
    for i in range(response.n_headers):
        size += response.headers[i].name.len + response.headers[i].value.len + 4
    if buffer_reserve(out, size) < 0:
        return -1
    at = out.base + out.end
    at = put(at, b"HTTP/1.1 ", 9) if client_minor_version else put(at, b"HTTP/1.0 ", 9)
    at = put_status(at, response.status)
    at = put(at, b" ", 1)
    at = put_span(at, response.reason if response.reason.len else status_text(response.status))
    at = put(at, b"\r\n", 2)
    for i in range(response.n_headers):
        kind = response.kinds[i]
        if kind == H_OTHER and not response.framing.names_headers:
            at = put_header(at, &response.headers[i])
            continue
        if kind == H_DROPPED or (is_hop_by_hop(kind) and (
                kind != H_TRAILER or not chunked or response.framing.body != BODY_CHUNKED)):
            continue
        if kind == H_CONTENT_LENGTH:
            # Beside a coding it is not that of the body, also where a client of HTTP/1.0 gets this without the coding.
            if lengthy or chunked or response.framing.body == BODY_CHUNKED or response.status < 200 or response.status == 204:
                continue
            lengthy = True
        elif kind == H_TRANSFER_ENCODING:
            continue
        elif kind == H_DATE:
            dated = True
        elif kind == H_OTHER and response.framing.names_headers and connection_lists(
                response.headers, response.kinds, response.n_headers, response.headers[i].name):
            continue
        at = put_header(at, &response.headers[i])
    if not dated:
        at = put(at, b"Date: ", 6)
        at = put_span(at, date)
        at = put(at, b"\r\n", 2)
    if chunked:
        at = put(at, b"Transfer-Encoding: chunked\r\n", 28)
    elif not lengthy and response.framing.body == BODY_NONE and not is_head and response.status >= 200 \
            and response.status != 204 and response.status != 304:
        # One without a length lasts until the connection ends (RFC 9112 section 6.3); HTTP/2 and HTTP/3 need no length for that.
        at = put(at, b"Content-Length: 0\r\n", 19)
    if response.status == 101:
        at = put_upgrade(at, response.headers, response.kinds, response.n_headers)
    elif response.status >= 200:
        if not keep_alive:
            at = put(at, b"Connection: close\r\n", 19)
        elif client_minor_version == 0:
            at = put(at, b"Connection: keep-alive\r\n", 24)
    at = put(at, b"\r\n", 2)
    out.end = at - out.base
    return 0


cdef int render_trailers(Message message, Buffer* out) noexcept:
    """Append the end of a chunked body with those trailers that are allowed. Returns 0, or -1 without memory."""
    cdef Py_ssize_t i, size = 5
    cdef char* at
    for i in range(message.n_headers):
        size += message.headers[i].name.len + message.headers[i].value.len + 4
    if buffer_reserve(out, size) < 0:
        return -1
    at = put(out.base + out.end, b"0\r\n", 3)
    for i in range(message.n_headers):
        if message.kinds[i] == H_OTHER:
            at = put_header(at, &message.headers[i])
    at = put(at, b"\r\n", 2)
    out.end = at - out.base
    return 0


def rewrite_request(wire: bytes, *, client: bytes = b"192.0.2.1", trusted: bool = False, append_for: bool = True,
                    encrypted: bool = False, pass_host: bool = True, server_authority: bytes = b"10.0.0.1:80",
                    server_name: bytes = b"edge", prefix: bytes = b"") -> bytes:
    """The head that a server gets for a request head, for tests. Raises ValueError if the request is refused."""
    cdef Request request = Request()
    cdef ForwardPolicy policy
    cdef ClientAddress address
    cdef Buffer out
    memset(&out, 0, sizeof(out))
    memset(&address, 0, sizeof(address))
    memcpy(address.text, <const char*>client, len(client))
    address.text_len = len(client)
    request.set_client(&address)
    policy.trusted = trusted
    policy.append_for = append_for
    policy.encrypted = encrypted
    policy.pass_host = pass_host
    policy.server_name = span_of(server_name, len(server_name))
    policy.server_authority = span_of(server_authority, len(server_authority))
    used = request.parse_bytes(wire)
    if used <= 0:
        raise ValueError(f"refused: {used}")
    if render_request(request, &policy, span_of(prefix, len(prefix)), &out) < 0:
        raise MemoryError
    try:
        return out.base[out.start:out.end]
    finally:
        buffer_release(&out)


def rewrite_response(wire: bytes, *, client_version: int = 1, keep_alive: bool = True, chunked: bool = False,
                     date: bytes = b"now") -> bytes:
    """The head that a client gets for an answer's head, for tests. Raises ValueError if the answer is refused."""
    cdef Response response = Response()
    cdef Buffer out
    memset(&out, 0, sizeof(out))
    used = response.parse_bytes(wire)
    if used <= 0:
        raise ValueError(f"refused: {used}")
    if render_response(response, client_version, keep_alive, chunked, False, span_of(date, len(date)), &out) < 0:
        raise MemoryError
    try:
        return out.base[out.start:out.end]
    finally:
        buffer_release(&out)
