"""Spans for OTLP, made of what workers have put into their rings: see `span_record`. No I/O.

It runs in the process that exports them. Names and attributes are Traefik's.
"""

from urllib.parse import urlsplit

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from lbcore.http.span cimport Span, span_of
from lbcore.observability.protobuf cimport (
    KEY_ROOM, KIND_CLIENT, KIND_INTERNAL, KIND_SERVER, LONGEST_VALUE, SPAN_ATTRIBUTE, SPAN_END, SPAN_ID, SPAN_KIND, SPAN_NAME,
    SPAN_OF_SCOPE, SPAN_PARENT_ID, SPAN_START, SPAN_TRACE_ID, SPAN_TRACE_STATE, begin_message, end_message, mend_utf8, put_fixed64,
    put_number, put_raw, put_text, put_utf8, put_varint, varint_size,
)
from lbcore.observability.span_record cimport (
    ASKED_AGENT, ASKED_METHOD, ASKED_PATH, ASKED_PREFIX, ASKED_QUERY, ASKED_QUESTION, ASKED_SERVER, ASKED_SERVICE, ASKED_TEXTS,
    LONGEST_TEXT, RECORD_ALIGN, REQUEST_TEXTS, SAME, TEXT_AGENT, TEXT_AUTHORITY, TEXT_CLIENT, TEXT_ENTRY_POINT, TEXT_METHOD,
    TEXT_PATH, TEXT_PEER, TEXT_QUERY, TEXT_SCHEME, TEXT_STATE, AskedRecord, CapturedHead, RequestRecord, StepRecord,
)
from lbcore.selection.clock cimport monotonic_ns

cdef enum:
    LONGEST_NAME = 100         # bytes of the name of a span
    SPAN_ROOM = 300            # most bytes of a span without attributes and state
    REQUEST_KEYS = 15          # attributes of the span of a request, but for captured headers
    ASKED_KEYS = 8             # likewise of one to a server, but for those of the server
    MOST_TEXTS = 4096          # names whose attributes are kept encoded
    REDACTED = 9               # bytes that a parameter without a value grows by

DEFAULT_PORTS = {"http": 80, "h2c": 80, "https": 443}
BROKEN = "a record of spans is broken"


def captured(names, direction):
    """`(name in lower case, key)` of the headers that are captured. The user agent has an attribute of its own."""
    lower = [name.lower() for name in names]
    return tuple((name.encode(), f"http.{direction}.header.{name}".encode())
                 for name in dict.fromkeys(lower) if direction != "request" or name != "user-agent")


def attribute(str key, value) -> bytes:
    """An attribute of a span, encoded. Keys are shorter than 65 bytes."""
    cdef bytes name = key.encode(), text
    cdef bytearray out
    cdef char* end
    if isinstance(value, int):
        out = bytearray(KEY_ROOM)
        end = put_number(out, SPAN_ATTRIBUTE, name, len(name), value)
    else:
        text = str(value).encode()
        out = bytearray(KEY_ROOM + len(text))
        end = put_text(out, SPAN_ATTRIBUTE, name, len(name), span_of(text, len(text)))
    return bytes(out[:end - <char*>out])


def described(str name, attributes) -> bytes:
    """Name, kind and attributes of an internal span, encoded."""
    cdef bytes text = name.encode()[:LONGEST_NAME]
    head = bytes([SPAN_NAME, len(text)]) + text + bytes([SPAN_KIND, KIND_INTERNAL])
    return head + b"".join(attribute(key, value) for key, value in attributes)


