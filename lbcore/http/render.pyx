"""Rendering of heads: requests to servers and answers to clients. No I/O.

Every head is written from parsed parts, so that a server reads exactly the request that lbcore has read.
"""

from http import HTTPStatus

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from lbcore.http.buffer cimport Buffer, buffer_release, buffer_reserve
from lbcore.http.framing cimport BODY_CHUNKED, connection_lists
from lbcore.http.head cimport ClientAddress, Header, RequestHead
from lbcore.http.known cimport (
    H_CONTENT_LENGTH, H_DATE, H_DROPPED, H_HOST, H_OTHER, H_OWN, H_TRAILER, H_TRANSFER_ENCODING, H_UPGRADE, H_X_FORWARDED_FOR, H_X_FORWARDED_HOST,
    H_X_FORWARDED_PORT, H_X_FORWARDED_PROTO, H_X_FORWARDED_SERVER, H_X_REAL_IP, is_hop_by_hop, is_managed,
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
        if request.kinds[i] == H_X_FORWARDED_PROTO:
            value = request.headers[i].value
            return span_ieq(value, b"https", 5) or span_ieq(value, b"wss", 3)
    return False


cdef char* put_forwarded(char* out, Request request, const ForwardPolicy* policy, const uint8_t* present) noexcept:
    """Write the managed headers that the client must not set, or has not set."""
    cdef RequestHead* head = &request.head
    cdef ClientAddress* client = head.client
    cdef Span port
    cdef bint websocket
    if client.text_len and not present[<int>H_X_REAL_IP]:
        out = put(out, b"X-Real-Ip: ", 11)
        out = put(out, client.text, client.text_len)
        out = put(out, b"\r\n", 2)
    if not present[<int>H_X_FORWARDED_PROTO]:
        websocket = request.framing.upgrade
        if policy.encrypted:
            out = put(out, b"X-Forwarded-Proto: wss\r\n", 24) if websocket else put(out, b"X-Forwarded-Proto: https\r\n", 26)
        else:
            out = put(out, b"X-Forwarded-Proto: ws\r\n", 23) if websocket else put(out, b"X-Forwarded-Proto: http\r\n", 25)
    if not present[<int>H_X_FORWARDED_PORT]:
        port = authority_port(head.authority)
        out = put(out, b"X-Forwarded-Port: ", 18)
        if port.len:
            out = put_span(out, port)
        elif policy.encrypted or came_encrypted(request):
            out = put(out, b"443", 3)
        else:
            out = put(out, b"80", 2)
        out = put(out, b"\r\n", 2)
    if not present[<int>H_X_FORWARDED_HOST] and head.authority.len:
        out = put(out, b"X-Forwarded-Host: ", 18)
        out = put_span(out, head.authority)
        out = put(out, b"\r\n", 2)
    if not present[<int>H_X_FORWARDED_SERVER]:
        out = put(out, b"X-Forwarded-Server: ", 20)
        out = put_span(out, policy.server_name)
        out = put(out, b"\r\n", 2)
    return out


cdef char* put_forwarded_for(char* out, Request request, const ForwardPolicy* policy) noexcept:
    """Write X-Forwarded-For in one line: the addresses that a trusted client has sent, then the client's own address."""
    cdef RequestHead* head = &request.head
    cdef bint empty = True
    cdef Py_ssize_t i
    cdef char* start = out
    out = put(out, b"X-Forwarded-For: ", 17)
    for i in range(head.n_headers):
        if request.kinds[i] == H_X_FORWARDED_FOR | H_OWN and head.headers[i].value.len == 0:
            return start       # a middleware has removed it
        if (policy.trusted and request.kinds[i] == H_X_FORWARDED_FOR) or request.kinds[i] == H_X_FORWARDED_FOR | H_OWN:
            if head.headers[i].value.len:
                if not empty:
                    out = put(out, b", ", 2)
                out = put_span(out, head.headers[i].value)
                empty = False
    if policy.append_for and head.client.text_len:
        if not empty:
            out = put(out, b", ", 2)
        out = put(out, head.client.text, head.client.text_len)
        empty = False
    return start if empty else put(out, b"\r\n", 2)


cdef int render_request(Request request, const ForwardPolicy* policy, Span path_prefix, Buffer* out) noexcept:
    """Append the head of a request to a server. Returns 0, or -1 without memory. O(head)."""
    cdef RequestHead* head = &request.head
    cdef Py_ssize_t i, size
    cdef uint8_t kind
    cdef uint8_t present[32]
    cdef char* at
    cdef Span host
    size = FIXED_BYTES + head.method.len + head.path.len + head.query.len + path_prefix.len + policy.server_name.len
    size += 2 * head.authority.len + request.forwarded_host.len + policy.server_authority.len + head.client.text_len * 2
    for i in range(head.n_headers):
        size += head.headers[i].name.len + head.headers[i].value.len + 4
    if buffer_reserve(out, size) < 0:
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
    if request.forwarded_host.len and policy.pass_host:
        host = request.forwarded_host
    else:
        host = head.authority if policy.pass_host and head.authority.len else policy.server_authority
    at = put_span(at, host)
    at = put(at, b"\r\n", 2)
    for i in range(32):
        present[i] = False
    for i in range(head.n_headers):
        kind = request.kinds[i]
        if kind == H_OTHER and not request.framing.names_headers:
            at = put_header(at, &head.headers[i])
            continue
        if kind & H_OWN:
            kind ^= H_OWN
            present[kind] = True
            if head.headers[i].value.len and kind != H_HOST and kind != H_X_FORWARDED_FOR:
                at = put_header(at, &head.headers[i])
            continue
        if kind == H_DROPPED or kind == H_HOST or kind == H_TRANSFER_ENCODING or (
                is_hop_by_hop(kind) and (kind != H_TRAILER or request.framing.body != BODY_CHUNKED)):
            continue
        if is_managed(kind):
            if not policy.trusted or kind == H_X_FORWARDED_FOR or kind == H_X_FORWARDED_SERVER:
                continue
            present[kind] = True
        elif kind == H_OTHER and request.framing.names_headers and connection_lists(
                head.headers, request.kinds, head.n_headers, head.headers[i].name):
            continue
        elif kind == H_CONTENT_LENGTH and not take_length(request, i):
            continue
        at = put_header(at, &head.headers[i])
    if request.framing.body == BODY_CHUNKED:
        at = put(at, b"Transfer-Encoding: chunked\r\n", 28)
    if request.framing.upgrade:
        at = put_upgrade(at, head.headers, request.kinds, head.n_headers)
    elif request.framing.te_trailers:
        # A sender of TE has to list it in Connection (RFC 9110 section 10.1.4).
        at = put(at, b"Connection: TE\r\nTe: trailers\r\n", 30)
    at = put_forwarded(at, request, policy, present)
    at = put_forwarded_for(at, request, policy)
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
        elif policy.trusted and is_managed(kind) and kind != H_X_FORWARDED_SERVER:
            present[kind] = True
    if buffer_reserve(out, FIXED_BYTES + request.head.authority.len + policy.server_name.len) < 0:
        return -1
    out.end = put_forwarded(out.base + out.end, request, policy, present) - out.base
    return 0


cdef inline bint take_length(Request request, Py_ssize_t index) noexcept:
    """Whether to forward this Content-Length: the first of equal ones, and none beside a transfer coding."""
    cdef Py_ssize_t i
    if request.framing.body == BODY_CHUNKED:
        return False
    for i in range(index):
        if request.kinds[i] == H_CONTENT_LENGTH:
            return False
    return True


cdef char* put_upgrade(char* out, const Header* headers, const uint8_t* kinds, Py_ssize_t count) noexcept:
    """Write `Connection: Upgrade` and the Upgrade headers, for requests and answers."""
    cdef Py_ssize_t i
    out = put(out, b"Connection: Upgrade\r\n", 21)
    for i in range(count):
        if kinds[i] == H_UPGRADE:
            out = put_header(out, &headers[i])
    return out


cdef int render_response(Response response, int client_minor_version, bint keep_alive, bint chunked, Span date,
                         Buffer* out) noexcept:
    """Append the head of an answer to a client: status line, headers except hop-by-hop ones, framing. 0, or -1 without memory.

    chunked  the body is sent in chunks, whatever framing the server used. Only then can trailers follow, so only then `Trailer` is kept.
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
            if lengthy or chunked or response.status < 200 or response.status == 204:
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
    if render_response(response, client_version, keep_alive, chunked, span_of(date, len(date)), &out) < 0:
        raise MemoryError
    try:
        return out.base[out.start:out.end]
    finally:
        buffer_release(&out)
