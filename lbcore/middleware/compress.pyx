"""compress: encode the bodies of answers in the coding that the client prefers, as they come. No I/O.

An encoder never has more than its window of a body. What a server flushes goes on at once; of a body of known length, which is
sent as fast as it can be, at most ten times a second.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from lbcore.http.framing cimport BODY_CHUNKED, BODY_LENGTH, BODY_NONE
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.span cimport Span, span_bytes, span_ieq, span_of
from lbcore.middleware.base cimport PASS, Context, Middleware

from lbcore.middleware.codings import Choice, encoder

cdef enum:
    DEFAULT_LEAST_BYTES = 1024
    MOST_KEPT_BYTES = 1048576  # of a body of unknown length, before it is decided whether it is encoded
    PACE_NS = 100000000        # between two flushes of a body of known length

# Of the content as the server sent it: not true of the encoded one.
cdef list OF_PLAIN = [b"content-length", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"]


def media_type(str text) -> bytes:
    """The media type without its parameters, in lower case. Raises ValueError for a text that is none."""
    found = text.partition(";")[0].strip().lower()
    parts = found.split("/")
    if len(parts) > 2 or not all(part and part.isascii() and part.isprintable() and " " not in part for part in parts):
        raise ValueError(f"{text!r} is not a media type")
    return found.encode()


cdef bytes value_of(Message message, const char* name, Py_ssize_t length):
    """The values of all headers of that name, as one; None if there is none."""
    cdef list found = []
    cdef Py_ssize_t i
    for i in range(message.n_headers):
        if span_ieq(message.headers[i].name, name, length):
            found.append(span_bytes(message.headers[i].value))
    return b",".join(found) if found else None


cdef int weaken_etag(Response answer) except -1:
    """Say that the encoded content is another one, byte by byte, than what the server calls by this name (RFC 9110 section 8.8.1)."""
    cdef Py_ssize_t i
    cdef Span value
    cdef char* weak
    for i in range(answer.n_headers):
        value = answer.headers[i].value
        if span_ieq(answer.headers[i].name, b"etag", 4) and value.len and value.ptr[0] == c'"':
            weak = answer.alloc(value.len + 2)
            memcpy(weak, b"W/", 2)
            memcpy(weak + 2, value.ptr, value.len)
            answer.headers[i].value = span_of(weak, value.len + 2)
    return 0


@cython.final
cdef class Coding:
    """One that the configuration has."""

    cdef bytes name
    cdef object make

    def __init__(self, str name):
        self.name = name.encode()
        self.make = encoder(name)


@cython.final
cdef class Encoding(Filter):
    """Encodes the body of an answer. One of unknown length is passed on as it is if it ends, unflushed, below the least size."""

    cdef Coding coding
    cdef object encoder                # None: nothing is encoded, or it is not decided yet
    cdef Context context               # the exchange, which outlives the filter's use
    cdef Response response             # whose head is held back; None: it is decided
    cdef bytearray kept                # until the head is sent; None: nothing
    cdef int64_t least_bytes
    cdef bint paced                    # the length of the body is known
    cdef uint64_t flushed_ns
    cdef bint has_unflushed
    cdef bint wants_flush              # the sink behind was full
    cdef bint finished
    cdef int refusal                   # with which the sink behind refused what was flushed

    cdef int put(self, Span data) except -1:
        if self.refusal:
            return self.refusal
        if self.response is not None:
            self.kept += span_bytes(data)
            return self.decide(True) if len(self.kept) >= self.least_bytes else 0
        if self.encoder is None:
            return Filter.put(self, data)
        return self.encode(PyMemoryView_FromMemory(<char*>data.ptr, data.len, PyBUF_READ))

    cdef int encode(self, data) except -1:
        self.has_unflushed = True
        return self.pass_on(self.encoder.compress(data))

    cdef int pass_on(self, bytes data) except -1:
        cdef int status = 0
        if data:
            status = self.next.put(span_of(data, len(data)))
            self.blocked = self.next.blocked
        return status

    cdef int decide(self, bint encodes) except -1:
        """Have the head sent; what has come of the body follows."""
        cdef Response response = self.response
        self.response = None
        if encodes:
            self.begin(response)
        return self.context.release_head()

    cdef int begin(self, Response response) except -1:
        """Have the head say that the body is encoded."""
        for name in OF_PLAIN:
            response.drop(<bytes>name, len(<bytes>name))
        weaken_etag(response)
        response.append(span_of(b"Content-Encoding", 16), span_of(self.coding.name, len(self.coding.name)))
        response.framing.body = BODY_CHUNKED
        response.framing.length = 0
        self.encoder = self.coding.make()
        return 0

    cdef int flush(self) except -1:
        if self.holds:
            return self.decide(True) if self.kept and self.response is not None else 0
        if self.has_unflushed and not (self.paced and self.context.now_ns() - self.flushed_ns < PACE_NS):
            if self.next.blocked:
                self.wants_flush = True
            else:
                self.refusal = self.flush_encoder()
        return Filter.flush(self)

    cdef int flush_encoder(self) except -1:
        self.has_unflushed = self.wants_flush = False
        self.flushed_ns = self.context.now_ns()
        return self.pass_on(self.encoder.flush())

    cdef int give(self) except -1:
        cdef int status
        if self.kept is not None:
            kept, self.kept = bytes(self.kept), None
            status = 0 if not kept else self.encode(kept) if self.encoder is not None else self.pass_on(kept)
            return status if status else 1
        if self.finished or self.encoder is None:
            return 0
        if self.complete:
            self.finished = True
            status = self.pass_on(self.encoder.finish())
            return status if status else 1
        if self.wants_flush:
            status = self.flush_encoder()
            if status == 0:
                self.next.flush()
            return status if status else 1
        return 0

    cdef int end(self, Message trailers) except -1:
        if self.response is not None:
            self.decide(False)
        return self.refusal if self.refusal else Filter.end(self, trailers)


@cython.final
cdef class Compress(Middleware):
    """The `compress` middleware of Traefik."""

    cdef object choice                 # Choice
    cdef dict codings                  # Coding by name
    cdef frozenset excluded            # media types
    cdef frozenset included            # likewise; empty: all that are not excluded
    cdef int64_t least_bytes

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = True
        if config.excluded_content_types and config.included_content_types:
            raise ValueError("excludedContentTypes and includedContentTypes options are mutually exclusive")
        if not config.encodings:
            raise ValueError("at least one encoding must be specified")
        self.codings = {coding.encode(): Coding(coding) for coding in config.encodings}
        if config.default_encoding and config.default_encoding not in config.encodings:
            raise ValueError(f"unsupported default encoding {config.default_encoding!r}: it has to be one of {', '.join(config.encodings)}")
        self.choice = Choice(config.encodings, config.default_encoding)
        self.excluded = frozenset([b"application/grpc", *map(media_type, config.excluded_content_types)])
        self.included = frozenset(map(media_type, config.included_content_types))
        self.least_bytes = config.min_response_body_bytes or DEFAULT_LEAST_BYTES

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        """Keep the coding, or False for what is left alone whatever the client accepts."""
        cdef bytes coding
        cdef Span kind = request.find(b"content-type", 12)
        if request.is_head or (kind.len and span_bytes(kind).partition(b";")[0].strip().lower() in self.excluded):
            return context.keep_state(False)
        coding = self.choice.choose(value_of(request, b"accept-encoding", 15))
        if coding:
            context.keep_state(self.codings[coding])
        return PASS

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        cdef object state = context.state()
        cdef Encoding filter
        if state is False or not self.may_be_encoded(answer):
            return PASS
        if not answer.lists(b"vary", 4, span_of(b"accept-encoding", 15)):
            answer.append(span_of(b"Vary", 4), span_of(b"Accept-Encoding", 15))
        if state is None:
            return PASS
        filter = Encoding.__new__(Encoding)
        filter.coding = <Coding>state
        filter.context = context
        filter.least_bytes = min(self.least_bytes, <int64_t>MOST_KEPT_BYTES)
        context.add_answer_filter(filter)
        if answer.framing.body == BODY_LENGTH:
            filter.paced = True
            filter.begin(answer)
            return PASS
        filter.response = answer
        filter.kept = bytearray()
        return context.hold_head()

    cdef bint may_be_encoded(self, Response answer) except *:
        """Whether an answer is encoded for a client that wants that."""
        cdef Span kind
        if answer.framing.body == BODY_NONE or (answer.framing.body == BODY_LENGTH and answer.framing.length < self.least_bytes):
            return False
        if answer.status < 200 or answer.status == 204 or answer.status == 206 or answer.status == 304:
            return False
        if answer.find(b"content-encoding", 16).len or answer.find(b"content-range", 13).ptr != NULL:
            return False
        if answer.lists(b"cache-control", 13, span_of(b"no-transform", 12)):
            return False
        kind = answer.find(b"content-type", 12)
        return self.has_type(span_bytes(kind)) if kind.len else not self.included

    cdef bint has_type(self, bytes text) except *:
        """Whether content of that type is encoded. A stream of events is if it is included by name: it has to go on at once."""
        cdef bytes kind = text.partition(b";")[0].strip().lower()
        if not kind or b" " in kind:
            return False
        if self.included:
            return kind in self.included
        return kind not in self.excluded and kind != b"text/event-stream" and not kind.startswith(b"application/grpc")