def server_texts(url: str) -> tuple:
    """The attributes of a server that is asked at a URL, encoded, and what its URLs begin with."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    host = parts.hostname or parts.path
    pairs = [("url.scheme", parts.scheme), ("network.peer.address", host), ("server.address", host)]
    if port:
        pairs += [("network.peer.port", port), ("server.port", port)]
    user, at, authority = parts.netloc.rpartition("@")
    if at:
        authority = f"REDACTED:REDACTED@{authority}"
    return b"".join([attribute(key, value) for key, value in pairs]), f"{parts.scheme}://{authority}".encode()


def service_texts(name: str) -> bytes:
    """Name, kind and attributes of the span of a service, encoded."""
    return described("Service", [("traefik.service.name", name)])


cdef object kept(dict texts, Span name, make):
    """What `make` gives for a name, which `texts` keeps for the next time; bounded."""
    cdef bytes key = PyBytes_FromStringAndSize(name.ptr, name.len)
    found = texts.get(key)
    if found is None:
        if len(texts) >= MOST_TEXTS:
            texts.clear()
        found = texts[key] = make(key.decode("utf-8", "replace"))
    return found


cdef Span version_of(const RequestRecord* record) noexcept nogil:
    if record.major_version == 1:
        return span_of(b"1.1", 3) if record.minor_version else span_of(b"1.0", 3)
    return span_of(b"2", 1) if record.major_version == 2 else span_of(b"3", 1)


cdef struct Identity:          # what all spans of a request have in common
    const uint8_t* trace_id
    const uint8_t* client_id   # of the client's span
    Span state


cdef inline char* put_head(char* out, const Identity* trace, const uint8_t* span_id, const uint8_t* parent_id, uint64_t begun_ns,
                           uint64_t ended_ns) noexcept nogil:
    """Identifiers and times of a span. `parent_id`: NULL = it has none."""
    cdef uint32_t flags = 0x101        # sampled; the parent is of this process
    out = put_raw(out, SPAN_TRACE_ID, trace.trace_id, 16)
    out = put_raw(out, SPAN_ID, span_id, 8)
    if parent_id != NULL:
        out = put_raw(out, SPAN_PARENT_ID, parent_id, 8)
        if parent_id == trace.client_id:
            flags = 0x301              # of another one
    if trace.state.len:
        out[0] = SPAN_TRACE_STATE
        out = put_varint(out + 1, trace.state.len)
        out = put_utf8(out, trace.state.ptr, trace.state.len)
    out = put_fixed64(out, SPAN_START, begun_ns)
    out = put_fixed64(out, SPAN_END, ended_ns)
    out[0] = <char>0x85
    out[1] = 1
    memcpy(out + 2, &flags, 4)
    return out + 6


cdef inline char* put_name(char* out, Span name, int kind) noexcept nogil:
    cdef Py_ssize_t length = name.len if name.len < LONGEST_NAME else LONGEST_NAME
    out = put_raw(out, SPAN_NAME, name.ptr, length)
    out[0] = SPAN_KIND
    out[1] = <char>kind
    return out + 2


cdef inline char* put_bytes(char* out, const char* data, Py_ssize_t length) noexcept nogil:
    if length:
        memcpy(out, data, length)
    return out + length


cdef inline char* put_error(char* out) noexcept nogil:
    """The status of a span: an error."""
    memcpy(out, b"\x7a\x02\x18\x02", 4)
    return out + 4


cdef inline char* put_outcome(char* out, int status, int least_error) noexcept nogil:
    """The status of an answer, and that of its span."""
    if status > 0:
        out = put_number(out, SPAN_ATTRIBUTE, b"http.response.status_code", 25, status)
    return put_error(out) if status >= least_error or status < 100 else out


cdef inline Py_ssize_t after(Py_ssize_t at) noexcept nogil:
    """Where the next record begins."""
    return (at + RECORD_ALIGN - 1) & ~<Py_ssize_t>(RECORD_ALIGN - 1)


@cython.final
cdef class SpanEncoder:
    """`settings`: `config.static.Tracing`."""

    cdef tuple request_keys            # of captured headers, by their index
    cdef tuple response_keys
    cdef Py_ssize_t longest_key
    cdef frozenset safe_parameters     # of queries, as bytes: the values of others are not told
    cdef dict servers                  # `server_texts` by URL as bytes; bounded
    cdef dict services                 # `service_texts` by name; likewise
    cdef char* out                     # owned; the spans so far
    cdef Py_ssize_t used
    cdef Py_ssize_t room
    cdef char* query                   # owned; of the request at work, without what is secret
    cdef char* other_query             # owned; likewise, of a request to a server

    def __cinit__(self, settings):
        self.request_keys = tuple([key for _, key in captured(settings.captured_request_headers, "request")])
        self.response_keys = tuple([key for _, key in captured(settings.captured_response_headers, "response")])
        self.longest_key = max([len(key) for key in (*self.request_keys, *self.response_keys)], default=0)
        self.safe_parameters = frozenset([name.encode() for name in settings.safe_query_params])
        self.servers = {}
        self.services = {}
        self.room = 1 << 16
        self.out = <char*>malloc(self.room)
        self.query = <char*>malloc((REDACTED + 1) * LONGEST_TEXT + 2 * REDACTED)
        self.other_query = <char*>malloc((REDACTED + 1) * LONGEST_TEXT + 2 * REDACTED)
        if self.out == NULL or self.query == NULL or self.other_query == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.out)
        free(self.query)
        free(self.other_query)

    def encode(self, bytes block not None) -> bytes:
        """The spans of records, each with its tag of ScopeSpans. Raises ValueError for what is none, MemoryError."""
        cdef Py_ssize_t at = 0, length = len(block)
        cdef const char* data = block
        cdef timespec now
        cdef uint64_t shift_ns
        clock_gettime(CLOCK_REALTIME, &now)
        shift_ns = <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec - monotonic_ns()
        self.used = 0
        while at < length:
            at += self.add(data + at, length - at, shift_ns)
        return PyBytes_FromStringAndSize(self.out, self.used)

    cdef char* reserve(self, Py_ssize_t more) except NULL:
        """Where the next spans go, with room for `more` bytes."""
        cdef void* moved
        if self.room - self.used < more:
            self.room = max(2 * self.room, self.used + more)
            moved = realloc(self.out, self.room)
            if moved == NULL:
                raise MemoryError
            self.out = <char*>moved
        return self.out + self.used

    cdef Py_ssize_t add(self, const char* data, Py_ssize_t left, uint64_t shift_ns) except -1:
        """Add the spans of an exchange. Returns the length of its record."""
        cdef const RequestRecord* record = <const RequestRecord*>data
        cdef const StepRecord* step
        cdef const AskedRecord* asked
        cdef const uint8_t* parent = NULL
        cdef Span texts[REQUEST_TEXTS]
        cdef Identity trace
        cdef Span asked_with, answered, query
        cdef Py_ssize_t at, i, length
        cdef char* span
        cdef char* out
        if left < <Py_ssize_t>sizeof(RequestRecord) or record.length > left or record.length % RECORD_ALIGN:
            raise ValueError(BROKEN)
        length = record.length
        at = take(data, sizeof(RequestRecord), length, record.lengths, REQUEST_TEXTS, texts, NULL)
        if at < 0 or length - at < <Py_ssize_t>record.captured + <Py_ssize_t>record.answered:
            raise ValueError(BROKEN)
        query = self.redacted(texts[TEXT_QUERY], self.query)
        asked_with = span_of(data + at, record.captured)
        answered = span_of(data + at + record.captured, record.answered)
        trace.trace_id = &record.trace_id[0]
        for i in range(8):
            if record.parent_id[i]:
                parent = &record.parent_id[0]
        trace.client_id = parent
        trace.state = texts[TEXT_STATE]
        out = self.reserve(SPAN_ROOM + trace.state.len + REQUEST_KEYS * KEY_ROOM + REQUEST_TEXTS * LONGEST_TEXT
                           + room_of(asked_with, self.longest_key) + room_of(answered, self.longest_key))
        span = out
        out = put_head(begin_message(out, SPAN_OF_SCOPE), &trace, record.span_id, parent, record.begun_ns + shift_ns,
                       record.ended_ns + shift_ns)
        out = put_name(out, texts[TEXT_METHOD], KIND_SERVER)
        out = put_bytes(out, texts[TEXT_ENTRY_POINT].ptr, texts[TEXT_ENTRY_POINT].len)
        out = put_text(out, SPAN_ATTRIBUTE, b"http.request.method", 19, texts[TEXT_METHOD])
        out = put_text(out, SPAN_ATTRIBUTE, b"network.protocol.version", 24, version_of(record))
        out = put_number(out, SPAN_ATTRIBUTE, b"http.request.body.size", 22, <uint64_t>record.body_bytes)
        out = put_text(out, SPAN_ATTRIBUTE, b"url.path", 8, texts[TEXT_PATH])
        out = put_text(out, SPAN_ATTRIBUTE, b"url.query", 9, query)
        out = put_text(out, SPAN_ATTRIBUTE, b"url.scheme", 10, texts[TEXT_SCHEME])
        out = put_text(out, SPAN_ATTRIBUTE, b"user_agent.original", 19, texts[TEXT_AGENT])
        out = put_text(out, SPAN_ATTRIBUTE, b"server.address", 14, texts[TEXT_AUTHORITY])
        out = put_text(out, SPAN_ATTRIBUTE, b"network.peer.address", 20, texts[TEXT_PEER])
        out = put_text(out, SPAN_ATTRIBUTE, b"client.address", 14, texts[TEXT_CLIENT])
        if record.has_peer:
            out = put_number(out, SPAN_ATTRIBUTE, b"client.port", 11, record.port)
            out = put_number(out, SPAN_ATTRIBUTE, b"network.peer.port", 17, record.port)
        out = put_captured(out, asked_with, self.request_keys)
        out = put_captured(out, answered, self.response_keys)
        out = put_outcome(out, record.status, 500)
        end_message(span, out)
        self.used = out - self.out
        at = after(at + record.captured + record.answered)
        parent = &record.span_id[0]
        for i in range(record.n_steps):
            step = <const StepRecord*>(data + at)
            if length - at < <Py_ssize_t>sizeof(StepRecord) or length - at - <Py_ssize_t>sizeof(StepRecord) < step.length:
                raise ValueError(BROKEN)
            at += sizeof(StepRecord)
            span = out = self.reserve(SPAN_ROOM + trace.state.len + step.length)
            out = put_head(begin_message(out, SPAN_OF_SCOPE), &trace, step.span_id, parent, step.begun_ns + shift_ns,
                           record.ended_ns + shift_ns)
            out = put_bytes(out, data + at, step.length)
            if record.refused and i == record.n_steps - 1:
                out = put_error(out)
            end_message(span, out)
            self.used = out - self.out
            at = after(at + step.length)
            parent = &step.span_id[0]
        for i in range(record.n_asked):
            asked = <const AskedRecord*>(data + at)
            if length - at < <Py_ssize_t>sizeof(AskedRecord):
                raise ValueError(BROKEN)
            at = self.add_asked(data, at, length, asked, &trace, texts, query, shift_ns)
        if at != length:
            raise ValueError(BROKEN)
        return length

    cdef Py_ssize_t add_asked(self, const char* data, Py_ssize_t at, Py_ssize_t length, const AskedRecord* asked,
                              const Identity* trace, const Span* request, Span query, uint64_t shift_ns) except -1:
        """Add the span of a request to a server, and that of its service. Returns where the next record begins.

        request, query  the texts of the client's request, and its query as it is told.
        """
        cdef Span texts[ASKED_TEXTS]
        cdef Span asked_with, answered
        cdef const uint8_t* parent = &asked.parent_id[0]
        cdef bytes of_server, base, of_service
        cdef char* span
        cdef char* out
        at = take(data, at + <Py_ssize_t>sizeof(AskedRecord), length, asked.lengths, ASKED_TEXTS, texts, request)
        if at < 0 or length - at < <Py_ssize_t>asked.captured + <Py_ssize_t>asked.answered:
            raise ValueError(BROKEN)
        asked_with = span_of(data + at, asked.captured)
        answered = span_of(data + at + asked.captured, asked.answered)
        of_server, base = kept(self.servers, texts[ASKED_SERVER], server_texts)
        if asked.lengths[ASKED_QUERY] != SAME:
            query = self.redacted(texts[ASKED_QUERY], self.other_query)
        if texts[ASKED_SERVICE].len:
            of_service = kept(self.services, texts[ASKED_SERVICE], service_texts)
            span = out = self.reserve(SPAN_ROOM + trace.state.len + len(of_service))
            out = put_head(begin_message(out, SPAN_OF_SCOPE), trace, asked.service_id, parent, asked.begun_ns + shift_ns,
                           asked.ended_ns + shift_ns)
            out = put_bytes(out, of_service, len(of_service))
            end_message(span, out)
            self.used = out - self.out
            parent = &asked.service_id[0]
        span = out = self.reserve(SPAN_ROOM + trace.state.len + ASKED_KEYS * KEY_ROOM + len(of_server) + 3 * LONGEST_VALUE
                                  + room_of(asked_with, self.longest_key) + room_of(answered, self.longest_key))
        out = put_head(begin_message(out, SPAN_OF_SCOPE), trace, asked.span_id, parent, asked.begun_ns + shift_ns,
                       asked.head_ns + shift_ns)
        if asked.kind == ASKED_QUESTION:
            out = put_name(out, span_of(b"AuthRequest", 11), KIND_CLIENT)
        else:
            out = put_name(out, span_of(b"ReverseProxy", 12), KIND_CLIENT)
        out = put_bytes(out, of_server, len(of_server))
        out = put_text(out, SPAN_ATTRIBUTE, b"http.request.method", 19, texts[ASKED_METHOD])
        out = put_text(out, SPAN_ATTRIBUTE, b"network.protocol.version", 24, span_of(b"1.1", 3))
        out = put_url(out, span_of(base, len(base)), texts[ASKED_PREFIX], texts[ASKED_PATH], query)
        out = put_text(out, SPAN_ATTRIBUTE, b"user_agent.original", 19, texts[ASKED_AGENT])
        out = put_captured(out, asked_with, self.request_keys)
        out = put_captured(out, answered, self.response_keys)
        if asked.resent:
            out = put_number(out, SPAN_ATTRIBUTE, b"http.request.resend_count", 25, asked.resent)
        if asked.status or asked.kind != ASKED_QUESTION:
            out = put_outcome(out, asked.status, 400)
        end_message(span, out)
        self.used = out - self.out
        return after(at + asked.captured + asked.answered)

    cdef Span redacted(self, Span query, char* out) except *:
        """A query in which only parameters that are safe have their values; in `out`, valid until that is used again."""
        cdef Py_ssize_t at = 0, end, equals, used = 0
        if query.len == 0:
            return query
        while at <= query.len:
            end = equals = at
            while end < query.len and query.ptr[end] != c"&":
                end += 1
            while equals < end and query.ptr[equals] != c"=":
                equals += 1
            if end > at:
                if used:
                    out[used] = c"&"
                    used += 1
                if self.safe_parameters and query.ptr[at:equals] in self.safe_parameters:
                    memcpy(out + used, query.ptr + at, end - at)
                    used += end - at
                else:
                    memcpy(out + used, query.ptr + at, equals - at)
                    memcpy(out + used + equals - at, b"=REDACTED", REDACTED)
                    used += equals - at + REDACTED
            at = end + 1
        return span_of(out, used)


cdef Py_ssize_t take(const char* data, Py_ssize_t at, Py_ssize_t length, const uint16_t* lengths, int count, Span* texts,
                     const Span* request) noexcept nogil:
    """Find the texts of a record, which begin at `at`. Returns their end, -1 if they are not all there.

    request  the texts of the client's request, to which SAME refers.
    """
    cdef int i
    for i in range(count):
        if lengths[i] != SAME:
            if lengths[i] > LONGEST_TEXT:
                return -1
            texts[i] = span_of(data + at, lengths[i])
            at += lengths[i]
        else:
            if request == NULL or not ASKED_METHOD <= i <= ASKED_AGENT:
                return -1
            texts[i] = request[TEXT_METHOD + i - ASKED_METHOD]
    return at if at <= length else -1


cdef Py_ssize_t room_of(Span values, Py_ssize_t longest_key) noexcept nogil:
    """Most bytes that captured headers take: each value may be alone with its key."""
    cdef CapturedHead head
    cdef Py_ssize_t at = 0, room = 0
    while values.len - at >= <Py_ssize_t>sizeof(head):
        memcpy(&head, values.ptr + at, sizeof(head))
        at += <Py_ssize_t>sizeof(head) + head.length
        room += KEY_ROOM + longest_key + head.length
    return room


cdef char* put_captured(char* out, Span values, tuple keys):
    """An attribute with the list of its values for each header that was captured."""
    cdef Py_ssize_t at = 0, end
    cdef CapturedHead head, next_head
    cdef bytes key
    while values.len - at >= <Py_ssize_t>sizeof(CapturedHead):
        memcpy(&head, values.ptr + at, sizeof(head))
        end = at
        next_head = head
        while next_head.index == head.index and values.len - end - <Py_ssize_t>sizeof(head) >= next_head.length:
            end += <Py_ssize_t>sizeof(head) + next_head.length
            if values.len - end < <Py_ssize_t>sizeof(head):
                break
            memcpy(&next_head, values.ptr + end, sizeof(head))
        if end == at or head.index >= len(keys):
            break
        key = <bytes>keys[head.index]
        out = put_values(out, key, len(key), values.ptr + at, end - at)
        at = end
    return out


cdef char* put_values(char* out, const char* key, Py_ssize_t key_length, const char* values, Py_ssize_t length) noexcept nogil:
    """An attribute with a list. `values`: each with its head, in whole."""
    cdef CapturedHead head
    cdef Py_ssize_t at = 0, size, all_of_them = 0
    while at < length:
        memcpy(&head, values + at, sizeof(head))
        size = head.length
        size += 1 + varint_size(size)                  # AnyValue
        all_of_them += 1 + varint_size(size) + size
        at += <Py_ssize_t>sizeof(head) + head.length
    size = 1 + varint_size(all_of_them) + all_of_them   # AnyValue with an ArrayValue
    out[0] = SPAN_ATTRIBUTE
    out = put_varint(out + 1, 1 + varint_size(key_length) + key_length + 1 + varint_size(size) + size)
    out[0] = 0x0A
    out = put_varint(out + 1, key_length)
    out = put_utf8(out, key, key_length)
    out[0] = 0x12
    out = put_varint(out + 1, size)
    out[0] = 0x2A
    out = put_varint(out + 1, all_of_them)
    at = 0
    while at < length:
        memcpy(&head, values + at, sizeof(head))
        size = head.length
        out[0] = 0x0A
        out = put_varint(out + 1, 1 + varint_size(size) + size)
        out[0] = 0x0A
        out = put_varint(out + 1, size)
        out = put_utf8(out, values + at + <Py_ssize_t>sizeof(head), size)
        at += <Py_ssize_t>sizeof(head) + size
    return out


cdef inline Span shortened(Span text, Py_ssize_t left) noexcept nogil:
    return span_of(text.ptr, text.len if text.len < left else left)


cdef char* put_url(char* out, Span base, Span prefix, Span path, Span query) noexcept nogil:
    """The attribute `url.full`, of its parts."""
    cdef Py_ssize_t length, inner
    cdef char* begin
    base = shortened(base, LONGEST_VALUE)
    length = base.len
    prefix = shortened(prefix, LONGEST_VALUE - length)
    length += prefix.len
    path = shortened(path, LONGEST_VALUE - length)
    length += path.len
    query = shortened(query, LONGEST_VALUE - length - 1 if length < LONGEST_VALUE else 0)
    if query.len:
        length += 1 + query.len
    inner = 1 + varint_size(length) + length
    out[0] = SPAN_ATTRIBUTE
    out = put_varint(out + 1, 11 + varint_size(inner) + inner)
    out = put_raw(out, 0x0A, b"url.full", 8)
    out[0] = 0x12
    out = put_varint(out + 1, inner)
    out[0] = 0x0A
    out = put_varint(out + 1, length)
    begin = out
    out = put_bytes(out, base.ptr, base.len)
    out = put_bytes(out, prefix.ptr, prefix.len)
    out = put_bytes(out, path.ptr, path.len)
    if query.len:
        out[0] = c"?"
        out = put_bytes(out + 1, query.ptr, query.len)
    mend_utf8(begin, length)
    return out
