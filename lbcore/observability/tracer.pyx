"""The traces of the requests of one worker: identifiers, headers for servers, and the attributes of spans. No I/O.

Spans are encoded for OTLP where they come into being, and go through a ring in shared memory to what exports them: see `proxy.tracing`.
A request that is not sampled costs its identifiers and a header. Names and attributes are Traefik's.
"""

import os
from urllib.parse import urlsplit

cimport cython
from libc.stdint cimport int8_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from lbcore.http.framing cimport BODY_CHUNKED
from lbcore.http.head cimport ClientAddress, RequestHead
from lbcore.http.known cimport H_DROPPED
from lbcore.http.message cimport Message
from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_eq, span_ieq, span_of, token_ieq
from lbcore.observability.protobuf cimport (
    KEY_ROOM, KIND_INTERNAL, LONGEST_VALUE, SPAN_ATTRIBUTE, SPAN_KIND, SPAN_NAME, put_number, put_raw, put_text, put_utf8, put_varint,
    varint_size,
)
from lbcore.observability.ring cimport LineWriter
from lbcore.observability.trace cimport MAX_STEPS, Step, Trace
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.mix cimport mix64
from lbcore.state.layout cimport RING_SPANS
from lbcore.state.region cimport Region

cdef extern from *:
    uint64_t swapped "__builtin_bswap64"(uint64_t value) noexcept nogil

cdef enum Propagator:
    W3C = 1
    B3 = 2
    B3_MULTI = 4
    JAEGER = 8

PROPAGATORS = {"tracecontext": W3C, "baggage": 0, "b3": B3, "b3multi": B3_MULTI, "jaeger": JAEGER, "none": 0}

cdef enum:
    MOST_TEXTS = 4096          # names whose attributes are kept encoded
    LONGEST_STATE = 512        # bytes of `tracestate` that spans have

cdef const char* HEX = b"0123456789abcdef"
cdef char[512] PAIRS           # two digits for each byte
cdef int8_t[256] VALUES        # of digits in lower and upper case; -1 = it is none


cdef void fill() noexcept:
    cdef int i
    for i in range(256):
        PAIRS[2 * i] = HEX[i >> 4]
        PAIRS[2 * i + 1] = HEX[i & 15]
        VALUES[i] = -1
    for i in range(16):
        VALUES[<int>HEX[i]] = <int8_t>i
        if i > 9:
            VALUES[<int>HEX[i] - 32] = <int8_t>i


fill()


cdef void put_digits(char* out, const uint8_t* data, Py_ssize_t length) noexcept nogil:
    """Two hexadecimal digits for each byte."""
    cdef Py_ssize_t i
    for i in range(length):
        memcpy(out + 2 * i, PAIRS + 2 * data[i], 2)


