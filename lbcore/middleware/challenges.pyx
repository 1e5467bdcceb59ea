"""Answers to the http-01 challenges by which a certificate authority verifies control of a name (RFC 8555). No I/O."""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.base cimport ANSWER, Context, Middleware

cdef enum:
    PREFIX_BYTES = 28          # of `/.well-known/acme-challenge/`


@cython.final
cdef class Challenges(Middleware):
    """What this instance is challenged for now: the service `acme-http@internal`. It outlives tables.

    texts         by token: what http-01 is answered with.
    certificates  by name, in bytes: what handshakes of tls-alpn-01 are made with, as the TLS library takes it. They find the dict
                  here, and what is in it by then.
    """

    cdef dict texts
    cdef readonly dict certificates

    def __init__(self, str name="acme-http@internal"):
        self.name = name
        self.texts = {}
        self.certificates = {}

    def replace(self, texts, certificates) -> None:
        """Answer these from now on, and no others."""
        self.texts = dict(texts)
        self.certificates.clear()
        self.certificates.update(certificates)

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span path = request.head.route_path
        cdef object text = None
        if path.len > PREFIX_BYTES:
            text = self.texts.get(span_bytes(span_of(path.ptr + PREFIX_BYTES, path.len - PREFIX_BYTES)))
        if text is None:
            answer.status = 404
            answer.text = span_of(NULL, 0)
            return ANSWER
        context.keep_state(text)               # it may be gone from `texts` before it has been sent
        answer.status = 200
        answer.text = span_of(<const char*><bytes>text, len(<bytes>text))
        answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain; charset=utf-8", 25))
        return ANSWER
