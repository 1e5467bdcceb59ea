"""grpcWeb: calls of gRPC-Web, whose trailers are a part of the body, for servers of gRPC. No I/O.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md; a server is asked over whatever protocol its URL says.
"""

import binascii
import re

cimport cython

from lbcore.http.framing cimport BODY_CHUNKED, BODY_NONE
from lbcore.http.known cimport H_TRANSFER_ENCODING, is_hop_by_hop
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.span cimport Span, span_bytes, span_eq, span_ieq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware

cdef enum:
    AS_IT_IS = 0               # what is kept of an exchange: how its bodies are written
    AS_BYTES = 1
    AS_TEXT = 2

cdef bytes GRPC = b"application/grpc"
cdef bytes WEB = b"application/grpc-web"
cdef bytes WEB_TEXT = b"application/grpc-web-text"
TOKENS = re.compile(rb"[-\w!#$%&'*+.^`|~]+(?:[ \t]*,[ \t]*[-\w!#$%&'*+.^`|~]+)*")
METHODS = frozenset({b"GET", b"HEAD", b"POST"})


cdef int set_line(Message message, bytes name, bytes value) except -1:
    message.drop(name.lower(), len(name))
    return message.append(message.keep(span_of(name, len(name))), message.keep(span_of(value, len(value))))


@cython.final
cdef class FromText(Filter):
    """Decodes a body in base64, of which each message may be padded by itself."""

    cdef bytes rest                    # fewer than four characters

    cdef int put(self, Span data) except -1:
        cdef bytes text = self.rest + span_bytes(data).translate(None, b"\r\n")
        cdef Py_ssize_t whole = len(text) & ~3, at = 0, end
        cdef list pieces = []
        self.rest = text[whole:]
        try:
            while at < whole:
                end = text.find(b"=", at, whole)
                end = whole if end < 0 else min(whole, (end & ~3) + 4)
                pieces.append(binascii.a2b_base64(text[at:end], strict_mode=True))
                at = end
        except binascii.Error:
            self.refused = True
            return 400
        text = b"".join(pieces)
        return Filter.put(self, span_of(text, len(text))) if text else 0

    cdef int end(self, Message trailers) except -1:
        self.refused = len(self.rest) > 0
        return 400 if self.rest else Filter.end(self, trailers)


@cython.final
cdef class ToWeb(Filter):
    """Puts the trailers at the end of the body, as a frame; as base64, if the client wants that."""

    cdef bint as_text
    cdef bint has_ended                # the trailers were put

    cdef int put(self, Span data) except -1:
        return self.write(span_bytes(data)) if self.as_text and data.len else Filter.put(self, data)

    cdef int write(self, bytes data) except -1:
        if self.as_text:
            data = binascii.b2a_base64(data, newline=False)
        return Filter.put(self, span_of(data, len(data)))

    cdef int give(self) except -1:
        cdef Message trailers = self.trailers
        cdef bytes lines = b""
        cdef Py_ssize_t i
        cdef int status
        if not self.complete or self.has_ended:
            return 0
        self.has_ended = True
        self.trailers = None
        if trailers is not None:
            for i in range(trailers.n_headers):
                if trailers.headers[i].name.len:
                    lines += span_bytes(trailers.headers[i].name).lower() + b": " + span_bytes(trailers.headers[i].value) + b"\r\n"
        status = self.write(b"\x80" + len(lines).to_bytes(4, "big") + lines)
        return status if status else 1


