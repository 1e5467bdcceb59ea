"""redirectScheme and redirectRegex: answer with another address. No I/O.

GET is answered with 302 (301 when permanent), every other method with 307 (308), so that it stays what it is.
"""

cimport cython
from libc.string cimport memcpy

from lbcore.http.head cimport RequestHead
from lbcore.http.render cimport status_text
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_eq, span_of
from lbcore.middleware.base cimport Middleware
from lbcore.regex.regex cimport Regex

DEFAULT_PORTS = {"http": "80", "https": "443"}


cdef bytes request_uri(RequestHead* head):
    return span_bytes(head.path) + (b"?" + span_bytes(head.query) if head.has_query else b"")


cdef bint redirect(Request request, Response answer, bytes location, bint permanent) except *:
    cdef char* copy = answer.alloc(len(location) + 1)
    cdef Span text
    memcpy(copy, <const char*>location, len(location))
    if span_eq(request.head.method, b"GET", 3):
        answer.status = 301 if permanent else 302
    else:
        answer.status = 308 if permanent else 307
    answer.append(span_of(b"Location", 8), span_of(copy, len(location)))
    answer.text = status_text(answer.status)
    return True


cdef bint is_safe(bytes location) noexcept:
    """No byte that would end a header."""
    return b"\r" not in location and b"\n" not in location and b"\0" not in location


@cython.final
cdef class RedirectScheme(Middleware):
    """The same address with another scheme, and port if one is given."""

    cdef bytes scheme
    cdef bytes port            # with its colon; empty when it is the scheme's own
    cdef bint permanent

    def __init__(self, str name, config):
        self.name = name
        if not config.scheme:
            raise ValueError("you must provide a target scheme")
        self.scheme = config.scheme.lower().encode()
        port = "" if config.port == DEFAULT_PORTS.get(config.scheme.lower()) else config.port
        if port and not (port.isascii() and port.isdigit()):
            raise ValueError(f"{port!r} is not a port")
        self.port = f":{port}".encode() if port else b""
        self.permanent = config.permanent

    cdef bint on_request(self, Request request, Response answer) except *:
        cdef RequestHead* head = &request.head
        authority = span_bytes(request.present_host())
        host, colon, port = authority.rpartition(b":")
        if not colon or not port.isdigit():
            host, port = authority, b""
        scheme = b"https" if head.encrypted else b"http"
        if scheme == self.scheme and (not self.port or self.port[1:] == port):
            return False
        return redirect(request, answer, self.scheme + b"://" + host + self.port + request_uri(head), self.permanent)


@cython.final
cdef class RedirectRegex(Middleware):
    """The whole address, `http://host/path?query`, with every match of `regex` replaced by `replacement`."""

    cdef Regex regex
    cdef list template
    cdef bint permanent

    def __init__(self, str name, config):
        self.name = name
        self.regex = Regex(config.regex)
        self.template = self.regex.parse_template(config.replacement)
        self.permanent = config.permanent

    cdef bint on_request(self, Request request, Response answer) except *:
        cdef RequestHead* head = &request.head
        address = (b"https" if head.encrypted else b"http") + b"://" + span_bytes(request.present_host()) + request_uri(head)
        if not self.regex.search(span_of(address, len(address))):
            return False
        location = self.regex.replace_all(address, self.template)
        if location == address or not is_safe(location):
            return False
        return redirect(request, answer, location, self.permanent)
