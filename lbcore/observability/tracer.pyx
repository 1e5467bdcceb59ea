"""The traces of the requests of one worker: identifiers, headers for servers, and what spans tell of a request. No I/O.

A request that is not sampled costs its identifiers and a header. Of one that is, the texts are noted where they lie, in the memory of the
request; nothing is formatted here: see `proxy.tracing` and `span_encoder`. Names and attributes are Traefik's.
"""

import os

cimport cython
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy, memmove, memset

from lbcore.http.framing cimport BODY_CHUNKED
from lbcore.http.head cimport ClientAddress, RequestHead
from lbcore.http.known cimport H_DROPPED, H_OTHER, H_OWN
from lbcore.http.message cimport Message
from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_eq, span_ieq, span_of, token_ieq
from lbcore.observability.ring cimport LineWriter
from lbcore.observability.span_encoder import captured
from lbcore.observability.span_record cimport (
    ASKED_AGENT, ASKED_METHOD, ASKED_PATH, ASKED_PREFIX, ASKED_QUERY, ASKED_SERVER, ASKED_SERVICE, LONGEST_TEXT, TEXT_AGENT,
    TEXT_AUTHORITY, TEXT_CLIENT, TEXT_ENTRY_POINT, TEXT_METHOD, TEXT_PATH, TEXT_PEER, TEXT_QUERY, TEXT_SCHEME, TEXT_STATE, CapturedHead,
)
from lbcore.observability.trace cimport MAX_QUESTIONS, MAX_STEPS, Asked, Question, Step, Trace
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.mix cimport mix64
from lbcore.state.layout cimport RING_SPANS
from lbcore.state.region cimport Region

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    static inline void lb_put_16_digits(char *out, const uint8_t *data) {
    #ifdef __SSE2__
        const __m128i low = _mm_set1_epi8(15);
        __m128i bytes = _mm_loadl_epi64((const __m128i *)data);
        __m128i digits = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(bytes, 4), low), _mm_and_si128(bytes, low));
        /* A letter is 39 beyond where a digit would be. */
        __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(digits, _mm_set1_epi8(9)), _mm_set1_epi8(39));
        _mm_storeu_si128((__m128i *)out, _mm_add_epi8(_mm_add_epi8(digits, _mm_set1_epi8('0')), letters));
    #else
        static const char digits[16] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
        for (int i = 0; i < 8; i++) {
            out[2 * i] = digits[data[i] >> 4];
            out[2 * i + 1] = digits[data[i] & 15];
        }
    #endif
    }
    """
    void put_16_digits "lb_put_16_digits"(char* out, const uint8_t* data) noexcept nogil      # two for each of eight bytes
    uint64_t swapped "__builtin_bswap64"(uint64_t value) noexcept nogil

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum Propagator:
    W3C = 1
    B3 = 2
    B3_MULTI = 4
    JAEGER = 8
    XRAY = 16
    OT = 32

PROPAGATORS = {"tracecontext": W3C, "baggage": 0, "b3": B3, "b3multi": B3_MULTI, "jaeger": JAEGER, "xray": XRAY, "ottrace": OT, "none": 0}

cdef enum:
    LONGEST_STATE = 512        # bytes of `tracestate` that spans have
    W3C_NAME = 13              # bytes of a header line before its value
    W3C_LENGTH = 55            # of that
    NO_DIGIT = 256

cdef const char* HEX = b"0123456789abcdef"
cdef int8_t[256] VALUES        # of digits in lower and upper case; -1 = it is none
cdef uint16_t[256] LOWER       # likewise, in lower case alone; NO_DIGIT = it is none


cdef void fill() noexcept:
    cdef int i
    for i in range(256):
        VALUES[i] = -1
        LOWER[i] = NO_DIGIT
    for i in range(16):
        VALUES[<int>HEX[i]] = <int8_t>i
        LOWER[<int>HEX[i]] = <uint16_t>i
        if i > 9:
            VALUES[<int>HEX[i] - 32] = <int8_t>i


fill()


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


cdef bint read_pairs(const char* text, uint8_t* out, Py_ssize_t length) noexcept nogil:
    """Read an identifier of `length` bytes, two digits each, in lower case. Returns whether it is one, and not zero."""
    cdef Py_ssize_t i
    cdef int high, low, seen = 0
    for i in range(length):
        high = LOWER[<uint8_t>text[2 * i]]
        low = LOWER[<uint8_t>text[2 * i + 1]]
        out[i] = <uint8_t>(high << 4 | low)
        seen |= high | low
    return 0 < seen < NO_DIGIT


cdef bint read_w3c(Span header, Trace* trace) noexcept nogil:
    """Read a `traceparent` (W3C Trace Context). False: it is not valid."""
    cdef int flags
    if header.len < 55 or header.ptr[2] != c"-" or header.ptr[35] != c"-" or header.ptr[52] != c"-":
        return False
    if header.len > 55 and (header.ptr[0] == c"0" and header.ptr[1] == c"0" or header.ptr[55] != c"-"):
        return False                   # version 00 has nothing behind its flags
    if header.ptr[0] == c"f" and header.ptr[1] == c"f":
        return False
    if (LOWER[<uint8_t>header.ptr[0]] | LOWER[<uint8_t>header.ptr[1]] | LOWER[<uint8_t>header.ptr[53]]) >= NO_DIGIT:
        return False
    flags = LOWER[<uint8_t>header.ptr[54]]
    if flags >= NO_DIGIT or not read_pairs(header.ptr + 3, trace.trace_id, 16) or not read_pairs(header.ptr + 36, trace.parent_id, 8):
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


cdef inline bint begins(Span text, const char* name, Py_ssize_t length) noexcept nogil:
    return text.len >= length and memcmp(text.ptr, name, length) == 0


cdef bint read_xray(Span header, Trace* trace) noexcept nogil:
    """Read `X-Amzn-Trace-Id`: `Root`, of a version, 8 and 24 digits, `Parent` and `Sampled`, in any order."""
    cdef Py_ssize_t start = 0, stop, equals
    cdef bint has_root = False, has_parent = False
    cdef char[32] digits
    cdef Span part, value
    trace.sampled = False
    while start < header.len:
        stop = start
        while stop < header.len and header.ptr[stop] != c";":
            stop += 1
        part = span_of(header.ptr + start, stop - start)
        while stop == header.len and part.len and part.ptr[0] == c" ":
            part = span_of(part.ptr + 1, part.len - 1)     # as Traefik reads it, of the last part alone
        start = stop + 1
        equals = 0
        while equals < part.len and part.ptr[equals] != c"=":
            equals += 1
        if equals == part.len:
            return False
        value = span_of(part.ptr + equals + 1, part.len - equals - 1)
        if begins(part, b"Root", 4):
            if value.len != 35 or value.ptr[0] != c"1" or value.ptr[1] != c"-" or value.ptr[10] != c"-":
                return False
            memcpy(digits, value.ptr + 2, 8)
            memcpy(<char*>digits + 8, value.ptr + 11, 24)
            has_root = read_pairs(digits, trace.trace_id, 16)
            if not has_root:
                return False
        elif begins(part, b"Parent", 6):
            has_parent = value.len == 16 and read_pairs(value.ptr, trace.parent_id, 8)
            if not has_parent:
                return False
        elif begins(part, b"Sampled", 7):
            trace.sampled = span_eq(value, b"1", 1)
    return has_root and has_parent


cdef bint read_ot(Span trace_id, Span parent_id, Span sampled, Trace* trace) noexcept nogil:
    """Read `ot-tracer-*` (OpenTracing), whose trace id may lack its first half."""
    if span_eq(sampled, b"1", 1) or span_ieq(sampled, b"true", 4):
        trace.sampled = True
    elif sampled.len == 0 or span_eq(sampled, b"0", 1) or span_ieq(sampled, b"false", 5):
        trace.sampled = False
    else:
        return False
    if parent_id.len != 16 or not read_pairs(parent_id.ptr, trace.parent_id, 8):
        return False
    if trace_id.len == 16:
        memset(trace.trace_id, 0, 8)
        return read_pairs(trace_id.ptr, trace.trace_id + 8, 8)
    return trace_id.len == 32 and read_pairs(trace_id.ptr, trace.trace_id, 16)


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


cdef inline void forget_parent(Trace* trace) noexcept nogil:
    trace.has_parent = trace.sampled = False


cdef int capture(tuple names, Message message, Message owner, Span* out) except -1:
    """Note the values of headers, whose names are in lower case, in the memory of `owner`."""
    cdef Py_ssize_t i, room = 0, index = 0
    cdef CapturedHead head
    cdef bytes name
    cdef char* at
    for name in names:
        for i in range(message.n_headers):
            if message.kinds[i] != H_DROPPED and span_ieq(message.headers[i].name, name, len(name)):
                room += sizeof(CapturedHead) + min(message.headers[i].value.len, <Py_ssize_t>LONGEST_TEXT)
    if room == 0:
        out[0] = span_of(NULL, 0)
        return 0
    at = owner.alloc(room)
    out[0] = span_of(at, room)
    for name in names:
        for i in range(message.n_headers):
            if message.kinds[i] != H_DROPPED and span_ieq(message.headers[i].name, name, len(name)):
                head.index = <uint16_t>index
                head.length = <uint16_t>min(message.headers[i].value.len, <Py_ssize_t>LONGEST_TEXT)
                memcpy(at, &head, sizeof(head))
                if head.length:
                    memcpy(at + sizeof(head), message.headers[i].value.ptr, head.length)
                at += sizeof(head) + head.length
        index += 1
    return 0


cdef inline char* aligned(char* memory) noexcept nogil:
    """The first address from there on that any object may have; 7 bytes further at most."""
    return <char*>((<uintptr_t>memory + 7) & ~<uintptr_t>7)


cdef inline void put_trace_id(const Trace* trace, char* at) noexcept nogil:
    """32 digits."""
    put_16_digits(at, trace.trace_id)
    put_16_digits(at + 16, trace.trace_id + 8)


cdef inline void put_span_id(Trace* trace, char* at) noexcept nogil:
    """16 digits, in a header for servers: `at` is noted, as each attempt puts its own there."""
    put_16_digits(at, trace.span_id)
    trace.spots[trace.n_spots] = at
    trace.n_spots += 1


cdef int pass_on_as_b3(Trace* trace, Request request) except -1:
    cdef char* text = request.alloc(51)
    put_trace_id(trace, text)
    text[32] = text[49] = c"-"
    put_span_id(trace, text + 33)
    text[50] = c"1" if trace.sampled else c"0"
    request.drop(b"b3", 2)
    request.add_own(span_of(b"B3", 2), span_of(text, 51))
    return 0


cdef int pass_on_as_b3_multi(Trace* trace, Request request) except -1:
    cdef char* text = request.alloc(48)
    put_trace_id(trace, text)
    put_span_id(trace, text + 32)
    request.drop(b"x-b3-traceid", 12)
    request.drop(b"x-b3-spanid", 11)
    request.drop(b"x-b3-parentspanid", 17)
    request.drop(b"x-b3-sampled", 12)
    request.drop(b"x-b3-flags", 10)
    request.add_own(span_of(b"X-B3-Traceid", 12), span_of(text, 32))
    request.add_own(span_of(b"X-B3-Spanid", 11), span_of(text + 32, 16))
    request.add_own(span_of(b"X-B3-Sampled", 12), span_of(b"1" if trace.sampled else b"0", 1))
    return 0


cdef int pass_on_as_jaeger(Trace* trace, Request request) except -1:
    cdef char* text = request.alloc(53)
    put_trace_id(trace, text)
    text[32] = text[49] = text[51] = c":"
    put_span_id(trace, text + 33)
    text[50] = c"0"
    text[52] = c"1" if trace.sampled else c"0"
    request.drop(b"uber-trace-id", 13)
    request.add_own(span_of(b"Uber-Trace-Id", 13), span_of(text, 53))
    return 0


cdef int pass_on_as_xray(Trace* trace, Request request) except -1:
    cdef char* text = request.alloc(74)
    memcpy(text, b"Root=1-", 7)
    put_trace_id(trace, text + 8)
    memmove(text + 7, text + 8, 8)             # its first 8 digits stand before a dash
    text[15] = c"-"
    memcpy(text + 40, b";Parent=", 8)
    put_span_id(trace, text + 48)
    memcpy(text + 64, b";Sampled=", 9)
    text[73] = c"1" if trace.sampled else c"0"
    request.drop(b"x-amzn-trace-id", 15)
    request.add_own(span_of(b"X-Amzn-Trace-Id", 15), span_of(text, 74))
    return 0


cdef int pass_on_as_ot(Trace* trace, Request request) except -1:
    cdef char* text = request.alloc(32)
    put_16_digits(text, trace.trace_id + 8)    # its identifiers of traces are half as long
    put_span_id(trace, text + 16)
    request.drop(b"ot-tracer-traceid", 17)
    request.drop(b"ot-tracer-spanid", 16)
    request.drop(b"ot-tracer-sampled", 17)
    request.add_own(span_of(b"Ot-Tracer-Traceid", 17), span_of(text, 16))
    request.add_own(span_of(b"Ot-Tracer-Spanid", 16), span_of(text + 16, 16))
    request.add_own(span_of(b"Ot-Tracer-Sampled", 17), span_of(b"true", 4) if trace.sampled else span_of(b"false", 5))
    return 0


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
        for bit in dict.fromkeys(PROPAGATORS[name] for name in propagators):
            if bit:
                self.propagators |= <uint32_t>bit
                self.order[self.n_propagators] = <uint32_t>bit
                self.n_propagators += 1
        self.plain = self.propagators == W3C
        self.request_headers = tuple([name for name, _ in captured(settings.captured_request_headers, "request")])
        self.response_headers = tuple([name for name, _ in captured(settings.captured_response_headers, "response")])
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
        cdef Trace* trace = <Trace*>aligned(request.alloc(sizeof(Trace) + 7 + W3C_NAME + W3C_LENGTH))
        cdef Py_ssize_t at = -1, i
        cdef uint64_t low
        trace.has_parent = trace.sampled = trace.detailed = False
        trace.n_spots = 0
        if self.plain:
            for i in range(request.n_headers):
                if request.headers[i].name.len == 11 and token_ieq(request.headers[i].name.ptr, b"traceparent", 11):
                    if at >= 0:                        # which of them counts, a server might see otherwise
                        request.drop_at(i)
                        continue
                    at = i
                    trace.has_parent = read_w3c(request.headers[i].value, trace)
                    if not trace.has_parent:
                        forget_parent(trace)
        else:
            self.find_parent(trace, request)
        self.draw(trace.span_id)
        if not trace.has_parent:
            self.draw(trace.trace_id)
            self.draw(trace.trace_id + 8)
            memcpy(&low, trace.trace_id + 8, 8)
            trace.sampled = swapped(low) >> 1 < self.threshold
        if self.plain:
            self.pass_on_as_w3c(trace, request, at, <char*>trace + sizeof(Trace))
        else:
            self.pass_on(trace, request)
        if trace.sampled:
            trace.detailed = detailed
            self.describe(trace, request, forward, entry_point)
        return trace

    cdef int find_parent(self, Trace* trace, Request request) except -1:
        """The trace that the client's request belongs to, by the last of the propagators that finds one."""
        cdef uint8_t[16] trace_id
        cdef uint8_t[8] parent_id
        cdef bint sampled
        cdef int i
        for i in range(self.n_propagators):
            memcpy(trace_id, trace.trace_id, 16)
            memcpy(parent_id, trace.parent_id, 8)
            sampled = trace.sampled
            if self.read_parent(self.order[i], trace, request):
                trace.has_parent = True
            else:
                memcpy(trace.trace_id, trace_id, 16)
                memcpy(trace.parent_id, parent_id, 8)
                trace.sampled = sampled
        return 0

    cdef bint read_parent(self, uint32_t propagator, Trace* trace, Request request) noexcept:
        """Read the headers of a propagator. False: they name no trace, and what was written of it does not count."""
        cdef Span header, other
        if propagator == W3C:
            header = request.find(b"traceparent", 11)
            return header.len and read_w3c(header, trace)
        if propagator == JAEGER:
            header = request.find(b"uber-trace-id", 13)
            return header.len and read_jaeger(header, trace)
        if propagator == XRAY:
            header = request.find(b"x-amzn-trace-id", 15)
            return header.len and read_xray(header, trace)
        if propagator == OT:
            return read_ot(request.find(b"ot-tracer-traceid", 17), request.find(b"ot-tracer-spanid", 16),
                           request.find(b"ot-tracer-sampled", 17), trace)
        header = request.find(b"b3", 2)            # both forms, whichever servers get
        if header.len and read_b3(header, trace):
            return True
        header = request.find(b"x-b3-traceid", 12)
        other = request.find(b"x-b3-spanid", 11)
        if not header.len or not other.len or not read_digits(header.ptr, header.len, trace.trace_id, 16) \
                or not read_digits(other.ptr, other.len, trace.parent_id, 8):
            return False
        header = request.find(b"x-b3-sampled", 12)
        other = request.find(b"x-b3-flags", 10)
        trace.sampled = span_eq(header, b"1", 1) or span_ieq(header, b"true", 4) or span_eq(other, b"1", 1)
        return True

    cdef int pass_on_as_w3c(self, Trace* trace, Request request, Py_ssize_t at, char* line) except -1:
        """Set `traceparent`.

        at    the header that the client has sent; -1: it has sent none.
        line  room for the header's line, as long as the request is valid.
        """
        cdef char* text = line + W3C_NAME
        memcpy(line, b"Traceparent: 00-", 16)          # one piece with its value, which is copied at once
        put_trace_id(trace, text + 3)
        text[35] = c"-"
        memcpy(text + 52, b"-01" if trace.sampled else b"-00", 3)
        put_span_id(trace, text + 36)
        if at < 0:
            at = request.n_headers
            if at == request.capacity and request.grow() < 0:
                raise MemoryError
            request.kinds[at] = H_OTHER | H_OWN
            request.n_headers = request.head.n_headers = at + 1
            request.head.headers = request.headers
        request.headers[at].name = span_of(line, 11)
        request.headers[at].value = span_of(text, W3C_LENGTH)
        return 0

    cdef int pass_on(self, Trace* trace, Request request) except -1:
        """Set the headers of all propagators."""
        cdef uint32_t propagator
        cdef int i
        for i in range(self.n_propagators):
            propagator = self.order[i]
            if propagator == W3C:
                request.drop(b"traceparent", 11)
                self.pass_on_as_w3c(trace, request, -1, request.alloc(W3C_NAME + W3C_LENGTH))
            elif propagator == B3:
                pass_on_as_b3(trace, request)
            elif propagator == B3_MULTI:
                pass_on_as_b3_multi(trace, request)
            elif propagator == JAEGER:
                pass_on_as_jaeger(trace, request)
            elif propagator == XRAY:
                pass_on_as_xray(trace, request)
            elif propagator == OT:
                pass_on_as_ot(trace, request)
        return 0

    cdef int describe(self, Trace* trace, Request request, const ForwardPolicy* forward, bytes entry_point) except -1:
        """Note what the request is, before any middleware."""
        cdef const RequestHead* head = &request.head
        cdef const ClientAddress* client = head.client
        cdef Span peer = span_of(NULL, 0), address, state = span_of(NULL, 0)
        trace.begun_ns = monotonic_ns()
        trace.first = trace.last = NULL
        trace.first_question = NULL
        trace.n_steps = trace.n_questions = 0
        if client != NULL:
            peer = span_of(client.text, client.text_len)
        address = peer
        if forward.trusted:
            address = first_of_list(request.find(b"x-forwarded-for", 15))
            if address.len == 0:
                address = peer
        if trace.has_parent and self.propagators & W3C:
            state = request.find(b"tracestate", 10)
            state.len = min(state.len, <Py_ssize_t>LONGEST_STATE)
        trace.body_bytes = -1 if request.framing.body == BODY_CHUNKED else request.framing.length
        trace.texts[TEXT_ENTRY_POINT] = span_of(entry_point, len(entry_point))
        trace.texts[TEXT_METHOD] = head.method
        trace.texts[TEXT_PATH] = head.path
        trace.texts[TEXT_QUERY] = head.query
        trace.texts[TEXT_AGENT] = request.find(b"user-agent", 10)
        trace.texts[TEXT_SCHEME] = scheme_of(request, forward)
        trace.texts[TEXT_AUTHORITY] = head.authority
        trace.texts[TEXT_PEER] = peer
        trace.texts[TEXT_CLIENT] = address
        trace.texts[TEXT_STATE] = state
        trace.captured = span_of(NULL, 0)
        if self.request_headers:
            capture(self.request_headers, request, request, &trace.captured)
        return 0

    cdef int add_step(self, Trace* trace, Request request, bytes text) except -1:
        """The request comes to a part of its way that has a span. `text`: from `described`; kept by the caller."""
        cdef Step* step
        if trace.n_steps >= MAX_STEPS:
            return 0
        step = <Step*>aligned(request.alloc(sizeof(Step) + 7))
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

    cdef Asked* ask(self, Trace* trace, Request request, str server, Span prefix) except NULL:
        """A server is about to be asked by a request that is sampled: have the headers name this attempt. Valid as long as the request,
        if the server is.

        server, prefix  URL, and what comes before the path.
        """
        cdef Asked* asked = <Asked*>aligned(request.alloc(sizeof(Asked) + 7))
        self.draw(asked.span_id)
        self.name(trace, asked)
        self.describe_asked(asked, request, request, server, prefix)
        return asked

    cdef int name(self, Trace* trace, Asked* asked) noexcept:
        """Have the headers for servers name a request to one of them."""
        cdef int i
        for i in range(trace.n_spots):
            put_16_digits(trace.spots[i], asked.span_id)
        return 0

    cdef int describe_asked(self, Asked* asked, Request request, Request owner, str server, Span prefix) except -1:
        """Note what a server is asked. `owner`: has the memory."""
        cdef const RequestHead* head = &request.head
        cdef Py_ssize_t length
        cdef const char* url = PyUnicode_AsUTF8AndSize(server, &length)
        asked.texts[ASKED_SERVER] = span_of(url, length)
        asked.texts[ASKED_METHOD] = head.method
        asked.texts[ASKED_PATH] = head.path
        asked.texts[ASKED_QUERY] = head.query
        asked.texts[ASKED_AGENT] = request.find(b"user-agent", 10)
        asked.texts[ASKED_PREFIX] = prefix
        asked.texts[ASKED_SERVICE] = asked.captured = asked.answered = span_of(NULL, 0)
        if self.request_headers:
            capture(self.request_headers, request, owner, &asked.captured)
        return 0

    cdef int ask_question(self, Trace* trace, Request client, Request question, str address) except -1:
        """A middleware is about to ask a server itself, on behalf of a client's request: have the headers of `question` name a span of its
        own. It is the first of the trace's questions, if it is sampled."""
        cdef Trace named
        cdef Question* found
        memcpy(named.trace_id, trace.trace_id, 16)
        self.draw(named.span_id)
        named.sampled = trace.sampled
        named.n_spots = 0
        self.pass_on(&named, question)
        if not trace.sampled or trace.n_questions >= MAX_QUESTIONS:
            return 0
        found = <Question*>aligned(client.alloc(sizeof(Question) + 7))
        memcpy(found.asked.span_id, named.span_id, 8)
        memcpy(found.parent_id, &trace.last.span_id[0] if trace.last != NULL else &trace.span_id[0], 8)
        self.describe_asked(&found.asked, question, client, address, span_of(NULL, 0))
        found.begun_ns = monotonic_ns()
        found.ended_ns = 0
        found.status = 0
        found.next = trace.first_question
        trace.first_question = found
        trace.n_questions += 1
        return 0

    cdef int answered(self, Request request, Response response, Span* out) except -1:
        """Note what is captured of an answer. Valid as long as the request."""
        if self.response_headers:
            return capture(self.response_headers, response, request, out)
        return 0