@cython.final
cdef class GrpcWeb(Middleware):
    """The `grpcWeb` middleware of Traefik."""

    cdef frozenset origins
    cdef bint any_origin

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = True
        self.origins = frozenset(origin.encode() for origin in config.allow_origins)
        self.any_origin = b"*" in self.origins

    cdef bint allows(self, Span origin) except *:
        return origin.len > 0 and (self.any_origin or span_bytes(origin) in self.origins)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef bytes kind
        cdef bint as_text
        cdef Filter filter
        if span_eq(request.head.method, b"OPTIONS", 7):
            return self.on_preflight(request, answer, context)
        if not span_eq(request.head.method, b"POST", 4):
            return PASS
        kind = span_bytes(request.find(b"content-type", 12))
        if not kind.startswith(WEB):
            return PASS
        as_text = kind.startswith(WEB_TEXT)
        context.keep_state(AS_TEXT if as_text else AS_BYTES)
        kind = GRPC + kind[len(WEB_TEXT if as_text else WEB):]
        request.set_header(span_of(b"Content-Type", 12), span_of(b"content-type", 12), request.keep(span_of(kind, len(kind))))
        request.framing.te_trailers = True
        request.from_grpc_web = True
        if as_text and request.framing.body != BODY_NONE:
            request.drop(b"content-length", 14)
            request.framing.body = BODY_CHUNKED
            request.framing.length = 0
            filter = FromText.__new__(FromText)
            (<FromText>filter).rest = b""
            context.add_request_filter(filter)
        return PASS

    cdef int on_preflight(self, Request request, Response answer, Context context) except -1:
        """Answer the question of a browser whether a page may call. One that asks for no method is a call itself."""
        cdef bytes method = span_bytes(request.find(b"access-control-request-method", 29))
        cdef bytes headers = span_bytes(request.find(b"access-control-request-headers", 30))
        cdef Span origin = request.find(b"origin", 6)
        if b"x-grpc-web" not in headers.lower():
            return PASS
        if not method:
            context.keep_state(AS_IT_IS)
            return PASS
        answer.status = 200
        for name in (b"Origin", b"Access-Control-Request-Method", b"Access-Control-Request-Headers"):
            answer.append(span_of(b"Vary", 4), span_of(name, len(<bytes>name)))
        if self.allows(origin) and method in METHODS and TOKENS.fullmatch(headers):
            headers = b", ".join(name.strip().title() for name in headers.split(b","))
            set_line(answer, b"Access-Control-Allow-Origin", span_bytes(origin))
            set_line(answer, b"Access-Control-Allow-Methods", method)
            set_line(answer, b"Access-Control-Allow-Headers", headers)
            set_line(answer, b"Access-Control-Allow-Credentials", b"true")
            set_line(answer, b"Access-Control-Max-Age", b"600")
        return ANSWER

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        cdef object state = context.state()
        cdef Span origin
        cdef bytes kind
        cdef list names
        cdef Py_ssize_t i
        cdef ToWeb filter
        if state is None:
            return PASS
        answer.append(span_of(b"Vary", 4), span_of(b"Origin", 6))
        origin = request.find(b"origin", 6)
        if self.allows(origin):
            set_line(answer, b"Access-Control-Allow-Origin", span_bytes(origin))
            set_line(answer, b"Access-Control-Allow-Credentials", b"true")
        kind = span_bytes(answer.find(b"content-type", 12))
        if state != AS_IT_IS and kind.startswith(GRPC) and not kind.startswith(WEB):
            set_line(answer, b"Content-Type", (WEB_TEXT if state == AS_TEXT else WEB) + kind[len(GRPC):])
            answer.drop(b"trailer", 7)
            if answer.framing.body != BODY_NONE:
                answer.drop(b"content-length", 14)
                answer.framing.body = BODY_CHUNKED
                answer.framing.length = 0
                filter = ToWeb.__new__(ToWeb)
                filter.as_text = state == AS_TEXT
                context.add_answer_filter(filter)
        names = []
        for i in range(answer.n_headers):
            if answer.headers[i].name.len and not is_hop_by_hop(answer.kinds[i]) and answer.kinds[i] != H_TRANSFER_ENCODING \
                    and not span_ieq(answer.headers[i].name, b"set-cookie", 10):
                names.append(span_bytes(answer.headers[i].name))
        set_line(answer, b"Access-Control-Expose-Headers", b", ".join(dict.fromkeys([*names, b"grpc-status", b"grpc-message"])))
        return PASS