cdef bint read_digits(const char* text, Py_ssize_t length, uint8_t* out, Py_ssize_t room) noexcept nogil:
    """Read an identifier of `room` bytes, whose leading zeros may be missing. Returns whether it is one, and not zero."""
    cdef Py_ssize_t i
    cdef int value
    cdef uint8_t seen = 0
    if length < 1 or length > 2 * room:
        return False
    memset(out, 0, room)
    for i in range(length):
        value = VALUES[<uint8_t>text[i]]
        if value < 0:
            return False
        out[room - 1 - (length - 1 - i) // 2] |= <uint8_t>(value << 4 if (length - 1 - i) & 1 else value)
        seen |= <uint8_t>value
    return seen != 0


cdef bint read_w3c(Span header, Trace* trace) noexcept nogil:
    """Read a `traceparent` (W3C Trace Context). False: it is not valid."""
    cdef int flags
    cdef Py_ssize_t i
    if header.len < 55 or header.ptr[2] != c"-" or header.ptr[35] != c"-" or header.ptr[52] != c"-":
        return False
    if header.len > 55 and (header.ptr[0] == c"0" and header.ptr[1] == c"0" or header.ptr[55] != c"-"):
        return False                   # version 00 has nothing behind its flags
    if header.ptr[0] == c"f" and header.ptr[1] == c"f":
        return False
    for i in range(55):
        if c"A" <= header.ptr[i] <= c"F":
            return False
    if VALUES[<uint8_t>header.ptr[0]] < 0 or VALUES[<uint8_t>header.ptr[1]] < 0 or VALUES[<uint8_t>header.ptr[53]] < 0:
        return False
    flags = VALUES[<uint8_t>header.ptr[54]]
    if flags < 0 or not read_digits(header.ptr + 3, 32, trace.trace_id, 16) or not read_digits(header.ptr + 36, 16, trace.parent_id, 8):
        return False
    trace.sampled = flags & 1
    return True


cdef bint read_b3(Span header, Trace* trace) noexcept nogil:
    """Read `b3`: trace id, span id and, if it says so, whether it is sampled: `1`, or `d` for debugging."""
    cdef Py_ssize_t dash = 16 if header.len > 16 and header.ptr[16] == c"-" else 32
    if header.len < dash + 17 or header.ptr[dash] != c"-" or (header.len > dash + 17 and header.ptr[dash + 17] != c"-"):
        return False
    if not read_digits(header.ptr, dash, trace.trace_id, 16) or not read_digits(header.ptr + dash + 1, 16, trace.parent_id, 8):
        return False
    trace.sampled = header.len > dash + 18 and header.ptr[dash + 18] in (c"1", c"d")
    return True


cdef bint read_jaeger(Span header, Trace* trace) noexcept nogil:
    """Read `uber-trace-id`: trace id, span id, parent and flags, between colons."""
    cdef Py_ssize_t i, n = 0
    cdef Py_ssize_t[4] at
    cdef int flags = 0
    for i in range(header.len):
        if header.ptr[i] == c":":
            if n == 3:
                return False
            at[n] = i
            n += 1
    if n != 3 or not read_digits(header.ptr, at[0], trace.trace_id, 16):
        return False
    if not read_digits(header.ptr + at[0] + 1, at[1] - at[0] - 1, trace.parent_id, 8):
        return False
    for i in range(at[2] + 1, header.len):
        if VALUES[<uint8_t>header.ptr[i]] < 0 or header.len - at[2] > 3:
            return False
        flags = 16 * flags + VALUES[<uint8_t>header.ptr[i]]
    trace.sampled = flags & 1
    return True


cdef inline void forget_parent(Trace* trace) noexcept nogil:
    memset(trace.trace_id, 0, 16)
    memset(trace.parent_id, 0, 8)
    trace.sampled = False


cdef Py_ssize_t values_room(Message message, const char* lower, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i, room = 0
    for i in range(message.n_headers):
        if message.kinds[i] != H_DROPPED and span_ieq(message.headers[i].name, lower, length):
            room += 16 + min(message.headers[i].value.len, <Py_ssize_t>LONGEST_VALUE)
    return room


cdef char* put_values(char* out, const char* key, Py_ssize_t key_length, Message message, const char* lower,
                      Py_ssize_t length) noexcept nogil:
    """An attribute with the list of the values of a header, if the message has it."""
    cdef Py_ssize_t i, size, all_of_them = 0
    for i in range(message.n_headers):
        if message.kinds[i] != H_DROPPED and span_ieq(message.headers[i].name, lower, length):
            size = min(message.headers[i].value.len, <Py_ssize_t>LONGEST_VALUE)
            size += 1 + varint_size(size)              # AnyValue
            all_of_them += 1 + varint_size(size) + size
    if all_of_them == 0:
        return out
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
    for i in range(message.n_headers):
        if message.kinds[i] != H_DROPPED and span_ieq(message.headers[i].name, lower, length):
            size = min(message.headers[i].value.len, <Py_ssize_t>LONGEST_VALUE)
            out[0] = 0x0A
            out = put_varint(out + 1, 1 + varint_size(size) + size)
            out[0] = 0x0A
            out = put_varint(out + 1, size)
            out = put_utf8(out, message.headers[i].value.ptr, size)
    return out


cdef Span version_of(const RequestHead* head) noexcept nogil:
    if head.major_version == 1:
        return span_of(b"1.1", 3) if head.minor_version else span_of(b"1.0", 3)
    return span_of(b"2", 1) if head.major_version == 2 else span_of(b"3", 1)


cdef Span scheme_of(Request request, const ForwardPolicy* forward) noexcept:
    """What X-Forwarded-Proto says to servers."""
    cdef Span said = span_of(NULL, 0)
    if forward.trusted:
        said = request.find(b"x-forwarded-proto", 17)
    if said.len:
        return said
    if request.framing.upgrade:
        return span_of(b"wss", 3) if request.head.encrypted else span_of(b"ws", 2)
    return span_of(b"https", 5) if request.head.encrypted else span_of(b"http", 4)


cdef Span first_of_list(Span text) noexcept nogil:
    """What stands before the first comma, without spaces around it."""
    cdef Py_ssize_t end = 0
    while end < text.len and text.ptr[end] != c",":
        end += 1
    while end and text.ptr[end - 1] == c" ":
        end -= 1
    while end and text.ptr[0] == c" ":
        text.ptr += 1
        end -= 1
    return span_of(text.ptr, end)


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
    cdef bytes text = name.encode()[:100]
    head = bytes([SPAN_NAME, len(text)]) + text + bytes([SPAN_KIND, KIND_INTERNAL])
    return head + b"".join(attribute(key, value) for key, value in attributes)


@cython.final
cdef class Tracer:
    """There is one per worker.

    settings     `config.static.Tracing`.
    propagators  names of PROPAGATORS.
    """

    def __init__(self, settings, Region region, worker, propagators):
        self.lines = LineWriter(region, worker, RING_SPANS)
        self.state = int.from_bytes(os.urandom(8))
        # As OpenTelemetry's sampler takes it: what is not above 0 is 0, what is above 1 is 1.
        self.threshold = <uint64_t>(min(settings.sample_rate, 1.0) * 2**63) if settings.sample_rate > 0 else 0
        for name in propagators:
            self.propagators |= <uint32_t>PROPAGATORS[name]
        self.plain = self.propagators == W3C
        self.request_headers = captured(settings.captured_request_headers, "request")
        self.response_headers = captured(settings.captured_response_headers, "response")
        self.safe_parameters = frozenset(name.encode() for name in settings.safe_query_params)
        self.texts = {}
        self.bases = {}
        self.adds_internals = settings.add_internals

    cdef void draw(self, uint8_t* out) noexcept:
        """Eight random bytes, not all zero."""
        cdef uint64_t found = 0
        while found == 0:
            self.state += <uint64_t>0x9E3779B97F4A7C15
            found = mix64(self.state)
        memcpy(out, &found, 8)

    cdef Trace* begin(self, Request request, const ForwardPolicy* forward, bytes entry_point, bint detailed) except NULL:
        """The trace of a request, whose headers for servers are set. Valid as long as the request.

        entry_point  its attribute, encoded.
        """
        cdef Trace* trace = <Trace*>((<uintptr_t>request.alloc(sizeof(Trace) + 8) + 7) & ~<uintptr_t>7)
        cdef Py_ssize_t at = -1, i
        cdef uint64_t low
        memset(trace, 0, sizeof(Trace))
        if self.plain:
            for i in range(request.n_headers):
                if request.headers[i].name.len == 11 and token_ieq(request.headers[i].name.ptr, b"traceparent", 11):
                    at = i
                    trace.has_parent = read_w3c(request.headers[i].value, trace)
                    if not trace.has_parent:
                        forget_parent(trace)
                    break
        else:
            self.find_parent(trace, request)
        self.draw(trace.span_id)
        if not trace.has_parent:
            self.draw(trace.trace_id)
            self.draw(trace.trace_id + 8)
            memcpy(&low, trace.trace_id + 8, 8)
            trace.sampled = swapped(low) >> 1 < self.threshold
        if self.plain:
            self.pass_on_as_w3c(trace, request, at)
        else:
            self.pass_on(trace, request)
        if trace.sampled:
            trace.begun_ns = monotonic_ns()
            trace.detailed = detailed
            self.describe(trace, request, forward, entry_point)
        return trace

    cdef int find_parent(self, Trace* trace, Request request) except -1:
        """The trace that the client's request belongs to, by the last of the propagators that finds one."""
        cdef Span header, other
        if self.propagators & W3C:
            header = request.find(b"traceparent", 11)
            trace.has_parent = header.len and read_w3c(header, trace)
        if self.propagators & (B3 | B3_MULTI):
            header = request.find(b"b3", 2)
            if header.len:
                trace.has_parent = read_b3(header, trace) or trace.has_parent
            else:
                header = request.find(b"x-b3-traceid", 12)
                other = request.find(b"x-b3-spanid", 11)
                if header.len and other.len and read_digits(header.ptr, header.len, trace.trace_id, 16) \
                        and read_digits(other.ptr, other.len, trace.parent_id, 8):
                    header = request.find(b"x-b3-sampled", 12)
                    other = request.find(b"x-b3-flags", 10)
                    trace.has_parent = True
                    trace.sampled = span_eq(header, b"1", 1) or span_ieq(header, b"true", 4) or span_eq(other, b"1", 1)
        if self.propagators & JAEGER:
            header = request.find(b"uber-trace-id", 13)
            if header.len:
                trace.has_parent = read_jaeger(header, trace) or trace.has_parent
        if not trace.has_parent:
            forget_parent(trace)
        return 0

    cdef int pass_on_as_w3c(self, Trace* trace, Request request, Py_ssize_t at) except -1:
        """Set `traceparent`. `at`: the header that the client has sent; -1: it has sent none."""
        cdef char* text = request.alloc(55)
        memcpy(text, b"00-", 3)
        put_digits(text + 3, trace.trace_id, 16)
        text[35] = c"-"
        put_digits(text + 36, trace.span_id, 8)
        memcpy(text + 52, b"-01" if trace.sampled else b"-00", 3)
        trace.spots[0] = text + 36
        trace.n_spots = 1
        if at >= 0:
            request.headers[at].value = span_of(text, 55)
            return 0
        return request.add_own(span_of(b"Traceparent", 11), span_of(text, 55))

    cdef int pass_on(self, Trace* trace, Request request) except -1:
        """Set the headers of all propagators."""
        cdef char* text
        if self.propagators & W3C:
            request.drop(b"traceparent", 11)
            self.pass_on_as_w3c(trace, request, -1)
        if self.propagators & B3:
            request.drop(b"b3", 2)
            text = request.alloc(51)
            put_digits(text, trace.trace_id, 16)
            text[32] = text[49] = c"-"
            put_digits(text + 33, trace.span_id, 8)
            text[50] = c"1" if trace.sampled else c"0"
            trace.spots[trace.n_spots] = text + 33
            trace.n_spots += 1
            request.add_own(span_of(b"B3", 2), span_of(text, 51))
        if self.propagators & B3_MULTI:
            request.drop(b"x-b3-traceid", 12)
            request.drop(b"x-b3-spanid", 11)
            request.drop(b"x-b3-parentspanid", 17)
            request.drop(b"x-b3-sampled", 12)
            request.drop(b"x-b3-flags", 10)
            text = request.alloc(48)
            put_digits(text, trace.trace_id, 16)
            put_digits(text + 32, trace.span_id, 8)
            trace.spots[trace.n_spots] = text + 32
            trace.n_spots += 1
            request.add_own(span_of(b"X-B3-Traceid", 12), span_of(text, 32))
            request.add_own(span_of(b"X-B3-Spanid", 11), span_of(text + 32, 16))
            request.add_own(span_of(b"X-B3-Sampled", 12), span_of(b"1" if trace.sampled else b"0", 1))
        if self.propagators & JAEGER:
            request.drop(b"uber-trace-id", 13)
            text = request.alloc(53)
            put_digits(text, trace.trace_id, 16)
            text[32] = text[49] = text[51] = c":"
            put_digits(text + 33, trace.span_id, 8)
            text[50] = c"0"
            text[52] = c"1" if trace.sampled else c"0"
            trace.spots[trace.n_spots] = text + 33
            trace.n_spots += 1
            request.add_own(span_of(b"Uber-Trace-Id", 13), span_of(text, 53))
        return 0

    cdef Py_ssize_t room_of(self, tuple headers, Request request) except -1:
        """Most bytes that captured headers take."""
        cdef Py_ssize_t room = 0
        cdef bytes lower, key
        for lower, key in headers:
            room += KEY_ROOM + len(key) + values_room(request, lower, len(lower))
        return room

    cdef Span query_of(self, Request request) except *:
        """The query, in which only parameters that are safe have their values."""
        cdef Span query = request.head.query
        cdef Py_ssize_t at = 0, end, equals, used = 0
        cdef char* out
        if query.len == 0:
            return span_of(NULL, 0)
        if query.len > LONGEST_VALUE:
            query.len = LONGEST_VALUE
        out = request.alloc(10 * query.len + 16)
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
                    memcpy(out + used + equals - at, b"=REDACTED", 9)
                    used += equals - at + 9
            at = end + 1
        return span_of(out, used)

    cdef int describe(self, Trace* trace, Request request, const ForwardPolicy* forward, bytes entry_point) except -1:
        """Encode the attributes of the request, before any middleware."""
        cdef const RequestHead* head = &request.head
        cdef const ClientAddress* client = head.client
        cdef Span query = self.query_of(request), agent = request.find(b"user-agent", 10), scheme = scheme_of(request, forward)
        cdef Span peer = span_of(NULL, 0), address, state = span_of(NULL, 0)
        cdef Py_ssize_t room
        cdef char* out
        cdef bytes lower, key
        if client != NULL:
            peer = span_of(client.text, client.text_len)
        address = peer
        if forward.trusted:
            address = first_of_list(request.find(b"x-forwarded-for", 15))
            if address.len == 0:
                address = peer
        if trace.has_parent and self.propagators & W3C:
            state = request.find(b"tracestate", 10)
            trace.state = state.ptr
            trace.state_length = min(state.len, <Py_ssize_t>LONGEST_STATE)
        room = 13 * KEY_ROOM + len(entry_point) + head.method.len + min(head.path.len, LONGEST_VALUE) + min(query.len, LONGEST_VALUE) \
            + min(scheme.len, LONGEST_VALUE) + min(agent.len, LONGEST_VALUE) + min(head.authority.len, LONGEST_VALUE) + peer.len \
            + min(address.len, LONGEST_VALUE) + self.room_of(self.request_headers, request)
        out = request.alloc(room)
        trace.attributes = out
        memcpy(out, <const char*>entry_point, len(entry_point))
        out += len(entry_point)
        out = put_text(out, SPAN_ATTRIBUTE, b"http.request.method", 19, head.method)
        out = put_text(out, SPAN_ATTRIBUTE, b"network.protocol.version", 24, version_of(head))
        out = put_number(out, SPAN_ATTRIBUTE, b"http.request.body.size", 22,
                         <uint64_t>(-1 if request.framing.body == BODY_CHUNKED else request.framing.length))
        out = put_text(out, SPAN_ATTRIBUTE, b"url.path", 8, head.path)
        out = put_text(out, SPAN_ATTRIBUTE, b"url.query", 9, query)
        out = put_text(out, SPAN_ATTRIBUTE, b"url.scheme", 10, scheme)
        out = put_text(out, SPAN_ATTRIBUTE, b"user_agent.original", 19, agent)
        out = put_text(out, SPAN_ATTRIBUTE, b"server.address", 14, head.authority)
        out = put_text(out, SPAN_ATTRIBUTE, b"network.peer.address", 20, peer)
        out = put_text(out, SPAN_ATTRIBUTE, b"client.address", 14, address)
        if client != NULL:
            out = put_number(out, SPAN_ATTRIBUTE, b"client.port", 11, client.port)
            out = put_number(out, SPAN_ATTRIBUTE, b"network.peer.port", 17, client.port)
        for lower, key in self.request_headers:
            out = put_values(out, key, len(key), request, lower, len(lower))
        trace.length = out - trace.attributes
        return 0

    cdef int add_step(self, Trace* trace, Request request, bytes text) except -1:
        """The request comes to a part of its way that has a span. `text`: from `described`; kept by the caller."""
        cdef Step* step
        if trace.n_steps >= MAX_STEPS:
            return 0
        step = <Step*>((<uintptr_t>request.alloc(sizeof(Step) + 8) + 7) & ~<uintptr_t>7)
        self.draw(step.span_id)
        step.begun_ns = monotonic_ns()
        step.text = text
        step.length = len(text)
        step.next = NULL
        if trace.last == NULL:
            trace.first = step
        else:
            trace.last.next = step
        trace.last = step
        trace.n_steps += 1
        return 0

    cdef bytes text_of(self, str name, bint service):
        """The attributes of a server, by its URL, or name and attributes of the span of a service."""
        cdef bytes text = self.texts.get(name)
        if text is not None:
            return text
        if service:
            text = described("Service", [("traefik.service.name", name)])
        else:
            parts = urlsplit(name)
            port = parts.port or {"http": 80, "h2c": 80, "https": 443}.get(parts.scheme, 0)
            host = parts.hostname or parts.path
            pairs = [("url.scheme", parts.scheme), ("network.peer.address", host), ("server.address", host)]
            if port:
                pairs += [("network.peer.port", port), ("server.port", port)]
            text = b"".join([attribute(key, value) for key, value in pairs])
            if len(self.bases) >= MOST_TEXTS:
                self.bases.clear()
                self.texts.clear()             # that of each server has its base
            self.bases[name] = f"{parts.scheme}://{parts.netloc}".encode()
        if len(self.texts) >= 2 * MOST_TEXTS:
            self.texts.clear()
        self.texts[name] = text
        return text

    cdef Py_ssize_t ask(self, Trace* trace, Request request, str server, Span prefix, uint8_t* span_id,
                        const char** attributes) except -1:
        """A server is about to be asked: have the headers name this attempt. If it is sampled, its attributes are at `attributes`,
        valid as long as the request; returns their length."""
        cdef const RequestHead* head = &request.head
        cdef Span query, agent, url
        cdef bytes text, base
        cdef Py_ssize_t room
        cdef int i
        cdef char* out
        cdef char* whole
        cdef bytes lower, key
        self.draw(span_id)
        for i in range(trace.n_spots):
            put_digits(trace.spots[i], span_id, 8)
        if not trace.sampled:
            return 0
        text = self.text_of(server, False)
        base = self.bases[server]
        query = self.query_of(request)
        agent = request.find(b"user-agent", 10)
        whole = request.alloc(len(base) + prefix.len + head.path.len + 1 + query.len)
        out = whole
        memcpy(out, <const char*>base, len(base))
        out += len(base)
        if prefix.len:
            memcpy(out, prefix.ptr, prefix.len)
            out += prefix.len
        memcpy(out, head.path.ptr, head.path.len)
        out += head.path.len
        if query.len:
            out[0] = c"?"
            memcpy(out + 1, query.ptr, query.len)
            out += 1 + query.len
        url = span_of(whole, out - whole)
        room = 4 * KEY_ROOM + len(text) + head.method.len + min(url.len, LONGEST_VALUE) + min(agent.len, LONGEST_VALUE) \
            + self.room_of(self.request_headers, request)
        whole = out = request.alloc(room)
        attributes[0] = whole
        memcpy(out, <const char*>text, len(text))
        out += len(text)
        out = put_text(out, SPAN_ATTRIBUTE, b"http.request.method", 19, head.method)
        out = put_text(out, SPAN_ATTRIBUTE, b"network.protocol.version", 24, span_of(b"1.1", 3))
        out = put_text(out, SPAN_ATTRIBUTE, b"url.full", 8, url)
        out = put_text(out, SPAN_ATTRIBUTE, b"user_agent.original", 19, agent)
        for lower, key in self.request_headers:
            out = put_values(out, key, len(key), request, lower, len(lower))
        return out - whole

    cdef Py_ssize_t answered(self, Request request, Response response, const char** attributes) except -1:
        """The captured headers of an answer, encoded; valid as long as the request. Returns their length."""
        cdef Py_ssize_t room = 0
        cdef char* out
        cdef bytes lower, key
        if not self.response_headers:
            return 0
        for lower, key in self.response_headers:
            room += KEY_ROOM + len(key) + values_room(response, lower, len(lower))
        out = request.alloc(room)
        attributes[0] = out
        for lower, key in self.response_headers:
            out = put_values(out, key, len(key), response, lower, len(lower))
        return out - attributes[0]
